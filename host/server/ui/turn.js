// One turn of a conversation, shown: what was asked, or an answer with its reasoning, its calls and what it took.

import { copyButton, make } from './dom.js';
import { Prose, code } from './prose.js';

// What somebody asked.
export function questionView(text) {
  return make('article', { class: 'turn question' },
    make('h2', { class: 'who' }, 'You'),
    make('div', { class: 'asked' }, text));
}

// The results that tools gave.
export function resultView(name, text) {
  return make('article', { class: 'turn result' },
    make('h2', { class: 'who' }, `Result of ${name}`),
    make('pre', { class: 'plain', tabindex: '0' }, text));
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const count = (number, word) => `${number.toLocaleString('en')} ${word}`;

// Figures in words.
export function words({ first, input, cached, output, rate }) {
  return [
    first !== null && `first token ${first < 1000 ? `${Math.round(first)} ms` : `${(first / 1000).toFixed(2)} s`}`,
    rate !== null && `${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s`,
    input !== null && `${count(input, 'in')}${cached ? ` (${count(cached, 'cached')})` : ''}`,
    output !== null && count(output, 'out'),
  ].filter(Boolean);
}

// An answer that grows.
export class AnswerView {
  constructor() {
    this.reasoning = new Prose();
    this.content = new Prose();
    this.thoughts = make('details', { class: 'reasoning', hidden: true }, make('summary', {}, 'Reasoning'), this.reasoning.root);
    this.calls = make('div', { class: 'calls' });
    this.waiting = make('p', { class: 'waiting', 'aria-hidden': 'true' }, make('span'), make('span'), make('span'));
    this.foot = make('footer', { class: 'figures' });
    this.root = make('article', { class: 'turn answer' },
      make('h2', { class: 'who' }, 'Assistant'), this.thoughts, this.content.root, this.calls, this.waiting, this.foot);
  }

  show(answer) {
    if (answer.first !== null) this.waiting.hidden = true;
    if (answer.reasoning) {
      this.thoughts.hidden = false;
      this.reasoning.show(answer.reasoning);
    }
    this.content.show(answer.content);
    const calls = answer.calls.filter(Boolean);
    this.calls.replaceChildren(...calls.map(call => code(pretty(call.function.arguments), `call of ${call.function.name}`)));
  }

  // It is over: `ended` says how if not by itself.
  end(answer, ended, retry) {
    this.waiting.hidden = true;
    this.show(answer);
    const cut = answer.finish === 'length' ? 'cut at max tokens' : null;
    const notes = [ended ?? cut, ...words(answer.figures())].filter(Boolean);
    this.foot.replaceChildren(
      make('span', { class: 'note' }, notes.join(' \u00b7 ')),
      answer.content ? copyButton(() => answer.content) : '',
      make('button', { type: 'button', class: 'quiet small retry', onclick: retry }, 'Retry'));
  }

  fail(message) {
    this.waiting.hidden = true;
    this.foot.before(make('p', { class: 'failure', role: 'alert' }, message));
  }

  // A form that answers the calls; `send` is given a text for each.
  ask(calls, send) {
    const fields = calls.map((call, index) => make('label', {}, `Result of ${call.function.name}`,
      make('textarea', { rows: 3, name: `result-${index}`, spellcheck: 'false', placeholder: 'What the tool gave, text or JSON' })));
    const form = make('form', { class: 'answer-call' }, ...fields,
      make('button', { type: 'submit', class: 'primary' }, calls.length > 1 ? 'Send the results' : 'Send the result'));
    form.addEventListener('submit', event => {
      event.preventDefault();
      const texts = [...form.querySelectorAll('textarea')].map(area => area.value);
      form.remove();
      send(texts);
    });
    this.root.append(form);
    form.querySelector('textarea').focus();
  }
}
