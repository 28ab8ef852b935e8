// A browser with eyes on what a page must not do: write to the console, ask another host, or run what a model wrote.

import { createRequire } from 'node:module';
import path from 'node:path';

// The packages lie in weir's cache, not beside this file.
const packages = createRequire(path.join(process.env.PAGE_MODULES, 'package.json'));
const { chromium } = packages('playwright-core');
const axeSource = packages('axe-core').source;

// What went wrong so far, in words.
export const complaints = [];
// Hosts that were asked, with the number of requests.
export const hosts = new Map();

let browser = null;

export async function launch() {
  // Debian's wrapper wants no sandbox where root runs it.
  const args = process.getuid() === 0 ? ['--no-sandbox'] : [];
  browser = await chromium.launch({ executablePath: process.env.PAGE_CHROMIUM, args });
  return browser.version();
}

export const close = () => browser?.close();

// A page of its own tab, watched. `expected` are patterns of console lines that a test provokes.
export async function open(address, { width = 1280, height = 860, scheme = 'light', expected = [], ...more } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: 'reduce', acceptDownloads: true, ...more });
  const page = await context.newPage();
  page.on('console', line => {
    if (['error', 'warning'].includes(line.type()) && !expected.some(pattern => pattern.test(line.text()))) complaints.push(`console: ${line.text()}`);
  });
  page.on('pageerror', error => complaints.push(`page error: ${error.message}`));
  page.on('dialog', dialog => {
    complaints.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('popup', popup => complaints.push(`a window: ${popup.url()}`));
  context.on('request', request => {
    const url = new URL(request.url());
    if (url.protocol === 'blob:') return;
    hosts.set(url.host, (hosts.get(url.host) ?? 0) + 1);
    if (url.origin !== new URL(address).origin) complaints.push(`a request to ${url.origin}`);
  });
  await page.goto(address);
  return page;
}

// Findings of axe that are serious or critical, and the number of rules that were kept.
export async function axe(page) {
  await page.evaluate(axeSource);
  const found = await page.evaluate(async () => {
    const { violations, passes } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
    return { violations: violations.map(({ id, impact, nodes }) => ({ id, impact, where: nodes.map(node => node.target.join(' ')).slice(0, 4) })), passes: passes.length };
  });
  return found;
}

// Says whether something holds; a failure ends the test with it.
export function ensure(holds, words) {
  if (!holds) throw new Error(words);
}

export async function contains(locator, words) {
  const text = await locator.innerText();
  ensure(text.includes(words), `expected \u201c${words}\u201d in: ${text.slice(0, 600)}`);
}
