import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Answer } from '../../../host/server/ui/answer.js';
import { EventParser, eventsOf } from '../../../host/server/ui/sse.js';

const STREAM = ': alive\n\ndata: {"a":1}\r\n\r\nevent: error\ndata: one\ndata: two\n\ndata:tight\n\nid: 7\ndata: \u00e9\ud83d\ude00\n\n';
const EVENTS = [{ event: 'message', data: '{"a":1}' }, { event: 'error', data: 'one\ntwo' }, { event: 'message', data: 'tight' }, { event: 'message', data: '\u00e9\ud83d\ude00' }];

test('events are the same however the text is cut', () => {
  for (let first = 0; first <= STREAM.length; first += 1) {
    const parser = new EventParser();
    const found = [...parser.push(STREAM.slice(0, first)), ...parser.push(STREAM.slice(first))];
    assert.deepEqual(found, EVENTS, `cut at ${first}`);
  }
});

test('bytes may be cut inside a character, and [DONE] ends it', async () => {
  const bytes = new TextEncoder().encode(`${STREAM}data: [DONE]\n\ndata: never\n\n`);
  const body = new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  const found = [];
  for await (const event of eventsOf(new Response(body))) found.push(event);
  assert.deepEqual(found, EVENTS);
});

const chunk = (delta, finish = null) => ({ choices: [{ delta, finish_reason: finish }] });

test('an answer is the sum of its chunks, with the time to the first piece and the rate behind it', () => {
  let now = 1000;
  const answer = new Answer(() => now);
  answer.push(chunk({ role: 'assistant', content: '' }));
  now = 1250;
  answer.push(chunk({ reasoning_content: 'hm' }));
  answer.push(chunk({ content: 'a' }));
  now = 2250;
  answer.push(chunk({ tool_calls: [{ index: 0, id: 'x', function: { name: 'f', arguments: '{' } }] }));
  answer.push(chunk({ tool_calls: [{ index: 0, function: { arguments: '}' } }] }, 'tool_calls'));
  answer.push({ choices: [], usage: { prompt_tokens: 9, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 4 } } });
  assert.deepEqual(answer.message(), { role: 'assistant', content: 'a', tool_calls: [{ id: 'x', type: 'function', function: { name: 'f', arguments: '{}' } }] });
  assert.equal(answer.reasoning, 'hm');
  assert.deepEqual(answer.figures(), { first: 250, input: 9, cached: 4, output: 5, rate: 4 });
});
