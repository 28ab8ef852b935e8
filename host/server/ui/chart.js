// Lines over the last minutes, drawn as SVG.

import { make, svg } from './dom.js';

const [WIDTH, HEIGHT] = [320, 72];

// The least round number that is not below.
export function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map(step => step * power).find(step => step >= value - 1e-9);
}

export const shown = (value, unit) => {
  if (value === null || value === undefined) return '\u2013';
  if (unit === '%') return `${(value * 100).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;
  if (unit === 's') return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(2)} s`;
  const text = value >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString('en') : value.toFixed(1);
  return text;
};

// One chart with its heading, its newest values and its lines.
export class Chart {
  constructor(title, unit, lines, slots) {
    Object.assign(this, { unit, lines, slots });
    this.values = make('p', { class: 'values' });
    this.paths = lines.map(({ className }) => svg('path', { class: `line ${className}`, fill: 'none' }));
    this.dots = lines.map(({ className }) => svg('path', { class: `line dots ${className}`, fill: 'none' }));
    this.top = make('span', { class: 'top' });
    this.drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': title },
      svg('line', { class: 'grid', x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
      svg('line', { class: 'grid', x1: 0, x2: WIDTH, y1: 0.5, y2: 0.5 }), ...this.paths, ...this.dots);
    this.root = make('section', { class: 'card chart' }, make('h2', {}, title), this.values, make('div', { class: 'plot' }, this.top, this.drawing));
  }

  draw(samples) {
    const values = samples.flatMap(sample => this.lines.map(({ name }) => sample[name])).filter(value => value !== null);
    // Counts begin at one, so that an idle server has a scale.
    const least = this.unit === 's' ? 0 : 1;
    const top = this.unit === '%' ? 1 : roundUp(Math.max(least, ...values));
    this.top.textContent = shown(top, this.unit);
    this.lines.forEach(({ name }, index) => {
      const [line, dots] = this.path(samples, name, top);
      this.paths[index].setAttribute('d', line);
      this.dots[index].setAttribute('d', dots);
    });
    // What is rarely measured is shown as it was last.
    const newest = name => samples.findLast(sample => (sample[name] ?? null) !== null)?.[name] ?? null;
    const words = this.lines.map(({ label, className, name }) => make('span', {},
      make('i', { class: `key ${className}`, 'aria-hidden': 'true' }), `${label ? `${label} ` : ''}`, make('b', {}, shown(newest(name), this.unit))));
    this.values.replaceChildren(...words);
    this.drawing.setAttribute('aria-label', words.map(word => word.textContent).join(', '));
  }

  // The line, and the values that stand alone, each a line of no length with round ends.
  path(samples, name, top) {
    // A minute at first, so that the newest lines are not a dot at the edge.
    const slots = Math.min(Math.max(samples.length, 30), this.slots);
    const known = index => (samples[index]?.[name] ?? null) !== null;
    let [line, dots] = ['', ''];
    samples.forEach((sample, index) => {
      if (!known(index)) return;
      const x = WIDTH - (samples.length - 1 - index) * WIDTH / (slots - 1);
      const y = HEIGHT - 1 - Math.min(sample[name] / top, 1) * (HEIGHT - 2);
      const place = `${x.toFixed(1)} ${y.toFixed(1)}`;
      if (known(index - 1)) line += `L${place}`;
      else if (known(index + 1)) line += `M${place}`;
      else dots += `M${place}h0`;
    });
    return [line, dots];
  }
}
