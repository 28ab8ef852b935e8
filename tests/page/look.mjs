// How the page looks and weighs: accessibility, keyboard, bytes, first paint, and pictures at three widths.

import fs from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { answered, say } from './chat.mjs';
import { axe, ensure, open } from './browser.mjs';
import { done, enter, upload } from './playground.mjs';

// A phone, a tablet, a desk.
const WIDTHS = [[390, 844], [820, 1100], [1440, 900]];
const SCHEMES = ['light', 'dark'];
const HEAVIEST = 300_000;
const SLOWEST = 200;

async function chatted(address, options) {
  const page = await open(address, options);
  await say(page, 'hello');
  await answered(page, 1);
  return page;
}

async function planted(tools, options) {
  const page = await enter(tools.replay, options);
  await upload(page, tools, { mode: 'forgetful', in: 'push' });
  await page.fill('#output', 'Text, then <hidden>more of it.');
  await page.selectOption('#chunking', 'every');
  await page.fill('#every', '6');
  await page.click('#parse');
  await done(page);
  return page;
}

async function watched(address, options) {
  const page = await open(`${address}#server`, options);
  const other = await open(address);
  await say(other, 'slowly');
  // Some readings long.
  await page.waitForTimeout(13_000);
  await other.context().close();
  return page;
}

const VIEWS = {
  chat: ({ replay }, options) => chatted(replay, options),
  playground: planted,
  server: ({ replay }, options) => watched(replay, options),
};

export const tests = {
  'no serious or critical finding of axe, in any view, light and dark, wide and narrow': async tools => {
    const found = [];
    let kept = 0;
    for (const [view, visit] of Object.entries(VIEWS)) {
      for (const scheme of SCHEMES) {
        const [width, height] = WIDTHS[scheme === 'dark' ? 0 : 2];
        // axe makes styles and strings of markup for itself, which the page's policy forbids everybody.
        const page = await visit(tools, { width, height, scheme, bypassCSP: true });
        for (const details of await page.locator('details:visible').all()) await details.evaluate(node => { node.open = true; });
        const { violations, passes } = await axe(page);
        kept += passes;
        found.push(...violations.map(violation => ({ view, scheme, ...violation })));
        await page.context().close();
      }
    }
    const serious = found.filter(({ impact }) => ['serious', 'critical'].includes(impact));
    ensure(serious.length === 0, JSON.stringify(serious));
    const lesser = found.map(({ view, id, impact }) => `${view}: ${id} (${impact})`);
    return `${kept} rules kept; lesser findings: ${[...new Set(lesser)].join(', ') || 'none'}`;
  },

  'everything is reached with the keyboard, and focus is seen': async ({ replay }) => {
    const page = await open(replay);
    for (const view of ['chat', 'playground', 'server']) {
      await page.goto(`${replay}#${view}`);
      await page.waitForTimeout(300);
      await page.locator('body').press('Home');
      const wanted = await page.evaluate(() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary')].filter(node => node.checkVisibility() && !node.disabled && node.closest('[hidden]') === null).length);
      const seen = new Set();
      let unseen = '';
      for (let press = 0; press < wanted + 20; press += 1) {
        await page.keyboard.press('Tab');
        const [mark, outlined] = await page.evaluate(() => {
          const node = document.activeElement;
          if (!node || node === document.body) return ['', true];
          node.dataset.mark ??= String(Math.random());
          const shows = one => one && getComputedStyle(one).outlineStyle !== 'none' && parseFloat(getComputedStyle(one).outlineWidth) > 0;
          return [node.matches('a[href], button, input, select, textarea, summary') ? node.dataset.mark : '', shows(node) || shows(node.closest('.entry'))];
        });
        if (mark) seen.add(mark);
        if (!outlined) unseen = await page.evaluate(() => document.activeElement.outerHTML.slice(0, 120));
      }
      ensure(unseen === '', `no focus to be seen: ${unseen}`);
      ensure(seen.size >= wanted, `${view}: ${seen.size} of ${wanted} controls are reached`);
    }
  },

  'every control has a name, and nothing is wider than the screen': async ({ replay }) => {
    for (const [width, height] of [[320, 640], ...WIDTHS]) {
      const page = await open(replay, { width, height });
      for (const view of ['chat', 'playground', 'server']) {
        await page.goto(`${replay}#${view}`);
        await page.waitForTimeout(200);
        const beyond = await page.evaluate(() => {
          const scrolls = node => node && (['auto', 'scroll', 'hidden'].includes(getComputedStyle(node).overflowX) || scrolls(node.parentElement));
          return [...document.querySelectorAll('body *')].filter(node => node.checkVisibility() && node.getBoundingClientRect().right > innerWidth + 1 && !node.closest('.offscreen, .skip, .scroll, pre') && !scrolls(node.parentElement?.closest('.scroll'))).map(node => node.outerHTML.slice(0, 100));
        });
        ensure(beyond.length === 0, `${view} at ${width}: ${beyond[0]}`);
      }
      await page.context().close();
    }
  },

  'the page weighs less than 300 KB': async ({ replay }) => {
    const page = await open(replay);
    const files = await page.evaluate(() => performance.getEntriesByType('resource').filter(entry => entry.name.includes('/ui/')).map(entry => entry.name));
    let [plain, packed] = [0, 0];
    for (const file of [replay, ...files]) {
      const body = await (await page.request.get(file)).body();
      plain += body.length;
      packed += gzipSync(body).length;
    }
    ensure(plain < HEAVIEST, `${plain} bytes`);
    return `${files.length + 1} files, ${Math.round(plain / 1024)} KiB as they are sent, ${Math.round(packed / 1024)} KiB in gzip`;
  },

  'the first paint comes within 200 ms from this machine': async ({ replay }) => {
    const times = [];
    for (let round = 0; round < 7; round += 1) {
      const page = await open(replay);
      await page.waitForFunction(() => performance.getEntriesByName('first-contentful-paint').length > 0);
      times.push(await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime));
      await page.context().close();
    }
    // The first of a browser that has just begun counts what the browser does.
    const sorted = times.slice(1).sort((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)];
    ensure(median < SLOWEST, `${Math.round(median)} ms: ${times.map(Math.round)}`);
    return `median ${Math.round(median)} ms, slowest of six ${Math.round(sorted.at(-1))} ms`;
  },

  'pictures at three widths, light and dark': async tools => {
    fs.mkdirSync(tools.pictures, { recursive: true });
    let largest = 0;
    for (const [view, visit] of Object.entries(VIEWS)) {
      for (const [index, [width, height]] of WIDTHS.entries()) {
        // Each view at each width once, both schemes among them.
        const scheme = SCHEMES[(index + Object.keys(VIEWS).indexOf(view)) % 2];
        const page = await visit(tools, { width, height, scheme });
        await page.evaluate(() => {
          document.activeElement?.blur();
          for (const sheet of document.querySelectorAll('.sheet')) sheet.scrollTop = 0;
        });
        const file = path.join(tools.pictures, `${view}-${width}-${scheme}.png`);
        await page.screenshot({ path: file });
        largest = Math.max(largest, fs.statSync(file).size);
        await page.context().close();
      }
    }
    ensure(largest < 200_000, `a picture of ${largest} bytes`);
    return `the largest ${Math.round(largest / 1024)} KiB`;
  },
};
