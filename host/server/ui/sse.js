// Server-sent events from a body that comes in pieces.

// Takes text as it comes and answers the events that are whole: `{event, data}`.
export class EventParser {
  constructor() {
    this.rest = '';
    this.event = '';
    this.data = [];
  }

  push(text) {
    const found = [];
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop();
    for (const ended of lines) {
      const line = ended.endsWith('\r') ? ended.slice(0, -1) : ended;
      if (line !== '') this.line(line);
      else if (this.data.length > 0) {
        found.push({ event: this.event || 'message', data: this.data.join('\n') });
        this.event = '';
        this.data = [];
      }
    }
    return found;
  }

  line(line) {
    const colon = line.indexOf(':');
    // A line that begins with it is a comment: a sign of life.
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') this.data.push(value);
    if (name === 'event') this.event = value;
  }
}

// The events of a response. Ends with `[DONE]` or with the body.
export async function* eventsOf(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventParser();
  for (;;) {
    const { done, value } = await reader.read();
    const text = done ? decoder.decode() : decoder.decode(value, { stream: true });
    for (const event of parser.push(text)) {
      if (event.data === '[DONE]') return;
      yield event;
    }
    if (done) return;
  }
}
