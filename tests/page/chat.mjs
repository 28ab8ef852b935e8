// The chat, driven as somebody drives it.

import { contains, ensure, open } from './browser.mjs';
import { HOSTILE } from './hostile.mjs';

const TOOLS = JSON.stringify([{ type: 'function', function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } } }]);

export async function say(page, text) {
  await page.fill('#prompt', text);
  await page.keyboard.press('Enter');
}

export const answers = page => page.locator('.turn.answer');

// The newest answer, once it is complete.
export async function answered(page, count) {
  const answer = answers(page).nth(count - 1);
  await answer.locator('.figures .retry').waitFor({ timeout: 120_000 });
  return answer;
}

export const tests = {
  'a streamed answer of the default model, with usage and timing': async ({ standard }) => {
    const page = await open(standard);
    await page.fill('#setting-max_tokens', '48');
    await page.fill('#setting-temperature', '0');
    await page.fill('#system', 'You are brief and friendly, and you answer every question in one or two short sentences that a child can understand without any help.');
    await page.evaluate(() => {
      globalThis.lengths = new Set();
      new MutationObserver(() => globalThis.lengths.add(document.querySelector('.turn.answer > .prose')?.textContent.length)).observe(document.querySelector('#conversation'), { childList: true, subtree: true, characterData: true });
    });
    await say(page, 'Why is the sky blue?');
    const answer = await answered(page, 1);
    const text = await answer.locator('.prose').last().innerText();
    ensure(text.length > 40, `a short answer: ${text}`);
    const grown = await page.evaluate(() => globalThis.lengths.size);
    ensure(grown > 5, `the answer grew in ${grown} steps`);
    const figures = await answer.locator('.figures').innerText();
    for (const part of [/first token \d+/, /tokens\/s/, /\d+ in/, /\d+ out/]) ensure(part.test(figures), figures);
    // The same again: most of the prompt comes from the cache, and at temperature 0 the answer is the same.
    await answer.locator('.retry').click();
    await page.waitForFunction(() => document.querySelector('#conversation').getAttribute('aria-busy') === 'false');
    const again = await answered(page, 1);
    ensure(await again.locator('.prose').last().innerText() === text, 'another answer at temperature 0');
    ensure(/cached/.test(await again.locator('.figures').innerText()), 'nothing came from the cache');
    return figures.replace(/\s+/g, ' ').replace(' Copy Retry', '');
  },

  'an answer is stopped, and the server stops with it': async ({ replay }) => {
    const page = await open(replay);
    await say(page, 'slowly');
    await page.waitForFunction(() => document.querySelector('.turn.answer > .prose')?.textContent.length > 100);
    ensure(await page.locator('#send').innerText() === 'Stop', 'no button stops it');
    await page.keyboard.press('Escape');
    const answer = await answered(page, 1);
    await contains(answer.locator('.figures'), 'stopped');
    ensure(await page.locator('#send').innerText() === 'Send', 'it still stops');
    const running = async () => /weir_sequences_running\{[^}]*\} (\d+)/.exec(await (await page.request.get(`${replay}metrics`)).text())[1];
    for (let look = 0; await running() !== '0'; look += 1) {
      ensure(look < 100, 'the server goes on');
      await page.waitForTimeout(100);
    }
    await page.click('#clear');
    await say(page, 'hello');
    await contains(await answered(page, 1), 'A small report');
  },

  'a tool round trip': async ({ replay }) => {
    const page = await open(replay);
    await page.fill('#tools', TOOLS);
    await say(page, 'What is the weather?');
    const answer = await answered(page, 1);
    await contains(answer, 'call of get_weather');
    await contains(answer, '"city": "Z\u00fcrich"');
    await page.fill('textarea[name=result-0]', '21 degrees');
    await page.click('.answer-call button');
    await contains(await answered(page, 2), 'It is 21 degrees in Z\u00fcrich.');
    await page.click('#request > summary');
    // A browser tells that it is open a moment later.
    await page.locator('#request-code').getByText('client.chat.completions.create(').waitFor();
    const code = await page.locator('#request-code').innerText();
    for (const part of ['"role": "tool"', '"tool_call_id"', 'curl http', 'client.chat.completions.create(']) ensure(code.includes(part), part);
  },

  'tools that are none, and a call that nobody answers': async ({ replay }) => {
    const page = await open(replay);
    await page.fill('#tools', '[{');
    await say(page, 'hello');
    await contains(page.locator('#tools-problem'), 'These are no tools');
    await page.fill('#tools', TOOLS);
    await page.click('#clear');
    await say(page, 'weather, please');
    await answered(page, 1);
    await say(page, '21 degrees I know');
    await contains(await answered(page, 2), 'It is 21 degrees');
    ensure(await page.locator('.answer-call').count() === 0, 'the form is still there');
  },

  'an answer that failed is asked for again, and what came behind it goes': async ({ replay }) => {
    const page = await open(replay, { expected: [/ERR_FAILED/] });
    await page.route('**/v1/chat/completions', route => route.abort(), { times: 1 });
    await say(page, 'hello');
    await contains(await answered(page, 1), 'The server does not answer.');
    await say(page, 'hello');
    await contains(await answered(page, 2), 'A small report');
    const asked = page.waitForRequest('**/v1/chat/completions');
    await answers(page).first().locator('.retry').click();
    const { messages } = (await asked).postDataJSON();
    ensure(messages.length === 1, `what was taken back is sent: ${JSON.stringify(messages)}`);
    await contains(await answered(page, 1), 'A small report');
    ensure(await page.locator('.turn').count() === 2, 'what was taken back is shown');
  },

  'reasoning is folded, Markdown is shown, code is copied': async ({ thinking, replay }) => {
    const page = await open(thinking);
    await say(page, 'think');
    const answer = await answered(page, 1);
    const thoughts = answer.locator('details.reasoning');
    ensure(!await thoughts.evaluate(node => node.open), 'the reasoning is open');
    await thoughts.locator('summary').click();
    await contains(thoughts, 'So I think.');
    const other = await open(replay, { permissions: ['clipboard-read', 'clipboard-write'] });
    await say(other, 'hello');
    const prose = await answered(other, 1);
    for (const tag of ['[role=heading]', 'strong', 'em', 'ol > li', 'ul > li', 'pre code', 'table td', 'a[href="https://example.org/rivers"]']) {
      ensure(await prose.locator(tag).count() > 0, `no ${tag}`);
    }
    ensure((await prose.locator('a').getAttribute('rel')).includes('noopener'), 'a link without noopener');
    await prose.locator('.code .copy').click();
    ensure((await other.evaluate(() => navigator.clipboard.readText())).startsWith('def current(depth):'), 'nothing was copied');
  },

  'a key is asked for once and kept in the tab': async ({ keyed, key }) => {
    const page = await open(keyed, { expected: [/401/] });
    await page.waitForSelector('#keys[open]');
    await contains(page.locator('#keys'), 'API key');
    await page.fill('#keys-api', key);
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('#model').value === 'replay');
    await say(page, 'hello');
    await contains(await answered(page, 1), 'A small report');
    await page.reload();
    await page.waitForFunction(() => document.querySelector('#model').value === 'replay');
    ensure(!await page.locator('#keys').evaluate(dialog => dialog.open), 'it is asked for again');
    ensure(await page.evaluate(() => localStorage.length) === 0, 'something is kept longer than the tab');
  },

  'hostile texts are shown and never run': async ({ replay }) => {
    const page = await open(replay);
    for (const { name, shown } of HOSTILE) {
      // The replay goes by the whole conversation.
      await page.click('#clear');
      await say(page, `say ${name}!`);
      const answer = await answered(page, 1);
      await contains(answer, shown);
      const bad = await answer.evaluate(node => [...node.querySelectorAll('script, iframe, img, svg, object, embed, style, base, meta, form:not(.answer-call), [onerror], [onload], [onmouseover], [style]')].map(found => found.outerHTML));
      ensure(bad.length === 0, `${name}: ${bad[0]}`);
      const links = await answer.evaluate(node => [...node.querySelectorAll('a')].map(link => [link.protocol, link.rel]));
      for (const [protocol, rel] of links) ensure(['http:', 'https:', 'mailto:'].includes(protocol) && rel.includes('noopener'), `${name}: a link to ${protocol}`);
    }
    ensure(await page.evaluate(() => globalThis.harmed) === undefined, 'a text ran');
    ensure(await page.locator('#composer').isVisible() && page.url() === replay, 'the page is another');
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    ensure(wide <= 0, `the page is ${wide} pixels too wide`);
    return `${HOSTILE.length} texts`;
  },
};
