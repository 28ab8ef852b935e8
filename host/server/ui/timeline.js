// Fragments in and events out, step by step, and the message so far.

import { make, visible, visibleLine } from './dom.js';
import { fold } from './fold.js';

const KINDS = {
  content: 'content', reasoning: 'reasoning', call_begin: 'call begins', call_arguments: 'arguments', call_end: 'call ends', call_abandoned: 'call abandoned',
};

function eventView(event) {
  const text = { content: event.text, reasoning: event.text, call_begin: event.name, call_arguments: event.delta, call_abandoned: event.raw }[event.type];
  const index = 'index' in event ? ` ${event.index}` : '';
  return make('span', { class: `event ${event.type}` },
    make('b', {}, `${KINDS[event.type] ?? event.type}${index}`), text === undefined ? null : make('code', {}, visibleLine(text)));
}

function stepView(step, number, failed) {
  const nothing = step.events.length === 0 && !step.withheld && !failed;
  const out = nothing ? [make('span', { class: 'nothing' }, 'nothing')] : step.events.map(eventView);
  const held = step.withheld ? make('p', { class: 'withheld' }, make('b', {}, 'held back '), make('code', {}, visibleLine(step.withheld))) : null;
  return make('li', { class: 'step', 'data-step': number },
    make('span', { class: 'number' }, step.fragment ? number + 1 : 'end'),
    make('div', { class: 'in' }, step.fragment ? make('code', { class: step.fragment.kind }, visibleLine(step.fragment.text)) : make('i', {}, 'the model ends')),
    make('div', { class: 'out' }, ...out, held, failed ? make('b', { class: 'bad' }, 'the plugin fails') : null));
}

// A message: what a client would have.
export function messageView({ content, reasoning, calls }, notes = []) {
  const row = (name, text, kind) => [make('dt', {}, name), make('dd', {}, make('pre', { class: `plain ${kind}`, tabindex: '0' }, visible(text)))];
  const rows = [
    reasoning ? row('reasoning', reasoning, 'reasoning') : [],
    content ? row('content', content, 'content') : [],
    ...calls.map((call, index) => row(`call ${index}${call.complete === false ? ', not closed' : ''}`, `${call.name}(${call.arguments})`, 'call')),
  ].flat();
  return make('dl', { class: 'message' },
    ...(rows.length > 0 ? rows : [make('dt', {}, 'message'), make('dd', { class: 'nothing' }, 'nothing yet')]),
    ...notes.flatMap(([name, text]) => [make('dt', {}, name), make('dd', {}, text)]));
}

// The message of an answer as the server has it.
export function messageOf({ message }) {
  const calls = message.tool_calls.map(call => ({ name: call.function.name, arguments: call.function.arguments }));
  return { content: message.content ?? '', reasoning: message.reasoning_content ?? '', calls };
}

// Most steps that are shown; a text cut into more is looked at in parts.
const MOST = 2000;

export class Timeline {
  constructor(list, range, told, result) {
    Object.assign(this, { list, range, told, result, steps: [], answer: null });
    range.addEventListener('input', () => this.go(Number(range.value)));
  }

  show(steps, answer) {
    this.steps = steps;
    this.answer = answer;
    this.list.replaceChildren(...steps.slice(0, MOST).map((step, index) => stepView(step, index, answer.error !== null && index === steps.length - 1)));
    if (steps.length > MOST) this.list.append(make('li', { class: 'nothing' }, `${steps.length - MOST} more steps are not shown`));
    this.range.max = steps.length;
    this.range.min = 1;
    this.go(steps.length);
  }

  move(by) {
    this.go(Math.min(Math.max(this.at + by, 1), this.steps.length), true);
  }

  // Shows the first steps, so many.
  go(count, scroll = false) {
    this.at = count;
    this.range.value = count;
    const last = count === this.steps.length;
    this.told.textContent = last && count > 1 ? `all ${count} steps` : `step ${count} of ${this.steps.length}`;
    [...this.list.children].forEach((node, index) => {
      node.classList.toggle('later', index >= count);
      node.classList.toggle('now', index === count - 1 && !last);
    });
    if (scroll) this.list.children[count - 1]?.scrollIntoView({ block: 'nearest' });
    const message = fold(this.steps.slice(0, count).flatMap(step => step.events));
    const held = this.steps[count - 1]?.withheld;
    const notes = [];
    if (held) notes.push(['held back', make('code', {}, visible(held))]);
    if (last && this.answer.error) notes.push(['error', make('span', { class: 'bad' }, this.answer.error)]);
    if (last && this.answer.finish_reason) notes.push(['finish reason', this.answer.finish_reason]);
    this.result.replaceChildren(messageView(message, notes));
  }
}
