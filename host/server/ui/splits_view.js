// What other ways to cut a text give: a word for "all the same", or in red which cut changes the message.

import { make, visible, visibleLine } from './dom.js';
import { messageOf, messageView } from './timeline.js';

const outcome = answer => JSON.stringify([answer.message, answer.finish_reason, answer.error]);

function notesOf(answer) {
  return [answer.finish_reason && ['finish reason', answer.finish_reason], answer.error && ['error', make('span', { class: 'bad' }, answer.error)]].filter(Boolean);
}

const piecesView = fragments => make('p', { class: 'pieces' }, ...fragments.flatMap((fragment, index) => [
  index > 0 ? make('span', { class: 'cut', 'aria-label': 'cut' }, '\u2502') : null, make('code', {}, visibleLine(fragment.text))]));

// The text with a red line at each single cut that changes the message.
function marked(text, places) {
  const letters = Array.from(text);
  const parts = [];
  let from = 0;
  for (const place of places) {
    parts.push(visible(letters.slice(from, place).join('')), make('mark', { class: 'cut', title: `cut after ${place} characters` }, '\u2502'));
    from = place;
  }
  parts.push(visible(letters.slice(from).join('')));
  return make('pre', { class: 'plain', tabindex: '0' }, ...parts);
}

function compared(whole, other) {
  return make('div', { class: 'two' },
    make('section', {}, make('h3', {}, 'In one piece'), messageView(messageOf(whole), notesOf(whole))),
    make('section', { class: 'bad-box' }, make('h3', {}, 'Cut so'), messageView(messageOf(other), notesOf(other))));
}

// `shown` is the answer to the chunking in the timeline; `use` is called with the cuts that somebody wants to see there.
export function splitsView(splits, text, shown, use) {
  const { whole, tried, ways, differing, smallest } = splits;
  const nodes = [];
  if (outcome(shown) !== outcome(whole)) {
    nodes.push(make('p', { class: 'verdict bad', role: 'alert' }, 'The chunking above gives another message than the text in one piece.'));
  }
  if (!smallest && whole.error !== null) {
    nodes.push(make('p', { class: 'verdict bad' }, 'It fails however the text is cut.'));
    return nodes;
  }
  const far = tried < ways && !smallest ? ` in the time there is; ${ways - tried} were not tried` : '';
  if (!smallest) {
    nodes.push(make('p', { class: 'verdict good' }, tried === 0 ? 'There is no other way to cut this text.' : `${tried.toLocaleString('en')} other ways to cut the text give the same message${far}.`));
    return nodes;
  }
  const cuts = smallest.cuts.length === 1 ? `one cut, after ${smallest.cuts[0]} characters` : `${smallest.cuts.length} cuts, after ${smallest.cuts.join(', ')} characters`;
  const single = differing.length > 0 ? ` ${differing.length} of ${tried} single cuts do so.` : '';
  nodes.push(
    make('p', { class: 'verdict bad', role: 'alert' }, `Cutting changes the message. The smallest split: ${cuts}.${single}`),
    piecesView(smallest.fragments),
    make('p', {}, make('button', { type: 'button', onclick: () => use(smallest.cuts) }, 'Show this split in the timeline')),
    compared(whole, smallest.answer));
  if (differing.length > 1) nodes.push(make('h3', {}, 'Every single cut that does'), marked(text, differing));
  return nodes;
}
