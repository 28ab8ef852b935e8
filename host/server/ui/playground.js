// The playground: a model's raw output through the parsers of this server, piece by piece, and whether cutting matters.

import { adminKey, call, json } from './api.js';
import { caseFile } from './case_file.js';
import { cut, placesOf } from './cutting.js';
import { announce, download, find, make } from './dom.js';
import { fold } from './fold.js';
import { readTools } from './request.js';
import { splitsView } from './splits_view.js';
import { Timeline } from './timeline.js';

const UPLOADED = 'uploaded';
// The parser of the text that stands there from the start.
const FIRST = 'qwen25';

let plugins = [];
let uploaded = null;
let cases = [];
let timeline = null;
// Answers to what was asked before are not shown.
let asked = 0;
let opened = false;

export function start() {
  timeline = new Timeline(find('steps'), find('step'), find('step-told'), find('so-far'));
  find('case-form').addEventListener('submit', async event => {
    event.preventDefault();
    await run();
    // On a narrow screen what came of it is below.
    const results = find('results');
    if (results.getBoundingClientRect().top > innerHeight - 80) results.scrollIntoView({ block: 'start' });
  });
  find('tool-parser').addEventListener('change', () => agree('tool-parser'));
  find('reasoning-parser').addEventListener('change', () => agree('reasoning-parser'));
  find('chunking').addEventListener('change', showChunking);
  find('first').addEventListener('click', () => timeline.move(-Infinity));
  find('back').addEventListener('click', () => timeline.move(-1));
  find('next').addEventListener('click', () => timeline.move(1));
  find('last').addEventListener('click', () => timeline.move(Infinity));
  find('case').addEventListener('change', takeCase);
  find('save').addEventListener('click', save);
  find('upload-form').addEventListener('submit', upload);
  document.addEventListener('keys', () => {
    showUpload();
    if (opened) loadPlugins();
  });
  showChunking();
  showUpload();
}

// When the view is opened for the first time: what there is to pick from.
export async function open() {
  if (opened) return;
  opened = true;
  await Promise.all([loadPlugins(), loadCases()]);
  // So that there is something to see at once.
  if (asked === 0 && plugins.some(plugin => plugin.name === FIRST)) {
    find('tool-parser').value = FIRST;
    run();
  }
}

async function loadPlugins() {
  try {
    ({ plugins } = await json('parse'));
    problem('');
  } catch (error) {
    problem(error.message);
  }
  showPlugins();
}

async function loadCases() {
  cases = await json('ui/cases.json');
  const named = cases.map((known, index) => make('option', { value: index }, `${known.plugin}: ${known.name.replaceAll('_', ' ')}`));
  find('case').append(...named);
}

function showPlugins() {
  const all = uploaded ? [...plugins, uploaded] : plugins;
  const fits = { 'tool-parser': plugin => plugin.tools, 'reasoning-parser': plugin => plugin.reasoning };
  for (const [id, fit] of Object.entries(fits)) {
    const select = find(id);
    const chosen = select.value;
    select.replaceChildren(make('option', { value: '' }, 'none'), ...all.filter(fit).map(plugin => make('option', { value: plugin.name }, label(plugin))));
    select.value = all.some(plugin => plugin.name === chosen && fit(plugin)) ? chosen : '';
  }
  const ticked = new Set(chosenPost());
  find('post-processors').replaceChildren(...all.filter(plugin => plugin.kind === 'post-processor').map(plugin => make('label', { class: 'tick' },
    make('input', { type: 'checkbox', name: 'post', value: plugin.name, checked: ticked.has(plugin.name) }), label(plugin))));
}

const label = plugin => plugin === uploaded ? `${UPLOADED} (${plugin.version})` : plugin.name;
const chosenPost = () => [...document.querySelectorAll('input[name=post]:checked')].map(input => input.value);

function showChunking() {
  const kind = find('chunking').value;
  find('every-field').hidden = kind !== 'every';
  find('splits-field').hidden = kind !== 'splits';
}

// A parser of both parts stands alone: where it meets another, what was chosen last stays.
function agree(changed) {
  const other = changed === 'tool-parser' ? 'reasoning-parser' : 'tool-parser';
  const known = name => name === UPLOADED ? uploaded : plugins.find(plugin => plugin.name === name);
  const both = id => known(find(id).value)?.tools && known(find(id).value)?.reasoning;
  if (find(changed).value !== find(other).value && (both(changed) || both(other)) && find(changed).value !== '') find(other).value = '';
}

function takeCase() {
  const known = cases[Number(find('case').value)];
  if (find('case').value === '' || !known) return;
  const { text, tools = [], prompt = '', finish_reason: ended = 'stop' } = known.case;
  find('output').value = text;
  find('case-tools').value = tools.length > 0 ? JSON.stringify(tools, null, 2) : '';
  find('case-prompt').value = prompt;
  find('case-end').value = ended;
  find('shows').textContent = known.shows;
  const plugin = plugins.find(other => other.name === known.plugin);
  const other = plugins.find(candidate => candidate.name === known.with);
  find('tool-parser').value = [plugin, other].find(one => one?.tools)?.name ?? '';
  find('reasoning-parser').value = [plugin, other].find(one => one?.reasoning)?.name ?? '';
  run();
}

// What is asked of the server; throws where a field makes no sense.
function request() {
  const text = find('output').value;
  if (text === '') throw new Error('There is no text to parse.');
  const kind = find('chunking').value;
  const pieces = cut(text, placesOf(text, kind, find(kind === 'every' ? 'every' : 'splits').value));
  const tools = readTools(find('case-tools').value);
  const given = { chunks: pieces, tools, prompt: find('case-prompt').value, finish_reason: find('case-end').value };
  return {
    case: given,
    tool_call_parser: find('tool-parser').value || null,
    reasoning_parser: find('reasoning-parser').value || null,
    post_processor: chosenPost(),
    tool_call_streaming: find('streaming').value,
  };
}

// Cases that name the plugin which is tried go where it is.
function parse(body) {
  const named = [body.tool_call_parser, body.reasoning_parser, ...body.post_processor];
  const tried = named.includes(UPLOADED);
  return json(tried ? 'admin/parse' : 'parse', { body, admin: tried });
}

async function run() {
  const turn = asked += 1;
  let body = null;
  try {
    body = request();
  } catch (error) {
    problem(error.message);
    return;
  }
  problem('');
  find('results').setAttribute('aria-busy', 'true');
  find('splits-result').replaceChildren(make('p', { class: 'nothing' }, 'Trying other ways to cut the text\u2026'));
  try {
    const { steps, answer } = await parse({ ...body, steps: true });
    if (turn !== asked) return;
    find('results').hidden = false;
    timeline.show(steps, answer);
    contained(answer, body);
    const { splits } = await parse({ ...body, splits: true });
    if (turn !== asked) return;
    find('splits-result').replaceChildren(...splitsView(splits, body.case.chunks.join(''), answer, useCuts));
    announce(splits.smallest ? 'Cutting the text changes the message.' : 'The text is parsed.');
  } catch (error) {
    if (turn === asked) problem(error.message);
  }
  if (turn === asked) find('results').setAttribute('aria-busy', 'false');
}

// A plugin that failed failed alone: its name and what it did stand here, and the server goes on.
function contained(answer, body) {
  const failed = answer.error !== null;
  find('contained').hidden = !failed;
  find('contained').textContent = failed ? `${answer.error}. It was stopped; nothing else was harmed.` : '';
  find('save').disabled = failed;
  find('command').textContent = commandOf(body);
}

function commandOf({ tool_call_parser: tools, reasoning_parser: reasoning, post_processor: post }) {
  const tried = [tools, reasoning, ...post].includes(UPLOADED);
  const flags = [tried && `--plugin ${UPLOADED}=FILE.wasm`, tools && `--tool-call-parser ${tools}`, reasoning && `--reasoning-parser ${reasoning}`, ...post.map(name => `--post-processor ${name}`)];
  return ['weir parse', ...flags.filter(Boolean), 'case.toml'].join(' ');
}

function useCuts(cuts) {
  find('chunking').value = 'splits';
  find('splits').value = cuts.join(', ');
  showChunking();
  run();
  find('steps').scrollIntoView({ block: 'nearest' });
}

function problem(text) {
  find('case-problem').textContent = text;
}

// What is in the fields as a file, with the messages of both ways to stream calls.
async function save() {
  try {
    const body = request();
    const [incremental, complete] = await Promise.all(['incremental', 'complete'].map(mode => parse({ ...body, tool_call_streaming: mode })));
    const [tools, reasoning] = [body.tool_call_parser, body.reasoning_parser];
    const text = caseFile({
      plugin: tools ?? reasoning ?? 'none',
      with: tools && reasoning && tools !== reasoning ? reasoning : null,
      pieces: body.case.chunks,
      tools: body.case.tools,
      prompt: body.case.prompt,
      ended: body.case.finish_reason,
      incremental: fold(incremental.answer.events),
      complete: fold(complete.answer.events),
      finish: incremental.answer.finish_reason,
    });
    download('case.toml', 'application/toml', text);
  } catch (error) {
    problem(error.message);
  }
}

function showUpload() {
  const allowed = adminKey() !== '';
  find('upload-form').hidden = !allowed;
  find('upload-hint').hidden = allowed;
}

async function upload(event) {
  event.preventDefault();
  const told = find('upload-told');
  const [file] = find('wasm').files;
  if (!file) {
    told.textContent = 'Choose a .wasm file first.';
    return;
  }
  told.className = '';
  told.textContent = 'Loading it\u2026';
  try {
    const config = JSON.stringify(JSON.parse(find('wasm-config').value || '{}')).replace(/[\u0080-\uffff]/g, letter => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`);
    const response = await call('admin/plugins/try', { body: file, admin: true, headers: { 'x-weir-plugin-config': config } });
    uploaded = await response.json();
    told.className = 'good';
    told.textContent = `${file.name} is here as \u201c${UPLOADED}\u201d, for this page alone: version ${uploaded.version}, SHA-256 ${uploaded.sha256.slice(0, 12)}\u2026`;
    showPlugins();
    for (const id of [uploaded.tools && 'tool-parser', uploaded.reasoning && 'reasoning-parser'].filter(Boolean)) {
      find(id).value = UPLOADED;
      agree(id);
    }
  } catch (error) {
    told.className = 'bad';
    told.textContent = `${file.name} was not taken: ${error.message}`;
  }
}
