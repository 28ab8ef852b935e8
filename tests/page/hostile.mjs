// Texts that a model may write and that a page must show and never run.
//
// Each has a name, the text, and a part of it that must be readable on the page. Two texts are long and are made here.

export const HOSTILE = [
  { name: 'script tag', text: 'before <script>window.harmed = 1</script> after', shown: '<script>window.harmed = 1</script>' },
  { name: 'image with a handler', text: '<img src=x onerror="window.harmed = 1"> <svg onload=window.harmed=1>', shown: 'onerror="window.harmed = 1"' },
  { name: 'frame and form', text: '<iframe src="https://example.org/"></iframe><form action="https://example.org/"><input></form>', shown: '<iframe' },
  { name: 'style and base', text: '<style>body{display:none}</style><base href="https://example.org/"><meta http-equiv=refresh content="0;url=https://example.org/">', shown: '<style>body' },
  { name: 'javascript link', text: '[click](javascript:window.harmed=1) and [again](JaVaScRiPt:window.harmed=1)', shown: 'javascript:window.harmed=1' },
  { name: 'javascript link in disguise', text: '[a](java\tscript:window.harmed=1) [b](\u0001javascript:window.harmed=1) [c](  javascript:window.harmed=1) <javascript:window.harmed=1>', shown: 'script:window.harmed=1' },
  { name: 'data and other links', text: '[d](data:text/html,<script>window.harmed=1</script>) [v](vbscript:x) [f](file:///etc/passwd) [b](blob:x) [p](//example.org/x)', shown: 'data:text/html' },
  { name: 'link that breaks out', text: '[x](https://example.org/"onmouseover="window.harmed=1) [y](https://example.org/\'><script>window.harmed=1</script>)', shown: 'y' },
  { name: 'image that would be fetched', text: '![pixel](https://example.org/pixel.png?secret) text', shown: 'pixel' },
  { name: 'code fence that breaks out', text: '```html"><script>window.harmed=1</script>\n</code></pre><script>window.harmed=1</script>\n```', shown: '</code></pre><script>' },
  { name: 'unclosed marks', text: '**bold `code [link](https://example.org ~~x\n```\nnever closed <b>', shown: 'never closed <b>' },
  { name: 'control characters', text: 'bell \u0007 null \u0000 escape \u001b[31m red \u007f del \u0085 end', shown: 'end' },
  { name: 'direction marks', text: 'user \u202e gpj.exe \u202c \u2066 isolated \u2069 zero\u200bwidth', shown: 'isolated' },
  { name: 'lone marks', text: '*_~`[]()<>#|-+!\\ &lt;b&gt; &amp; &#60;script&#62;', shown: '&lt;b&gt;' },
  { name: 'prototype words', text: '`__proto__` constructor **toString** [hasOwnProperty](https://example.org/__proto__)', shown: 'constructor' },
  { name: 'deep nesting', text: `${'> '.repeat(300)}deep\n\n${Array.from({ length: 60 }, (_, depth) => `${' '.repeat(depth)}- item`).join('\n')}`, shown: 'deep' },
  { name: 'giant line', text: `begin ${'*'.repeat(20_000)}${'['.repeat(20_000)}${'<a href=x>'.repeat(4_000)} finish`, shown: 'finish' },
  { name: 'giant word', text: `${'w'.repeat(150_000)} last`, shown: 'last' },
];
