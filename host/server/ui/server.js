// What the server does: its models and plugins, and the last minutes of /metrics as lines.

import { adminKey, call, json } from './api.js';
import { Chart, shown } from './chart.js';
import { find, make } from './dom.js';
import { figures, read, sum } from './exposition.js';

// Seconds between two readings, and how many readings are kept: five minutes.
const EVERY = 2;
const KEPT = 150;

const CHARTS = [
  ['Requests', '', [{ name: 'running', label: 'running', className: 'one' }, { name: 'waiting', label: 'queued', className: 'two' }]],
  ['Tokens a second', '', [{ name: 'written', label: 'out', className: 'one' }, { name: 'prompted', label: 'in', className: 'two' }]],
  ['Batch size', '', [{ name: 'batch', label: 'sequences a step', className: 'one' }]],
  ['Time to the first token', 's', [{ name: 'first', label: 'mean', className: 'one' }]],
  ['KV cache in use', '%', [{ name: 'kv', label: '', className: 'one' }]],
  ['Prefix cache hits', '%', [{ name: 'prefix', label: 'of prompt tokens', className: 'one' }]],
];

const samples = [];
let charts = [];
let before = null;
let timer = null;

export function start() {
  document.addEventListener('keys', () => {
    if (timer) lists();
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && timer) poll();
  });
}

// Readings begin when the view is opened and go on for as long as the page is looked at.
export function open() {
  if (timer) return lists();
  charts = CHARTS.map(([title, unit, lines]) => new Chart(title, unit, lines, KEPT));
  find('charts').replaceChildren(...charts.map(chart => chart.root));
  timer = setInterval(() => {
    if (!document.hidden) poll();
  }, EVERY * 1000);
  return Promise.all([poll(), lists()]);
}

async function poll() {
  let text = '';
  try {
    text = await (await call('metrics')).text();
    find('server-problem').textContent = '';
  } catch (error) {
    if (error.status === 404) clearInterval(timer);
    find('server-problem').textContent = error.status === 404 ? 'This server was started with --metrics off, so there is nothing to draw.' : error.message;
    return;
  }
  const now = { families: read(text), at: performance.now() };
  const sample = figures(before?.families, now.families, before ? (now.at - before.at) / 1000 : 0);
  before = now;
  samples.push(sample);
  if (samples.length > KEPT) samples.shift();
  for (const chart of charts) chart.draw(samples);
  find('version').textContent = now.families.get('weir_build_info')?.[0]?.labels.version ?? '';
  if (adminKey() === '') pluginsOfMetrics(now.families);
}

async function lists() {
  try {
    const { data } = await json('v1/models');
    table('models', ['Model', 'Context', 'State'], data.map(model => [
      make('code', {}, model.id), model.max_model_len ? `${model.max_model_len.toLocaleString('en')} tokens` : '\u2013', loaded(model.id)]));
  } catch (error) {
    table('models', ['Model'], [[error.message]]);
  }
  if (adminKey() !== '') await pluginsOfAdmin();
}

function loaded(id) {
  const value = before && sum(before.families, 'weir_model_loaded', 'model', id);
  return value === 0 ? 'not loaded' : 'served';
}

function table(id, head, rows) {
  find(id).replaceChildren(make('thead', {}, make('tr', {}, ...head.map(name => make('th', { scope: 'col' }, name)))),
    make('tbody', {}, ...rows.map(cells => make('tr', {}, ...cells.map((cell, index) => make('td', { 'data-label': head[index] }, cell))))));
}

const nanoseconds = (seconds, pushes) => pushes > 0 ? `${Math.round(seconds * 1e9 / pushes).toLocaleString('en')} ns` : '\u2013';
const traps = count => count > 0 ? make('b', { class: 'bad' }, String(count)) : '0';

// Without an admin key: what the metrics tell of the plugins that did something.
function pluginsOfMetrics(families) {
  const of = (name, plugin) => sum(families, name, 'plugin', plugin) ?? 0;
  const names = (families.get('weir_plugin_sessions_total') ?? []).map(({ labels }) => labels.plugin);
  const used = names.filter(name => of('weir_plugin_sessions_total', name) + of('weir_plugin_instances', name) > 0);
  find('plugins-hint').textContent = 'With the admin key versions and hashes stand here too, and the plugins that nobody used yet.';
  table('plugins', ['Plugin', 'Sessions', 'A push', 'Traps'], (used.length > 0 ? used : []).map(name => [
    make('code', {}, name),
    sessions(of('weir_plugin_sessions_total', name), of('weir_plugin_instances', name)),
    nanoseconds(of('weir_plugin_call_seconds_total', name), of('weir_plugin_calls_total', name)),
    traps(of('weir_plugin_failures_total', name))]));
  if (used.length === 0) find('plugins').querySelector('tbody').append(make('tr', {}, make('td', { colspan: 4, class: 'nothing' }, 'No plugin was used yet.')));
}

const sessions = (ended, live) => live > 0 ? `${shown(ended)} (${live} now)` : shown(ended);

async function pluginsOfAdmin() {
  try {
    const { plugins } = await json('admin/plugins', { admin: true });
    const order = plugin => plugin.state === 'loaded' ? 0 : 1;
    plugins.sort((a, b) => order(a) - order(b) || a.name.localeCompare(b.name));
    find('plugins-hint').textContent = '';
    table('plugins', ['Plugin', 'Kind', 'Version', 'SHA-256', 'Sessions', 'A push', 'Traps', 'State'], plugins.map(plugin => [
      make('code', {}, plugin.name), plugin.kind, plugin.version ?? '\u2013',
      plugin.sha256 ? make('code', { title: plugin.sha256 }, plugin.sha256.slice(0, 10)) : '\u2013',
      sessions(plugin.counters.sessions, plugin.counters.live_sessions),
      nanoseconds(plugin.counters.seconds, plugin.counters.pushes), traps(plugin.counters.failures),
      plugin.state === 'failed' ? make('b', { class: 'bad' }, plugin.reason) : plugin.state]));
  } catch (error) {
    find('plugins-hint').textContent = error.message;
  }
}
