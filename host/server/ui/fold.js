// Events of a parser, added up to what a client has so far.

export function fold(events) {
  const message = { content: '', reasoning: '', calls: [] };
  for (const event of events) {
    switch (event.type) {
      case 'content': message.content += event.text; break;
      case 'reasoning': message.reasoning += event.text; break;
      case 'call_begin': message.calls[event.index] = { name: event.name, arguments: '', complete: false }; break;
      case 'call_arguments': if (message.calls[event.index]) message.calls[event.index].arguments += event.delta; break;
      case 'call_end': if (message.calls[event.index]) message.calls[event.index].complete = true; break;
      default:
    }
  }
  message.calls = message.calls.filter(Boolean);
  return message;
}
