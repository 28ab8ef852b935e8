// A case as a file: TOML that `weir parse FILE` answers and that stands in a corpus as it is.

// A TOML string on one line. JSON's escapes are TOML's, but for the delete character, which JSON leaves bare.
const string = text => JSON.stringify(text).replaceAll('\u007f', '\\u007f');

function tool({ function: { name, parameters = {}, strict } }) {
  return `[[tools]]\nname = ${string(name)}\nparameters = ${string(JSON.stringify(parameters))}\n${strict ? 'strict = true\n' : ''}`;
}

function choice(given) {
  if (given === undefined || given === 'auto') return '';
  return `tool_choice = ${typeof given === 'string' ? string(given) : `{ name = ${string(given.function.name)} }`}\n`;
}

function call(table, { name, arguments: text, complete }) {
  return `\n[[${table}.calls]]\nname = ${string(name)}\narguments = ${string(text)}\n${complete ? '' : 'complete = false\n'}`;
}

function expected(table, { content, reasoning, calls }, more = '') {
  const lines = [`[${table}]`, content && `content = ${string(content)}`, reasoning && `reasoning = ${string(reasoning)}`, more].filter(Boolean);
  return `${lines.join('\n')}\n${calls.map(made => call(table, made)).join('')}`;
}

// `plugin` is the parser whose corpus it belongs to, `with` another of its chain. `incremental` and `complete` are what the
// run gave in either mode, as `fold` adds it up; `finish` is its finish reason.
export function caseFile({ plugin, with: other, pieces, tools = [], toolChoice, prompt, ended, incremental, complete, finish, config }) {
  const flags = other ? `--tool-call-parser ${plugin} --reasoning-parser ${other}` : `--tool-call-parser ${plugin}`;
  const head = [
    `# weir parse ${flags} FILE`,
    `# A case of the corpus of ${plugin}. What is expected below was taken from a run: judge it.`,
    'shows = "Say here what it shows."',
    'source = "weir\'s playground"',
    other && `with = ${string(other)}`,
    prompt && `prompt = ${string(prompt)}`,
    ended === 'length' && 'finish_reason = "length"',
    pieces.length === 1 ? `text = ${string(pieces[0])}` : `chunks = [\n${pieces.map(piece => `  ${string(piece)},\n`).join('')}]`,
  ].filter(Boolean).join('\n');
  const same = JSON.stringify([incremental.content, incremental.calls]) === JSON.stringify([complete.content, complete.calls]);
  const reason = finish && finish !== 'stop' ? `finish_reason = ${string(finish)}` : '';
  const whole = same ? '' : `\n${expected('expect.complete', { ...complete, reasoning: '' })}`;
  const settings = config && Object.keys(config).length > 0 ? `\n[config]\n${Object.entries(config).map(([name, value]) => `${string(name)} = ${toml(value)}`).join('\n')}\n` : '';
  return `${head}\n${choice(toolChoice)}${tools.map(offered => `\n${tool(offered)}`).join('')}${settings}\n${expected('expect', incremental, reason)}${whole}`;
}

function toml(value) {
  if (Array.isArray(value)) return `[${value.map(toml).join(', ')}]`;
  if (value && typeof value === 'object') return `{ ${Object.entries(value).map(([name, inner]) => `${string(name)} = ${toml(inner)}`).join(', ')} }`;
  return typeof value === 'string' ? string(value) : String(value);
}
