// The playground, driven as a plugin's author drives it.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { contains, ensure, open } from './browser.mjs';
import { HOSTILE } from './hostile.mjs';

export async function enter(address, options = {}) {
  const page = await open(`${address}#playground`, options);
  await page.waitForFunction(() => document.querySelectorAll('#tool-parser option').length > 10 && document.querySelectorAll('#case option').length > 10);
  return page;
}

export async function parsed(page) {
  await page.click('#parse');
  await done(page);
}

// The answer is there, and that of the other ways to cut.
export async function done(page) {
  await page.waitForFunction(() => document.querySelector('#results').getAttribute('aria-busy') === 'false' && document.querySelector('#splits-result .verdict'), null, { timeout: 60_000 });
}

async function admin(page, key) {
  await page.click('#keys-open');
  await page.fill('#keys-admin', key);
  await page.click('#keys button[type=submit]');
}

// `config` is what the hostile plugin is to do.
export async function upload(page, { hostile, adminKey }, config) {
  if (await page.locator('#upload-form').isHidden()) await admin(page, adminKey);
  await page.setInputFiles('#wasm', hostile);
  await page.fill('#wasm-config', JSON.stringify(config));
  await page.click('#upload-form button');
  await page.waitForFunction(() => document.querySelector('#upload-told').className !== '');
}

export const tests = {
  'every corpus case of the page gives its message, however it is cut': async ({ replay }) => {
    const page = await enter(replay);
    const count = await page.locator('#case option').count() - 1;
    for (let index = 0; index < count; index += 1) {
      await page.selectOption('#case', String(index));
      await done(page);
      const name = await page.locator('#case option:checked').innerText();
      const verdict = await page.locator('#splits-result .verdict').innerText();
      ensure(/the same message/.test(verdict), `${name}: ${verdict}`);
    }
    return `${count} cases`;
  },

  'stepping through shows what came, what is held back, and the message so far': async ({ replay }) => {
    const page = await enter(replay);
    await page.selectOption('#tool-parser', 'qwen25');
    await page.fill('#output', 'Hi <tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>');
    await page.selectOption('#chunking', 'every');
    await page.fill('#every', '5');
    await parsed(page);
    await contains(page.locator('#so-far'), 'f({"a": 1})');
    await page.click('#first');
    await contains(page.locator('#step-told'), 'step 1 of');
    await contains(page.locator('#so-far'), 'held back');
    await page.click('#next');
    await contains(page.locator('#so-far'), '<tool_');
    ensure(await page.locator('#steps .now').count() === 1, 'no step is marked');
    await page.focus('#step');
    await page.keyboard.press('End');
    await contains(page.locator('#so-far'), 'finish reason');
  },

  'a planted chunking bug is found, with its smallest split': async tools => {
    const page = await enter(tools.replay);
    await upload(page, tools, { mode: 'forgetful', in: 'push' });
    await contains(page.locator('#upload-told'), 'for this page alone');
    await page.fill('#output', 'one <hidden>two');
    await page.selectOption('#chunking', 'whole');
    await parsed(page);
    const result = page.locator('#splits-result');
    await contains(result, 'The smallest split: one cut, after 5 characters.');
    await contains(result, '7 of 14 single cuts');
    ensure((await result.locator('.pieces code').allInnerTexts()).join('|') === 'one <|hidden>two', 'other pieces');
    await page.click('text=Show this split in the timeline');
    await done(page);
    await contains(result, 'The chunking above gives another message');
    await contains(page.locator('#so-far'), 'one <hidden>two');
    return 'one cut, after 5 characters: \u201cone <\u201d and \u201chidden>two\u201d';
  },

  'a plugin that traps is contained and named': async tools => {
    const page = await enter(tools.replay, { expected: [/400/] });
    let said = '';
    for (const [mode, words] of [['panic', 'trapped'], ['loop', 'ran longer'], ['long-text', 'returned more']]) {
      await upload(page, tools, { mode, in: 'push' });
      await parsed(page);
      const told = page.locator('#contained');
      await contains(told, '`uploaded`');
      await contains(told, words);
      await contains(told, 'nothing else was harmed');
      said ||= await told.innerText();
    }
    await upload(page, tools, { mode: 'panic', in: 'describe' });
    await contains(page.locator('#upload-told'), 'was not taken');
    await page.selectOption('#tool-parser', 'qwen25');
    await page.selectOption('#reasoning-parser', '');
    await parsed(page);
    ensure(await page.locator('#contained').isHidden(), 'the failure is still shown');
    return said;
  },

  'a case is downloaded, and weir parse and a corpus take the file': async ({ replay, binary, folder }) => {
    const page = await enter(replay);
    await page.selectOption('#tool-parser', 'qwen25');
    await page.fill('#output', 'caf\u00e9 "\\\t\u0001 <tool_call>{"name": "f", "arguments": 42}</tool_call> \ud83d\ude00');
    await page.selectOption('#chunking', 'splits');
    await page.fill('#splits', '3 20');
    await parsed(page);
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save')]);
    const corpus = path.join(folder, 'corpus');
    fs.mkdirSync(corpus, { recursive: true });
    const file = path.join(corpus, 'case.toml');
    await download.saveAs(file);
    const answer = JSON.parse(execFileSync(binary, ['parse', '--tool-call-parser', 'qwen25', file], { encoding: 'utf8' }));
    ensure(answer.message.tool_calls[0].function.name === 'f' && answer.message.content.startsWith('caf\u00e9 "\\\t\u0001'), JSON.stringify(answer));
    const wasm = path.join(process.env.PAGE_ROOT, 'plugins/dist/qwen25.wasm');
    const check = execFileSync(binary, ['plugin', 'check', wasm, '--corpus', corpus], { encoding: 'utf8' });
    ensure(/^ok\s+corpus/m.test(check), check);
  },

  'hostile texts go through a parser and are shown': async ({ replay }) => {
    const page = await enter(replay);
    await page.selectOption('#tool-parser', 'llama3');
    await page.selectOption('#chunking', 'whole');
    const short = HOSTILE.filter(({ text }) => text.length < 2000);
    for (const { name, text } of short) {
      await page.fill('#output', text);
      await parsed(page);
      ensure(await page.locator('#contained').isHidden(), name);
    }
    ensure(await page.evaluate(() => globalThis.harmed) === undefined, 'a text ran');
    return `${short.length} texts`;
  },

  'the server view draws what happens': async ({ replay, adminKey }) => {
    const page = await open(`${replay}#server`);
    const other = await open(replay);
    await other.fill('#prompt', 'slowly');
    await other.keyboard.press('Enter');
    await page.waitForFunction(() => [...document.querySelectorAll('#charts .values b')].some(node => Number(node.textContent) > 10), null, { timeout: 30_000 });
    await contains(page.locator('#charts'), 'Tokens a second');
    ensure(await page.locator('#charts path.line').evaluateAll(paths => paths.filter(line => line.getAttribute('d').includes('L')).length) >= 3, 'no lines');
    await contains(page.locator('#models'), 'replay');
    await admin(page, adminKey);
    await page.waitForFunction(() => document.querySelectorAll('#plugins tbody tr').length > 20);
    await contains(page.locator('#plugins thead'), 'SHA-256');
    await other.keyboard.press('Escape');
  },
};
