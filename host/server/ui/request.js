// A chat request, and the same as code.

// Numbers that a request may have, with their ranges as the server has them.
export const NUMBERS = [
  { name: 'temperature', label: 'Temperature', min: 0, max: 2, step: 0.1 },
  { name: 'top_p', label: 'Top p', min: 0, max: 1, step: 0.05 },
  { name: 'max_tokens', label: 'Max tokens', min: 1, step: 1 },
  { name: 'seed', label: 'Seed', step: 1 },
];

// The tools that somebody pasted: a list, or one, as OpenAI has them or as bare functions.
export function readTools(text) {
  if (text.trim() === '') return [];
  const given = JSON.parse(text);
  return (Array.isArray(given) ? given : [given]).map((tool, index) => {
    const whole = tool.type ? tool : { type: 'function', function: tool };
    if (typeof whole.function?.name !== 'string') throw new Error(`tool ${index + 1} has no function with a name`);
    return whole;
  });
}

export function makeRequest({ model, system, messages, tools, numbers }) {
  const body = { model, messages: system.trim() ? [{ role: 'system', content: system }, ...messages] : messages };
  for (const { name } of NUMBERS) {
    const value = numbers[name];
    if (value !== '' && value !== undefined && Number.isFinite(Number(value))) body[name] = Number(value);
  }
  if (tools.length > 0) body.tools = tools;
  return { ...body, stream: true, stream_options: { include_usage: true } };
}

const shell = text => `'${text.replaceAll("'", "'\\''")}'`;

export function asCurl(body, base, withKey) {
  const lines = [`curl ${base}/v1/chat/completions`, '-H "Content-Type: application/json"'];
  if (withKey) lines.push('-H "Authorization: Bearer $WEIR_KEY"');
  lines.push('--no-buffer', `-d ${shell(JSON.stringify(body, null, 2))}`);
  return lines.join(' \\\n  ');
}

// JSON's words are Python's but for three.
function python(value, indent) {
  const inner = `${indent}    `;
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (Array.isArray(value)) return value.length === 0 ? '[]' : `[\n${value.map(item => `${inner}${python(item, inner)},\n`).join('')}${indent}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value);
    return entries.length === 0 ? '{}' : `{\n${entries.map(([name, item]) => `${inner}${JSON.stringify(name)}: ${python(item, inner)},\n`).join('')}${indent}}`;
  }
  // Python reads JSON's escapes as they are, a surrogate pair aside, which stringify leaves alone.
  return JSON.stringify(value);
}

export function asPython(body, base, withKey) {
  const key = withKey ? 'os.environ["WEIR_KEY"]' : '"none"';
  const named = Object.entries(body).map(([name, value]) => `    ${name}=${python(value, '    ')},\n`).join('');
  return `${withKey ? 'import os\n\n' : ''}from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(`${base}/v1`)}, api_key=${key})
stream = client.chat.completions.create(
${named})
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
`;
}
