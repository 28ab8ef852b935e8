/* A JSON reader that keeps nothing of what it reads. Objects and arrays deeper than DEEPEST are refused. */

#include "json.h"

#include <string.h>

#define DEEPEST 64

struct reader {
  const uint8_t *at, *end;
};

static int peek(struct reader *r) { return r->at < r->end ? *r->at : -1; }

static bool take(struct reader *r, int byte) {
  if (peek(r) != byte) return false;
  r->at++;
  return true;
}

static void white(struct reader *r) {
  while (peek(r) == ' ' || peek(r) == '\t' || peek(r) == '\n' || peek(r) == '\r') r->at++;
}

static bool is_digit(int byte) { return byte >= '0' && byte <= '9'; }

static bool digits(struct reader *r) {
  if (!is_digit(peek(r))) return false;
  while (is_digit(peek(r))) r->at++;
  return true;
}

static int hex4(struct reader *r) {
  int value = 0;
  for (int i = 0; i < 4; i++) {
    int c = peek(r);
    int digit = is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
    r->at++;
  }
  return value;
}

/* Behind `\u`: a half of a pair that stands alone is no character. */
static bool escaped(struct reader *r) {
  int unit = hex4(r);
  if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) return false;
  if (unit < 0xd800 || unit > 0xdbff) return true;
  if (!take(r, '\\') || !take(r, 'u')) return false;
  int low = hex4(r);
  return low >= 0xdc00 && low <= 0xdfff;
}

static bool is_short_escape(int byte) {
  for (const char *known = "\"\\/bfnrt"; *known; known++) {
    if (*known == byte) return true;
  }
  return false;
}

static bool string(struct reader *r) {
  if (!take(r, '"')) return false;
  for (;;) {
    int c = peek(r);
    if (c < 0x20) return false; /* the end, or a control character */
    r->at++;
    if (c == '"') return true;
    if (c != '\\') continue;
    c = peek(r);
    if (c < 0) return false;
    r->at++;
    if (c == 'u' ? !escaped(r) : !is_short_escape(c)) return false;
  }
}

static bool number(struct reader *r) {
  take(r, '-');
  if (!take(r, '0') && !digits(r)) return false;
  if (take(r, '.') && !digits(r)) return false;
  if (take(r, 'e') || take(r, 'E')) {
    if (!take(r, '+')) take(r, '-');
    return digits(r);
  }
  return true;
}

static bool word(struct reader *r, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0) return false;
  r->at += length;
  return true;
}

static bool value(struct reader *r, int depth) {
  int c = peek(r);
  if (c == '"') return string(r);
  if (c == '-' || is_digit(c)) return number(r);
  if (c != '{' && c != '[') return word(r, "true") || word(r, "false") || word(r, "null");
  int close = c == '{' ? '}' : ']';
  if (depth == DEEPEST) return false;
  r->at++;
  white(r);
  if (take(r, close)) return true;
  do {
    white(r);
    if (c == '{') {
      if (!string(r)) return false;
      white(r);
      if (!take(r, ':')) return false;
      white(r);
    }
    if (!value(r, depth + 1)) return false;
    white(r);
  } while (take(r, ','));
  return take(r, close);
}

bool json_is_object(const uint8_t *text, size_t length) {
  struct reader r = {text, text + length};
  white(&r);
  if (peek(&r) != '{' || !value(&r, 0)) return false;
  white(&r);
  return r.at == r.end;
}
