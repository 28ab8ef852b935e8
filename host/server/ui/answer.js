// A streamed chat answer, added up from its chunks, with when it began and ended.

export class Answer {
  // `now` answers milliseconds.
  constructor(now = () => performance.now()) {
    this.now = now;
    this.sent = now();
    this.first = null;
    this.last = null;
    this.content = '';
    this.reasoning = '';
    this.calls = [];
    this.finish = null;
    this.usage = null;
    this.model = null;
  }

  push(chunk) {
    this.model ??= chunk.model ?? null;
    if (chunk.usage) this.usage = chunk.usage;
    const [choice] = chunk.choices ?? [];
    if (!choice) return;
    const delta = choice.delta ?? {};
    const reasoning = delta.reasoning_content ?? delta.reasoning ?? '';
    if (delta.content || reasoning || delta.tool_calls) {
      this.last = this.now();
      this.first ??= this.last;
    }
    this.content += delta.content ?? '';
    this.reasoning += reasoning;
    for (const call of delta.tool_calls ?? []) this.call(call);
    this.finish = choice.finish_reason ?? this.finish;
  }

  call({ index, id, function: said = {} }) {
    this.calls[index] ??= { id: '', type: 'function', function: { name: '', arguments: '' } };
    const call = this.calls[index];
    call.id ||= id ?? '';
    call.function.name ||= said.name ?? '';
    call.function.arguments += said.arguments ?? '';
  }

  // The message as the next request has it.
  message() {
    const message = { role: 'assistant', content: this.content || null };
    const calls = this.calls.filter(Boolean);
    if (calls.length > 0) message.tool_calls = calls;
    else message.content = this.content;
    return message;
  }

  // What it took, as far as is known: milliseconds to the first piece, tokens in, out, from the cache, and out a second.
  figures() {
    const output = this.usage?.completion_tokens ?? null;
    const seconds = this.first === null ? 0 : (this.last - this.first) / 1000;
    return {
      first: this.first === null ? null : this.first - this.sent,
      input: this.usage?.prompt_tokens ?? null,
      cached: this.usage?.prompt_tokens_details?.cached_tokens ?? null,
      output,
      // The first token is what the time counts from.
      rate: output > 1 && seconds > 0 ? (output - 1) / seconds : null,
    };
  }
}
