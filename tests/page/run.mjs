// Runs the page in a browser against servers of its own and writes what held, as JSON.
//
//     node run.mjs RESULT.json [WORD...]      only the tests whose names hold a word
//
// PAGE_BINARY is weir, PAGE_MODEL the default model, PAGE_CHROMIUM the browser, PAGE_MODULES where the packages lie, PAGE_ROOT
// the checkout, PAGE_FOLDER where to write, PAGE_PICTURES where the pictures go.

import fs from 'node:fs';
import path from 'node:path';
import { close, complaints, hosts, launch } from './browser.mjs';
import { tests as chat } from './chat.mjs';
import { tests as look } from './look.mjs';
import { tests as playground } from './playground.mjs';
import { replayFile, stopAll, weir } from './servers.mjs';

const [result, ...words] = process.argv.slice(2);
const { PAGE_BINARY: binary, PAGE_MODEL: model, PAGE_ROOT: root, PAGE_FOLDER: folder, PAGE_PICTURES: pictures } = process.env;
const [key, adminKey] = ['a-key-of-somebody', 'the-key-of-an-admin'];

const tests = Object.entries({ ...chat, ...playground, ...look }).filter(([name]) => words.length === 0 || words.some(word => name.includes(word)));

async function run() {
  const replay = ['--model', replayFile(folder), '--tool-call-parser', 'qwen25'];
  const log = name => path.join(folder, `${name}.log`);
  const tools = {
    binary, folder, pictures, key, adminKey,
    hostile: path.join(root, 'tests/hostile/dist/hostile.wasm'),
    standard: await weir(binary, ['--model', model], log('standard')),
    replay: await weir(binary, [...replay, '--admin-key', adminKey], log('replay')),
    thinking: await weir(binary, [...replay, '--reasoning-parser', 'deepseek_r1'], log('thinking')),
    keyed: await weir(binary, [...replay, '--api-key', key], log('keyed')),
  };
  const outcome = { browser: await launch(), tests: [] };
  for (const [name, test] of tests) {
    const before = complaints.length;
    let [said, wrong] = ['', ''];
    try {
      said = await test(tools) ?? '';
    } catch (error) {
      wrong = error.message.split('\n').slice(0, 4).join(' ');
    }
    wrong ||= complaints.slice(before).join('; ');
    console.log(`${wrong ? 'FAILED' : 'ok    '} ${name}${wrong ? `: ${wrong}` : ''}${said ? ` (${said})` : ''}`);
    outcome.tests.push({ name, said: String(said), wrong });
  }
  outcome.hosts = Object.fromEntries(hosts);
  outcome.foreign = [...hosts.keys()].filter(host => !host.startsWith('127.0.0.1:'));
  fs.writeFileSync(result, JSON.stringify(outcome));
}

try {
  await run();
} finally {
  await close();
  stopAll();
}
