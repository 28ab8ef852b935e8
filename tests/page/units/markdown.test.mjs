import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse, safeLink } from '../../../host/server/ui/markdown.js';
import { HOSTILE } from '../hostile.mjs';

const types = blocks => blocks.map(block => block.type);

// Every piece of a tree, at any depth.
function* pieces(value) {
  if (Array.isArray(value)) for (const item of value) yield* pieces(item);
  else if (value && typeof value === 'object') {
    yield value;
    for (const inner of Object.values(value)) yield* pieces(inner);
  }
}

const words = value => [...pieces(value)].map(piece => typeof piece.text === 'string' ? piece.text : '').join('');

test('blocks are told apart', () => {
  const text = '# Title\n\ntext\nmore\n\n- a\n- b\n\n1. c\n\n> quoted\n\n---\n\n```rs\nfn f() {}\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |';
  assert.deepEqual(types(parse(text)), ['heading', 'paragraph', 'list', 'list', 'quote', 'rule', 'code', 'table']);
});

test('a fence that is open holds what there is', () => {
  assert.deepEqual(parse('```py\nx = 1').map(({ type, language, text, closed }) => [type, language, text, closed]), [['code', 'py', 'x = 1', false]]);
});

test('pieces of a paragraph', () => {
  const [{ inside }] = parse('a **b** *c* `d` ~~e~~ [f](https://g.example/) snake_case_name 2 * 3 * 4 \\*x\\*');
  assert.deepEqual(inside.filter(piece => piece.type !== 'text').map(piece => piece.type), ['strong', 'emphasis', 'code', 'strike', 'link']);
  assert.ok(words(inside).includes('snake_case_name 2 * 3 * 4 *x*'));
});

test('lists go inside lists', () => {
  const [list] = parse('- a\n  - b\n    - c\n- d');
  assert.equal(list.items.length, 2);
  assert.equal(list.items[0][1].items[0][1].type, 'list');
});

test('links go to http, https and mailto alone', () => {
  for (const good of ['http://a.example', 'https://a.example/b?c#d', 'MAILTO:a@b.example']) assert.equal(safeLink(good), good);
  for (const bad of ['javascript:alert(1)', 'java\nscript:alert(1)', ' javascript:x', 'data:text/html,x', 'vbscript:x', 'file:///x', '//a.example', '/x', 'ftp://a', 'https://a b']) {
    assert.equal(safeLink(bad), null, bad);
  }
});

test('hostile texts are text, and no address in their trees is another', () => {
  for (const { name, text } of HOSTILE) {
    for (const piece of pieces(parse(text))) {
      if ('href' in piece) assert.match(piece.href, /^(https?:\/\/|mailto:)\S+$/i, name);
    }
  }
});

test('no letter of a paragraph without marks is lost', () => {
  const text = 'plain <b>words</b> & more\nsecond line';
  assert.equal(words(parse(text)), text);
});

test('a text that grows keeps the blocks that are done', () => {
  const text = 'one\n\ntwo *x* three\n\n```\ncode\n```\n\nend of it';
  for (let length = 1; length < text.length; length += 1) {
    const [before, after] = [parse(text.slice(0, length)), parse(text.slice(0, length + 1))];
    before.slice(0, -1).forEach((block, index) => assert.equal(block.raw, after[index].raw, `at ${length}`));
  }
});

test('a mark without a partner is looked for once', () => {
  // Looked for from every place, each of these would take minutes.
  for (const unit of ['*', '**a ', '_a', '`', '` `` ', '[', '![', '[a](', '<', 'http://', '> ', '- a\n', '|-', '```\n', '~~']) {
    parse(unit.repeat(100_000 / unit.length));
  }
});
