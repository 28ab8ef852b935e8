// A tool parser: a line `#call NAME {arguments}` is a call, every other line is content.
//
// The events fold to the same message however the text is cut: a line is held only while it may still be a call, ordinary
// text goes on at once. Arguments are not streamed: a call comes out when its line is complete.

const MARKER = "#call ";

// An instance is one answer, so its state may stand here.
let held = ""; // the line so far, while it is or may become a call
let contentLine = false; // whether the line has turned out to be content
let calls = 0;
let events = [];

function content(text) {
  if (text !== "") events.push({ tag: "content", val: { text, kind: "text" } });
}

function isObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

function call(line, whole) {
  const raw = line.slice(MARKER.length).trim();
  const [, name, rest] = raw.match(/^(\S*)\s*([^]*)$/);
  const args = rest === "" ? "{}" : rest;
  const index = calls;
  if (!whole || name === "" || !isObject(args)) {
    events.push({ tag: "call-abandoned", val: { index, raw } });
    return;
  }
  calls += 1;
  events.push({ tag: "call-begin", val: { index, id: undefined, name } });
  events.push({ tag: "call-arguments", val: { index, delta: args } });
  events.push({ tag: "call-end", val: index });
}

function takeHeld() {
  const line = held;
  held = "";
  return line;
}

function decide() {
  const isCall = held.startsWith(MARKER);
  if (isCall && held.endsWith("\n")) {
    call(takeHeld(), true);
  } else if (!isCall && !MARKER.startsWith(held)) {
    content(takeHeld());
    contentLine = true;
  }
}

function takeEvents() {
  const taken = events;
  events = [];
  return taken;
}

export const parser = {
  describe(config) {
    return {
      name: "{{name}}",
      version: "0.1.0",
      roles: { tools: true },
      aliases: [],
      markers: [MARKER],
      specialTokens: [],
      stopTokens: [],
      chatTemplate: undefined,
      callIds: { tag: "any" },
      defaultConfig: "",
    };
  },

  grammar(config, context) {
    return undefined;
  },

  start(config, context) {},

  push(fragment) {
    for (const piece of fragment.text.match(/[^\n]*\n|[^\n]+/g)) {
      if (contentLine) {
        content(piece);
      } else {
        held += piece;
        decide();
      }
      if (piece.endsWith("\n")) contentLine = false;
    }
    if (events.length === 0) return "hold";
    const [{ tag, val }] = events;
    if (events.length === 1 && tag === "content" && val.text === fragment.text && fragment.kind === "text") {
      events = [];
      return "content"; // as it came: no text crosses back
    }
    return "events";
  },

  takeEvents,

  finish(reason) {
    const line = takeHeld();
    if (line.startsWith(MARKER)) {
      // Out of tokens in the middle of a call: it is not complete, whatever its text looks like.
      call(line, reason === "stop");
    } else {
      content(line);
    }
    return takeEvents();
  },
};
