// A post-processor that leaves out the white space at the end of an answer.
//
// What it emits folds to the same message however the text is cut: white space is held until other text follows.

// An instance is one answer, so its state may stand here.
let held = ""; // white space that is the answer's end, for all we know
let actions = [];

export const postProcessor = {
  describe(config) {
    return { name: "{{name}}", version: "0.1.0", interests: { content: true }, defaultConfig: "" };
  },

  start(config, context) {},

  push(event) {
    if (event.tag !== "content") return "pass";
    const { text } = event.val;
    const kept = text.trimEnd();
    const white = text.slice(kept.length);
    if (kept === "") {
      held += white;
      return "hold";
    }
    const before = held;
    held = white;
    if (before === "" && white === "") return "pass"; // as it came: no text crosses back
    const emitted = { tag: "content", val: { text: before + kept, kind: "text" } };
    actions.push({ tag: "emit", val: emitted });
    return "actions";
  },

  takeActions() {
    const taken = actions;
    actions = [];
    return taken;
  },

  finish(reason) {
    return [];
  },
};
