// weir as a process, for as long as a run of the browser's tests.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { HOSTILE } from './hostile.mjs';

const started = [];

// Starts `weir serve` with these options and answers its address when it serves.
export function weir(binary, options, log) {
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WEIR_') || name === 'WEIR_CACHE'));
  const child = spawn(binary, ['serve', '--port', '0', ...options], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  started.push(child);
  const file = fs.createWriteStream(log);
  return new Promise((resolve, reject) => {
    let text = '';
    const read = data => {
      file.write(data);
      text = (text + data).slice(-10_000);
      const found = /weir serves[^\n]*?(http:\/\/[\d.:]+)/.exec(text);
      if (found) resolve(`${found[1]}/`);
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.on('error', reject);
    child.on('exit', code => reject(new Error(`weir ended with ${code}: ${text}`)));
  });
}

export function stopAll() {
  for (const child of started) {
    child.removeAllListeners('exit');
    child.kill();
  }
}

const PROSE = `## A small report

The river carries **three** kinds of things: *leaves*, boats, and \`bits\`.

1. Leaves float.
2. Boats are steered.
   - by oars
   - by sails

\`\`\`python
def current(depth):
    """Metres a second."""
    return 1.2 - 0.1 * depth
\`\`\`

| Place | Depth |
|---|---|
| Weir | 2 m |
| Pool | 5 m |

More is at [the example site](https://example.org/rivers).`;

// The answers of the replayed model: known words of a question lead to them.
export function replayFile(folder) {
  const call = [
    'Let me look.\n', { text: '<tool_call>', control: true }, '\n{"name": "get_weather", ', '"arguments": {"city": ', '"Z\u00fcrich"}}', '\n', { text: '</tool_call>', control: true },
  ];
  const lines = [
    { match: '21 degrees', text: 'It is **21 degrees** in Z\u00fcrich.' },
    { match: 'weather', chunks: call },
    { match: 'think', text: 'The user wants a thought.\nSo I think.\n</think>\n\nA thought, thought through.' },
    { match: 'slowly', text: 'word '.repeat(4000), tokens_per_second: 80 },
    ...HOSTILE.map(({ name, text }) => ({ match: `say ${name}!`, chunks: pieces(text) })),
    { text: PROSE },
  ];
  const file = path.join(folder, 'replay.jsonl');
  fs.writeFileSync(file, lines.map(line => JSON.stringify(line)).join('\n'));
  return `replay:${file}`;
}

// Tokens of some hundred characters, so that long texts come at once.
function pieces(text) {
  const letters = Array.from(text);
  const found = [];
  const step = Math.max(4, Math.ceil(letters.length / 300));
  for (let at = 0; at < letters.length; at += step) found.push(letters.slice(at, at + step).join(''));
  return found;
}
