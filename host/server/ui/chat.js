// The chat: a conversation kept in the page, streamed answers, and the request as code.

import { Answer } from './answer.js';
import { Failure, call, json, key } from './api.js';
import { announce, find, make } from './dom.js';
import { code } from './prose.js';
import { NUMBERS, asCurl, asPython, makeRequest, readTools } from './request.js';
import { eventsOf } from './sse.js';
import { AnswerView, questionView, resultView } from './turn.js';

// Messages as the next request has them, each with its node.
let turns = [];
let running = null;

const messages = () => turns.map(turn => turn.message);

export function start() {
  find('settings-numbers').append(...NUMBERS.map(({ name, label, min, max, step }) => make('label', {}, label,
    make('input', { type: 'number', id: `setting-${name}`, name, min, max, step, placeholder: 'default', inputmode: 'decimal' }))));
  find('composer').addEventListener('submit', event => {
    event.preventDefault();
    if (running) running.abort();
    else ask();
  });
  find('prompt').addEventListener('keydown', event => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!running) ask();
  });
  document.addEventListener('keydown', event => {
    if (event.key === 'Escape' && running) running.abort();
  });
  find('clear').addEventListener('click', clear);
  find('tools').addEventListener('input', () => showTools());
  find('request').addEventListener('toggle', showRequest);
  find('settings').addEventListener('input', showRequest);
  for (const button of document.querySelectorAll('[data-ask]')) {
    button.addEventListener('click', () => {
      find('prompt').value = button.dataset.ask;
      ask();
    });
  }
  document.addEventListener('keys', loadModels);
  // Phones have no room for what is rarely needed.
  find('settings').open = matchMedia('(min-width: 60rem)').matches;
  loadModels();
}

async function loadModels() {
  const select = find('model');
  try {
    const { data } = await json('v1/models');
    const chosen = select.value;
    select.replaceChildren(...data.map(model => make('option', { value: model.id }, model.id)));
    if (data.some(model => model.id === chosen)) select.value = chosen;
    find('chat-problem').textContent = data.length > 0 ? '' : 'No model is served yet.';
  } catch (error) {
    select.replaceChildren(make('option', { value: '' }, 'none'));
    find('chat-problem').textContent = error.message;
  }
}

// The tools that are pasted; null where they are no tools, which is said beside them.
function showTools() {
  try {
    const tools = readTools(find('tools').value);
    find('tools-problem').textContent = '';
    return tools;
  } catch (error) {
    find('tools-problem').textContent = `These are no tools: ${error.message}`;
    return null;
  }
}

function request(list) {
  const numbers = Object.fromEntries(NUMBERS.map(({ name }) => [name, find(`setting-${name}`).value]));
  const body = { model: find('model').value, system: find('system').value, messages: list, tools: showTools() ?? [], numbers };
  return makeRequest(body);
}

function showRequest() {
  if (!find('request').open) return;
  const asked = find('prompt').value.trim() || 'Hello!';
  const list = messages();
  const body = request(list.length > 0 ? list : [{ role: 'user', content: asked }]);
  const base = new URL('.', location.href).href.replace(/\/$/, '');
  const shown = { ...body, stream: true };
  find('request-code').replaceChildren(code(asCurl(shown, base, key() !== ''), 'curl'), code(asPython(shown, base, key() !== ''), 'openai-python'));
}

function ask() {
  const text = find('prompt').value.trim();
  if (text === '' || running) return;
  find('prompt').value = '';
  leaveCalls();
  add({ role: 'user', content: text }, questionView(text));
  answer();
}

// Calls that nobody answers are no part of what is sent: a server may refuse calls without results.
function leaveCalls() {
  const form = document.querySelector('.answer-call');
  const last = turns.at(-1);
  if (!form || !last) return;
  form.remove();
  delete last.message.tool_calls;
  last.message.content ??= '';
}

function add(message, node) {
  find('welcome').hidden = true;
  turns.push({ message, node });
  find('conversation').append(node);
  showRequest();
}

function clear() {
  running?.abort();
  turns = [];
  find('conversation').replaceChildren();
  find('welcome').hidden = false;
  find('prompt').focus();
  showRequest();
}

// Asks for an answer to what stands there, and shows it as it comes.
async function answer() {
  const tools = showTools();
  if (tools === null) {
    find('settings').open = true;
    find('tools').focus();
    return;
  }
  const stop = new AbortController();
  const [told, view] = [new Answer(), new AnswerView()];
  find('conversation').append(view.root);
  busy(stop);
  follow(true);
  let ended = null;
  try {
    const response = await call('v1/chat/completions', { body: request(messages()), signal: stop.signal });
    await read(response, told, view);
  } catch (error) {
    if (error.name === 'AbortError') ended = 'stopped';
    else {
      view.fail(error.message);
      ended = 'failed';
    }
  }
  if (running === stop) busy(null);
  // A new conversation may have begun.
  if (view.root.isConnected) finish(told, view, ended);
}

async function read(response, told, view) {
  let drawn = true;
  for await (const { event, data } of eventsOf(response)) {
    const said = JSON.parse(data);
    if (event === 'error' || said.error) throw new Failure(200, said.error?.message ?? data);
    told.push(said);
    if (!drawn) continue;
    drawn = false;
    requestAnimationFrame(() => {
      drawn = true;
      view.show(told);
      follow(false);
    });
  }
}

function finish(told, view, ended) {
  // A call that was cut off is no call to go on from.
  const message = ended ? { role: 'assistant', content: told.content } : told.message();
  if (message.content || message.tool_calls) turns.push({ message, node: view.root });
  view.end(told, ended, () => retry(view.root));
  if (message.tool_calls && !ended) view.ask(message.tool_calls, texts => results(message.tool_calls, texts));
  announce(ended ? `The answer was ${ended}.` : 'The answer is complete.');
  follow(false);
  showRequest();
}

function results(calls, texts) {
  calls.forEach((made, index) => {
    add({ role: 'tool', tool_call_id: made.id, content: texts[index] }, resultView(made.function.name, texts[index]));
  });
  answer();
}

// The answer and all behind it go, and it is asked for again.
function retry(node) {
  if (running) return;
  while (node.nextSibling) node.nextSibling.remove();
  node.remove();
  // An answer that failed has no turn, those behind it do.
  turns = turns.filter(turn => turn.node.isConnected);
  answer();
}

function busy(stop) {
  running = stop;
  find('conversation').setAttribute('aria-busy', stop ? 'true' : 'false');
  find('send').textContent = stop ? 'Stop' : 'Send';
  find('send').classList.toggle('stop', Boolean(stop));
  if (stop) announce('The model answers.');
}

// Keeps the newest line in sight, unless the reader has scrolled up.
function follow(always) {
  const scroller = find('scroller');
  const left = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
  if (always || left < 160) scroller.scrollTop = scroller.scrollHeight;
}
