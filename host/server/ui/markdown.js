// Markdown as models write it, to a tree of plain data: blocks, and in them pieces of text.
//
// It knows no markup language: a tag is text. A link goes to http, https or mailto and nowhere else. Each mark is looked for
// once, so that a line of a million asterisks takes no longer than a line of a million letters.

const SAFE = /^(https?:\/\/|mailto:)[^\s\u0000-\u001f]+$/i;
const DEEPEST = 6;

// Where a link may go; null for anything else.
export function safeLink(address) {
  const trimmed = address.trim();
  return SAFE.test(trimmed) ? trimmed : null;
}

// The blocks of a text. Each has its source in `raw`, so that whoever shows a text that grows knows which are as they were.
export function parse(text) {
  return blocksOf(text.replace(/\r\n?/g, '\n').split('\n'), 0);
}

function blocksOf(lines, depth) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const begin = at;
    const line = lines[at];
    if (line.trim() === '') {
      at += 1;
      continue;
    }
    const [block, end] = fence(lines, at) || heading(lines, at) || rule(lines, at) || quote(lines, at, depth)
      || list(lines, at, depth) || table(lines, at) || paragraph(lines, at, depth);
    at = end;
    blocks.push({ ...block, raw: lines.slice(begin, end).join('\n') });
  }
  return blocks;
}

function fence(lines, at) {
  const opened = /^( {0,3})(`{3,}|~{3,})\s*([^`]*)$/.exec(lines[at]);
  if (!opened) return null;
  const [, indent, mark, language] = opened;
  let end = at + 1;
  const closes = line => line.trim().startsWith(mark) && line.trim().replaceAll(mark[0], '') === '';
  while (end < lines.length && !closes(lines[end])) end += 1;
  const inside = lines.slice(at + 1, end).map(line => line.startsWith(indent) ? line.slice(indent.length) : line);
  const block = { type: 'code', language: language.trim().split(/\s/)[0], text: inside.join('\n'), closed: end < lines.length };
  return [block, Math.min(end + 1, lines.length)];
}

function heading(lines, at) {
  const found = /^ {0,3}(#{1,6})\s+(.*)$/.exec(lines[at]);
  return found && [{ type: 'heading', level: found[1].length, inside: inline(found[2].replace(/\s#+\s*$/, '')) }, at + 1];
}

function rule(lines, at) {
  const bare = lines[at].replace(/\s/g, '');
  const same = bare.length >= 3 && '-*_'.includes(bare[0]) && bare.replaceAll(bare[0], '') === '';
  return same ? [{ type: 'rule' }, at + 1] : null;
}

function quote(lines, at, depth) {
  if (!/^ {0,3}>/.test(lines[at]) || depth >= DEEPEST) return null;
  let end = at;
  while (end < lines.length && /^ {0,3}>/.test(lines[end])) end += 1;
  const inside = lines.slice(at, end).map(line => line.replace(/^ {0,3}> ?/, ''));
  return [{ type: 'quote', blocks: blocksOf(inside, depth + 1) }, end];
}

const ITEM = /^(\s{0,12})([-*+]|\d{1,9}[.)])(\s+)(.*)$/;

function list(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  if (!first || depth >= DEEPEST) return null;
  const ordered = /\d/.test(first[2]);
  const indent = first[1].length;
  const items = [];
  let end = at;
  while (end < lines.length) {
    const item = ITEM.exec(lines[end]);
    if (item && item[1].length <= indent + 1) {
      if (/\d/.test(item[2]) !== ordered || item[1].length < indent) break;
      items.push([item[4]]);
    } else if (lines[end].trim() === '') {
      // A list goes on behind an empty line if the next one belongs to it.
      const next = lines[end + 1] ?? '';
      const goes = ITEM.exec(next);
      if (!/^\s{2,}\S/.test(next) && !(goes && /\d/.test(goes[2]) === ordered)) break;
      items.at(-1).push('');
    } else if (/^\s{2,}/.test(lines[end]) || !starts(lines[end])) {
      items.at(-1).push(lines[end].replace(new RegExp(`^\\s{0,${indent + first[2].length + 1}}`), ''));
    } else break;
    end += 1;
  }
  const start = ordered ? Number.parseInt(first[2], 10) : 1;
  return [{ type: 'list', ordered, start, items: items.map(item => blocksOf(item, depth + 1)) }, end];
}

const cells = line => line.trim().replace(/^\||\|$/g, '').split('|').map(cell => inline(cell.trim()));

function table(lines, at) {
  const under = lines[at + 1] ?? '';
  if (!lines[at].includes('|') || !/^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(under) || !under.includes('-')) return null;
  let end = at + 2;
  while (end < lines.length && lines[end].includes('|') && lines[end].trim() !== '') end += 1;
  return [{ type: 'table', head: cells(lines[at]), rows: lines.slice(at + 2, end).map(cells) }, end];
}

// Whether a line begins another block than a paragraph.
function starts(line) {
  return /^ {0,3}(#{1,6}\s|>|```|~~~)/.test(line) || ITEM.test(line);
}

function paragraph(lines, at, depth) {
  let end = at + 1;
  const ends = line => line.trim() === '' || (starts(line) && depth < DEEPEST);
  while (end < lines.length && !ends(lines[end])) end += 1;
  return [{ type: 'paragraph', inside: inline(lines.slice(at, end).join('\n')) }, end];
}

const MARKS = [['**', 'strong'], ['__', 'strong'], ['~~', 'strike'], ['*', 'emphasis'], ['_', 'emphasis']];

// The pieces of a paragraph.
export function inline(text, depth = 0) {
  const pieces = [];
  // Marks that have no partner further on, whichever of them is asked.
  const lonely = new Set();
  let plain = '';
  let at = 0;
  const flush = () => {
    if (plain) pieces.push({ type: 'text', text: plain });
    plain = '';
  };
  while (at < text.length) {
    const letter = text[at];
    const found = depth < DEEPEST && '\\`![<*_~h'.includes(letter) ? special(text, at, depth, lonely) : null;
    if (found) {
      flush();
      pieces.push(found.piece);
      at = found.end;
    } else {
      const escaped = letter === '\\' && /[!-/:-@[-`{-~]/.test(text[at + 1] ?? '');
      plain += escaped ? text[at + 1] : letter;
      at += escaped ? 2 : 1;
    }
  }
  flush();
  return pieces;
}

function special(text, at, depth, lonely) {
  const letter = text[at];
  if (letter === '`') return codeSpan(text, at, lonely);
  if (letter === '[' || (letter === '!' && text[at + 1] === '[')) return link(text, at, depth);
  if (letter === '<' || letter === 'h') return address(text, at);
  for (const [mark, type] of MARKS) {
    if (!text.startsWith(mark, at) || lonely.has(mark)) continue;
    const piece = marked(text, at, mark, type, depth, lonely);
    if (piece) return piece;
  }
  return null;
}

function codeSpan(text, at, lonely) {
  let ticks = 1;
  while (text[at + ticks] === '`') ticks += 1;
  const mark = '`'.repeat(Math.min(ticks, 8));
  if (lonely.has(mark)) return null;
  const end = text.indexOf(mark, at + ticks);
  if (end < 0) {
    lonely.add(mark);
    return null;
  }
  return { piece: { type: 'code', text: text.slice(at + ticks, end).replace(/^ (.+) $/, '$1') }, end: end + mark.length };
}

function marked(text, at, mark, type, depth, lonely) {
  const begin = at + mark.length;
  const space = place => /\s/.test(text[place] ?? ' ');
  const word = place => /[\p{L}\p{N}_]/u.test(text[place] ?? ' ');
  if (space(begin) || (mark[0] === '_' && word(at - 1))) return null;
  let end = text.indexOf(mark, begin + 1);
  // One more asterisk belongs to what is inside.
  while (end >= 0 && mark.length === 1 && text[end + 1] === mark) end = text.indexOf(mark, end + 2);
  if (end < 0) {
    lonely.add(mark);
    return null;
  }
  if (space(end - 1) || (mark[0] === '_' && word(end + mark.length))) return null;
  return { piece: { type, inside: inline(text.slice(begin, end), depth + 1) }, end: end + mark.length };
}

// Longest text and address of a link; what is longer is text.
const LONGEST = 2000;

function link(text, at, depth) {
  const image = text[at] === '!';
  const open = at + (image ? 2 : 1);
  const middle = open + text.slice(open, open + LONGEST).indexOf('](');
  if (middle < open) return null;
  const close = text.slice(middle + 2, middle + 2 + LONGEST).search(/[)\n]/);
  if (close < 0 || text[middle + 2 + close] !== ')') return null;
  const end = middle + 2 + close;
  const target = text.slice(middle + 2, end).replace(/\s+["'(].*$/, '').replace(/^<(.*)>$/, '$1');
  const href = safeLink(target);
  // An address that may not be followed stands there to be read.
  if (!href) return { piece: { type: 'text', text: text.slice(at, end + 1) }, end: end + 1 };
  // No image is fetched from anywhere: it is a link.
  return { piece: { type: 'link', href, inside: inline(text.slice(open, middle), Math.max(depth + 1, DEEPEST - 2)) }, end: end + 1 };
}

function address(text, at) {
  const bracket = text[at] === '<';
  if (!bracket && /[\p{L}\p{N}]/u.test(text[at - 1] ?? ' ')) return null;
  const found = /^(https?:\/\/|mailto:)[^\s<>"'`)\]*]{1,1000}/i.exec(text.slice(at + (bracket ? 1 : 0), at + 1010));
  if (!found) return null;
  const shown = bracket ? found[0] : found[0].replace(/[.,;:!?]+$/, '');
  const end = at + (bracket ? 1 : 0) + shown.length;
  if (bracket && text[end] !== '>') return null;
  const href = safeLink(shown);
  return href && { piece: { type: 'link', href, inside: [{ type: 'text', text: shown }] }, end: end + (bracket ? 1 : 0) };
}
