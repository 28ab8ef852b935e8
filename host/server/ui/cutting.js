// How a text is cut into the pieces that a parser is given. Places are counted in characters, as Unicode has them.

// The places of a text at which this kind of cutting cuts; throws where `how` makes no sense.
export function placesOf(text, kind, how = '') {
  const length = Array.from(text).length;
  switch (kind) {
    case 'chars': return every(1, length);
    case 'every': return every(number(how, 'the number of characters'), length);
    case 'splits': return stated(how, length);
    default: return [];
  }
}

function number(text, what) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`${what} is a whole number from 1, not \u201c${text}\u201d`);
  return value;
}

function every(step, length) {
  const places = [];
  for (let place = step; place < length; place += step) places.push(place);
  return places;
}

function stated(text, length) {
  const places = text.split(/[\s,;]+/).filter(Boolean).map(word => number(word, 'a place to cut'));
  const beyond = places.find(place => place >= length);
  if (beyond !== undefined) throw new Error(`the text has ${length} characters, so there is no cut at ${beyond}`);
  return [...new Set(places)].sort((a, b) => a - b);
}

// The pieces.
export function cut(text, places) {
  const letters = Array.from(text);
  const ends = [...places, letters.length];
  return ends.map((end, index) => letters.slice(index === 0 ? 0 : ends[index - 1], end).join('')).filter(piece => piece !== '');
}
