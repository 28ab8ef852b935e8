// Prometheus' text, read.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

// The samples by their names: `{labels, value}` each.
export function read(text) {
  const families = new Map();
  for (const line of text.split('\n')) {
    const found = line.startsWith('#') ? null : SAMPLE.exec(line);
    if (!found) continue;
    const [, name, inside = '', value] = found;
    const labels = {};
    for (const [, label, quoted] of inside.matchAll(LABEL)) labels[label] = quoted.replace(/\\(.)/g, (_, letter) => letter === 'n' ? '\n' : letter);
    if (!families.has(name)) families.set(name, []);
    families.get(name).push({ labels, value: Number(value) });
  }
  return families;
}

// The values of a name, added up; null where there are none. With a label, only of those that have it so.
export function sum(families, name, label, wanted) {
  const samples = (families.get(name) ?? []).filter(sample => label === undefined || sample.labels[label] === wanted);
  return samples.length === 0 ? null : samples.reduce((total, { value }) => total + value, 0);
}

// What is drawn, from two readings and the seconds between them; null where it is not known.
export function figures(before, now, seconds) {
  const grown = name => {
    const [from, to] = [before && sum(before, name), sum(now, name)];
    return from === null || to === null || from === undefined || to < from ? null : to - from;
  };
  const share = (part, whole) => part === null || whole === null || whole === 0 ? null : part / whole;
  const rate = name => seconds > 0 && grown(name) !== null ? grown(name) / seconds : null;
  return {
    running: sum(now, 'weir_sequences_running'),
    waiting: sum(now, 'weir_sequences_waiting'),
    kv: share(sum(now, 'weir_kv_blocks_used'), sum(now, 'weir_kv_blocks')),
    prefix: share(grown('weir_prefix_cache_hit_tokens_total'), grown('weir_prefix_cache_queried_tokens_total')),
    batch: share(grown('weir_step_sequences_sum'), grown('weir_step_sequences_count')),
    first: share(grown('weir_time_to_first_token_seconds_sum'), grown('weir_time_to_first_token_seconds_count')),
    written: rate('weir_generated_tokens_total'),
    prompted: rate('weir_prompt_tokens_total'),
  };
}
