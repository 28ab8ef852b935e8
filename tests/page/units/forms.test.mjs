import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { caseFile } from '../../../host/server/ui/case_file.js';
import { roundUp } from '../../../host/server/ui/chart.js';
import { cut, placesOf } from '../../../host/server/ui/cutting.js';
import { figures, read, sum } from '../../../host/server/ui/exposition.js';
import { fold } from '../../../host/server/ui/fold.js';
import { asCurl, asPython, makeRequest, readTools } from '../../../host/server/ui/request.js';

test('a text is cut between characters, not inside them', () => {
  const text = 'a\u00e9\ud83d\ude00b';
  assert.deepEqual(cut(text, placesOf(text, 'chars')), ['a', '\u00e9', '\ud83d\ude00', 'b']);
  assert.deepEqual(cut(text, placesOf(text, 'every', '3')), ['a\u00e9\ud83d\ude00', 'b']);
  assert.deepEqual(cut(text, placesOf(text, 'splits', '3, 1 3')), ['a', '\u00e9\ud83d\ude00', 'b']);
  assert.deepEqual(cut(text, placesOf(text, 'whole')), [text]);
  for (const bad of ['4', '0', '1.5', 'x', '-1']) assert.throws(() => placesOf(text, 'splits', bad), Error, bad);
});

test('the same request as Python is Python', () => {
  const messages = [{ role: 'user', content: 'it\'s "quoted" \\ \u2028 \ud83d\ude00\n' }, { role: 'assistant', content: null }];
  const tools = readTools('{"name": "f", "parameters": {"type": "object", "properties": {}, "additionalProperties": false}}');
  const body = makeRequest({ model: 'm', system: 'be brief', messages, tools, numbers: { temperature: '0.5', seed: '', top_p: 'x' } });
  assert.equal(body.temperature, 0.5);
  assert.ok(!('seed' in body) && !('top_p' in body));
  const python = asPython(body, 'http://h', false);
  const values = python.slice(python.indexOf('create(') + 7, python.indexOf(')\nfor chunk'));
  const script = `import json\nprint(json.dumps(dict(${values})))`;
  assert.deepEqual(JSON.parse(execFileSync('python3', ['-c', script], { encoding: 'utf8' })), body);
});

test('the same request as curl is what a shell sends', () => {
  const body = makeRequest({ model: 'm', system: '', messages: [{ role: 'user', content: `$HOME 'x' "y" \`z\` \\n` }], tools: [], numbers: {} });
  const curl = asCurl(body, 'http://h', true);
  const script = `curl() { while [ "$1" != -d ]; do shift; done; printf %s "$2"; }\n${curl}`;
  assert.deepEqual(JSON.parse(execFileSync('sh', ['-c', script], { encoding: 'utf8' })), body);
  assert.ok(curl.includes('$WEIR_KEY'));
});

test('what is pasted as tools and is none is refused', () => {
  assert.deepEqual(readTools('  '), []);
  for (const bad of ['{', '[1]', '[{"type": "function"}]', '"x"']) assert.throws(() => readTools(bad), bad);
});

test('a case file is TOML of the text as it was', () => {
  const pieces = ['a\u0000\u007f"\\\n', '\u00e9\ud83d\ude00\'\'\''];
  const message = { content: 'c', reasoning: 'r', calls: [{ name: 'f', arguments: '{"a": "\\n"}', complete: false }] };
  const complete = { content: 'raw', reasoning: 'r', calls: [] };
  const tools = [{ type: 'function', function: { name: 'f', parameters: { type: 'object' }, strict: true } }];
  const text = caseFile({ plugin: 'p', with: 'q', pieces, tools, toolChoice: { function: { name: 'f' } }, prompt: '<think>', ended: 'length', incremental: message, complete, finish: 'length', config: { 'a b': [1, { c: 'd' }] } });
  const script = 'import json, sys, tomllib\nprint(json.dumps(tomllib.loads(sys.stdin.read())))';
  const read = JSON.parse(execFileSync('python3', ['-c', script], { encoding: 'utf8', input: text }));
  assert.deepEqual(read.chunks, pieces);
  assert.equal(read.with, 'q');
  assert.deepEqual(read.config, { 'a b': [1, { c: 'd' }] });
  assert.deepEqual(read.expect, { content: 'c', reasoning: 'r', finish_reason: 'length', calls: [{ name: 'f', arguments: '{"a": "\\n"}', complete: false }], complete: { content: 'raw' } });
  assert.deepEqual(read.tools, [{ name: 'f', parameters: '{"type":"object"}', strict: true }]);
});

test('events add up to the message', () => {
  const events = [{ type: 'reasoning', text: 'r' }, { type: 'content', text: 'a' }, { type: 'call_begin', index: 0, name: 'f' },
    { type: 'call_arguments', index: 0, delta: '{}' }, { type: 'call_end', index: 0 }, { type: 'call_abandoned', index: 1, raw: 'x' }, { type: 'content', text: 'b' }];
  assert.deepEqual(fold(events), { content: 'ab', reasoning: 'r', calls: [{ name: 'f', arguments: '{}', complete: true }] });
});

test('metrics are read and their growth is what is drawn', () => {
  const at = (tokens, hits) => read(`# HELP x y\nweir_generated_tokens_total{model="a"} ${tokens}\nweir_generated_tokens_total{model="b \\"q\\""} 1\nweir_prefix_cache_hit_tokens_total ${hits}\n`
    + 'weir_prefix_cache_queried_tokens_total 10\nweir_kv_blocks 8\nweir_kv_blocks_used 2\nweir_sequences_running 3\n');
  const drawn = figures(at(10, 1), at(30, 1), 2);
  assert.equal(drawn.written, 10);
  assert.equal(drawn.kv, 0.25);
  assert.equal(drawn.running, 3);
  assert.equal(drawn.prefix, null);
  assert.equal(figures(undefined, at(1, 1), 0).written, null);
  assert.equal(sum(at(1, 1), 'weir_generated_tokens_total', 'model', 'b "q"'), 1);
  assert.deepEqual([0, 1, 3, 18, 100, 0.03].map(roundUp), [1, 1, 5, 20, 100, 0.05]);
});
