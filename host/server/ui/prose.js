// A text of the model's, shown: Markdown's tree as nodes, and only those blocks made anew that changed.

import { copyButton, make } from './dom.js';
import { parse } from './markdown.js';

// Longer texts are shown as they are: making nodes of them with every token would make the page slow.
const LONGEST = 200_000;

const INLINE = { strong: 'strong', emphasis: 'em', strike: 's' };

function piece(part) {
  switch (part.type) {
    case 'text': return part.text;
    case 'code': return make('code', {}, part.text);
    case 'link': return make('a', { href: part.href, rel: 'noopener noreferrer nofollow', target: '_blank' }, ...part.inside.map(piece));
    default: return make(INLINE[part.type], {}, ...part.inside.map(piece));
  }
}

function node(block) {
  switch (block.type) {
    case 'code': return code(block.text, block.language);
    // The page's own headings come first.
    case 'heading': return make('p', { class: `heading level-${Math.min(block.level, 4)}`, role: 'heading', 'aria-level': Math.min(Math.max(block.level + 1, 3), 6) }, ...block.inside.map(piece));
    case 'rule': return make('hr');
    case 'quote': return make('blockquote', {}, ...block.blocks.map(node));
    case 'list': return make(block.ordered ? 'ol' : 'ul', block.ordered ? { start: block.start } : {},
      ...block.items.map(item => make('li', {}, ...item.map(inside => tight(inside, item)))));
    case 'table': return table(block);
    default: return make('p', {}, ...block.inside.map(piece));
  }
}

const tight = (block, item) => block.type === 'paragraph' && block === item[0] ? make('span', {}, ...block.inside.map(piece)) : node(block);

function table({ head, rows }) {
  const row = (tag, cells) => make('tr', {}, ...cells.map(cell => make(tag, {}, ...cell.map(piece))));
  return make('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Table' },
    make('table', {}, make('thead', {}, row('th', head)), make('tbody', {}, ...rows.map(cells => row('td', cells)))));
}

// A block of code with its language and a button that copies it.
export function code(text, language) {
  return make('div', { class: 'code' },
    make('div', { class: 'code-head' }, make('span', {}, language || 'text'), copyButton(() => text)),
    make('pre', { tabindex: '0', role: 'region', 'aria-label': language ? `Code, ${language}` : 'Code' }, make('code', {}, text)));
}

// A place where a text grows.
export class Prose {
  constructor() {
    this.root = make('div', { class: 'prose' });
    this.shown = [];
  }

  show(text) {
    if (text.length > LONGEST) {
      this.shown = [];
      this.root.replaceChildren(make('pre', { class: 'plain', tabindex: '0' }, text));
      return;
    }
    const blocks = parse(text);
    const same = this.shown.findIndex((raw, index) => blocks[index]?.raw !== raw);
    const kept = same < 0 ? this.shown.length : same;
    while (this.root.childNodes.length > kept) this.root.lastChild.remove();
    this.root.append(...blocks.slice(kept).map(node));
    this.shown = blocks.map(block => block.raw);
  }
}
