/* A tool parser: a line `#call NAME {arguments}` is a call, every other line is content.
 *
 * The events fold to the same message however the text is cut: a line is held only while it may still be a call, ordinary
 * text goes on at once. Arguments are not streamed: a call comes out when its line is complete.
 *
 * What a function is given it owns, and frees; what it answers, the bindings free. */

#include "json.h"
#include "parser_plugin.h"

#include <stdlib.h>
#include <string.h>

#define MARKER "#call "
#define MARKER_LENGTH (sizeof(MARKER) - 1)

typedef weir_plugin_types_event_t event;

/* An instance is one answer, so its state may stand here. */
static uint8_t *held; /* the line so far, while it is or may become a call */
static size_t held_length, held_room;
static bool content_line; /* whether the line has turned out to be content */
static uint32_t calls;
static event *events;
static size_t events_length, events_room;

static event *new_event(uint8_t tag) {
  if (events_length == events_room) {
    events_room = events_room ? 2 * events_room : 4;
    events = realloc(events, events_room * sizeof(event));
  }
  event *e = &events[events_length++];
  memset(e, 0, sizeof(event));
  e->tag = tag;
  return e;
}

static void hold(const uint8_t *text, size_t length) {
  if (held_length + length > held_room) {
    held_room = 2 * (held_length + length);
    held = realloc(held, held_room);
  }
  memcpy(held + held_length, text, length);
  held_length += length;
}

static parser_plugin_string_t copy(const uint8_t *text, size_t length) {
  parser_plugin_string_t copied = {NULL, 0};
  if (length > 0) parser_plugin_string_dup_n(&copied, (const char *)text, length);
  return copied;
}

static void content(const uint8_t *text, size_t length) {
  if (length == 0) return;
  event *e = new_event(WEIR_PLUGIN_TYPES_EVENT_CONTENT);
  e->val.content.text = copy(text, length);
  e->val.content.kind = WEIR_PLUGIN_TYPES_FRAGMENT_KIND_TEXT;
}

static bool is_white(uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

static void call(const uint8_t *line, size_t length, bool whole) {
  const uint8_t *raw = line + MARKER_LENGTH, *end = line + length;
  while (raw < end && is_white(*raw)) raw++;
  while (raw < end && is_white(end[-1])) end--;
  const uint8_t *name_end = raw;
  while (name_end < end && *name_end != ' ') name_end++;
  const uint8_t *arguments = name_end;
  while (arguments < end && is_white(*arguments)) arguments++;
  bool none = arguments == end;
  if (!whole || name_end == raw || !(none || json_is_object(arguments, (size_t)(end - arguments)))) {
    event *abandoned = new_event(WEIR_PLUGIN_TYPES_EVENT_CALL_ABANDONED);
    abandoned->val.call_abandoned.index = calls;
    abandoned->val.call_abandoned.raw = copy(raw, (size_t)(end - raw));
    return;
  }
  event *begin = new_event(WEIR_PLUGIN_TYPES_EVENT_CALL_BEGIN);
  begin->val.call_begin.index = calls;
  begin->val.call_begin.name = copy(raw, (size_t)(name_end - raw));
  event *delta = new_event(WEIR_PLUGIN_TYPES_EVENT_CALL_ARGUMENTS);
  delta->val.call_arguments.index = calls;
  delta->val.call_arguments.delta =
      none ? copy((const uint8_t *)"{}", 2) : copy(arguments, (size_t)(end - arguments));
  new_event(WEIR_PLUGIN_TYPES_EVENT_CALL_END)->val.call_end = calls;
  calls++;
}

static void decide(void) {
  size_t common = held_length < MARKER_LENGTH ? held_length : MARKER_LENGTH;
  bool may_be_call = memcmp(held, MARKER, common) == 0;
  if (!may_be_call) {
    content(held, held_length);
    content_line = true;
  } else if (common == MARKER_LENGTH && held[held_length - 1] == '\n') {
    call(held, held_length, true);
  } else {
    return;
  }
  held_length = 0;
}

bool exports_weir_plugin_parser_describe(parser_plugin_string_t *config, exports_weir_plugin_parser_info_t *info,
                                         parser_plugin_string_t *refusal) {
  parser_plugin_string_free(config);
  memset(info, 0, sizeof(*info));
  parser_plugin_string_dup(&info->name, "{{name}}");
  parser_plugin_string_dup(&info->version, "0.1.0");
  info->roles = EXPORTS_WEIR_PLUGIN_PARSER_ROLES_TOOLS;
  info->markers.ptr = malloc(sizeof(parser_plugin_string_t));
  info->markers.len = 1;
  parser_plugin_string_dup(info->markers.ptr, MARKER);
  return true;
}

bool exports_weir_plugin_parser_grammar(parser_plugin_string_t *config,
                                        exports_weir_plugin_parser_request_context_t *context,
                                        exports_weir_plugin_parser_list_segment_t *segments) {
  parser_plugin_string_free(config);
  exports_weir_plugin_parser_request_context_free(context);
  return false;
}

void exports_weir_plugin_parser_start(parser_plugin_string_t *config,
                                      exports_weir_plugin_parser_request_context_t *context) {
  parser_plugin_string_free(config);
  exports_weir_plugin_parser_request_context_free(context);
}

exports_weir_plugin_parser_outcome_t exports_weir_plugin_parser_push(exports_weir_plugin_parser_fragment_t *fragment) {
  const uint8_t *at = fragment->text.ptr, *end = at + fragment->text.len;
  while (at < end) {
    const uint8_t *line_end = at;
    while (line_end < end && *line_end != '\n') line_end++;
    bool complete = line_end < end;
    if (complete) line_end++;
    if (content_line) {
      content(at, (size_t)(line_end - at));
    } else {
      hold(at, (size_t)(line_end - at));
      decide();
    }
    if (complete) content_line = false;
    at = line_end;
  }
  exports_weir_plugin_parser_fragment_free(fragment);
  return events_length == 0 ? EXPORTS_WEIR_PLUGIN_PARSER_OUTCOME_HOLD : EXPORTS_WEIR_PLUGIN_PARSER_OUTCOME_EVENTS;
}

void exports_weir_plugin_parser_take_events(exports_weir_plugin_parser_list_event_t *taken) {
  taken->ptr = events;
  taken->len = events_length;
  events = NULL;
  events_length = events_room = 0;
}

void exports_weir_plugin_parser_finish(exports_weir_plugin_parser_finish_reason_t reason,
                                       exports_weir_plugin_parser_list_event_t *taken) {
  if (held_length >= MARKER_LENGTH) {
    /* Out of tokens in the middle of a call: it is not complete, whatever its text looks like. */
    call(held, held_length, reason == WEIR_PLUGIN_TYPES_FINISH_REASON_STOP);
  } else {
    content(held, held_length);
  }
  held_length = 0;
  exports_weir_plugin_parser_take_events(taken);
}
