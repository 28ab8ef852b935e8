// The calls of the page: to this server alone, with the keys that this tab was given.
//
// Keys are asked for when the server wants one and kept in sessionStorage: another tab, and this one when it is closed, knows nothing.

import { find } from './dom.js';

const KEY = 'weir.key';
const ADMIN = 'weir.admin';

export const key = () => sessionStorage.getItem(KEY) || '';
export const adminKey = () => sessionStorage.getItem(ADMIN) || '';

// What the server answered, if it was no success.
export class Failure extends Error {
  constructor(status, message, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// A call. `body` is sent as JSON, or as it is if it is a Blob. Asks for a key once where one is missing or wrong.
export async function call(path, options = {}) {
  const sent = options.admin ? adminKey() : key();
  const response = await send(path, options, sent).catch(error => {
    // Browsers say no more than that it failed.
    throw error instanceof TypeError ? new Failure(0, 'The server does not answer.') : error;
  });
  if (response.ok) return response;
  const failure = await failureOf(response);
  if (response.status !== 401 || options.quiet) throw failure;
  if (!await askForKeys(sent ? 'This key is not known here.' : failure.message)) throw failure;
  return call(path, { ...options, quiet: true });
}

export const json = async (path, options) => (await call(path, options)).json();

function send(path, { body, signal, headers = {} }, bearer) {
  const given = { ...headers };
  if (bearer) given.authorization = `Bearer ${bearer}`;
  if (body === undefined) return fetch(path, { headers: given, signal });
  const bytes = body instanceof Blob;
  given['content-type'] = bytes ? 'application/wasm' : 'application/json';
  return fetch(path, { method: 'POST', headers: given, body: bytes ? body : JSON.stringify(body), signal });
}

async function failureOf(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return new Failure(response.status, error.message, error.code);
  } catch {
    return new Failure(response.status, text.slice(0, 300) || `status ${response.status}`);
  }
}

// The dialog of the keys; answers whether they were changed.
export function askForKeys(why = '') {
  const dialog = find('keys');
  find('keys-why').textContent = why;
  find('keys-api').value = key();
  find('keys-admin').value = adminKey();
  return new Promise(resolve => {
    dialog.addEventListener('close', () => {
      const changed = dialog.returnValue === 'keep';
      if (changed) {
        sessionStorage.setItem(KEY, find('keys-api').value.trim());
        sessionStorage.setItem(ADMIN, find('keys-admin').value.trim());
        document.dispatchEvent(new Event('keys'));
      }
      resolve(changed);
    }, { once: true });
    dialog.returnValue = '';
    if (!dialog.open) dialog.showModal();
  });
}
