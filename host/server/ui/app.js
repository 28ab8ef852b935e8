// The page: three views, one at a time, by the part of the address behind `#`.

import { askForKeys } from './api.js';
import * as chat from './chat.js';
import { find } from './dom.js';
import * as playground from './playground.js';
import * as server from './server.js';

const VIEWS = { chat: { start: chat.start }, playground, server };

function show() {
  const wanted = location.hash.slice(1);
  const name = wanted in VIEWS ? wanted : 'chat';
  for (const view of Object.keys(VIEWS)) {
    find(view).hidden = view !== name;
    const link = document.querySelector(`nav a[href="#${view}"]`);
    if (view === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = name === 'chat' ? 'weir' : `weir \u2013 ${name}`;
  VIEWS[name].open?.();
}

find('keys-form').addEventListener('submit', event => {
  event.preventDefault();
  find('keys').close('keep');
});
find('keys-cancel').addEventListener('click', () => find('keys').close(''));
find('keys-open').addEventListener('click', () => askForKeys());
for (const view of Object.values(VIEWS)) view.start();
window.addEventListener('hashchange', show);
show();
