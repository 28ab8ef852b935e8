// Nodes made of text. Nothing here or elsewhere in the page turns a string into markup, and the page's policy forbids it.

const SVG = 'http://www.w3.org/2000/svg';

// A node with properties that begin with `on` as listeners, `class` and the rest as attributes; null leaves one out.
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

export const find = id => document.getElementById(id);

// Says something to screen readers, once.
export function announce(text) {
  find('announcer').textContent = text;
}

// A button that copies what `text()` answers.
export function copyButton(text, label = 'Copy') {
  const button = make('button', { type: 'button', class: 'quiet small copy' }, label);
  button.addEventListener('click', async () => {
    const done = await copy(text());
    button.textContent = done ? 'Copied' : 'Not copied';
    announce(button.textContent);
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}

// Browsers give no clipboard to pages of plain HTTP on another machine; the old way works there.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make('textarea', { class: 'offscreen', 'aria-hidden': 'true', tabindex: '-1' });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

// White space and control characters as what they are, for text that is looked at letter by letter.
export function visible(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, letter => letter === '\u007f' ? '\u2421' : String.fromCharCode(0x2400 + letter.charCodeAt(0)))
    .replace(/[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, letter => `\u27e8U+${letter.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}\u27e9`)
    .replace(/^ +$/, spaces => '\u2423'.repeat(spaces.length))
    .replaceAll('\t', '\u21e5\t')
    .replaceAll('\n', '\u21b5\n');
}

// The same on one line.
export const visibleLine = text => visible(text).replaceAll('\n', '');

// Hands text to the browser as a file.
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = make('a', { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
