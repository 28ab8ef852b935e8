/* A post-processor that leaves out the white space at the end of an answer.
 *
 * What it emits folds to the same message however the text is cut: white space is held until other text follows.
 *
 * What a function is given it owns, and frees; what it answers, the bindings free. */

#include "post_processor_plugin.h"

#include <stdlib.h>
#include <string.h>

/* An instance is one answer, so its state may stand here. */
static uint8_t *held; /* white space that is the answer's end, for all we know */
static size_t held_length, held_room;
static exports_weir_plugin_post_processor_action_t *action; /* at most one a push */

static bool is_white(uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

static void hold(const uint8_t *text, size_t length) {
  if (length == 0) return;
  if (held_length + length > held_room) {
    held_room = 2 * (held_length + length);
    held = realloc(held, held_room);
  }
  memcpy(held + held_length, text, length);
  held_length += length;
}

static void emit(const uint8_t *text, size_t length) {
  action = malloc(sizeof(*action));
  memset(action, 0, sizeof(*action));
  action->tag = EXPORTS_WEIR_PLUGIN_POST_PROCESSOR_ACTION_EMIT;
  action->val.emit.tag = WEIR_PLUGIN_TYPES_EVENT_CONTENT;
  action->val.emit.val.content.kind = WEIR_PLUGIN_TYPES_FRAGMENT_KIND_TEXT;
  post_processor_plugin_string_dup_n(&action->val.emit.val.content.text, (const char *)text, length);
}

bool exports_weir_plugin_post_processor_describe(post_processor_plugin_string_t *config,
                                                 exports_weir_plugin_post_processor_info_t *info,
                                                 post_processor_plugin_string_t *refusal) {
  post_processor_plugin_string_free(config);
  memset(info, 0, sizeof(*info));
  post_processor_plugin_string_dup(&info->name, "{{name}}");
  post_processor_plugin_string_dup(&info->version, "0.1.0");
  info->interests = EXPORTS_WEIR_PLUGIN_POST_PROCESSOR_INTERESTS_CONTENT;
  return true;
}

void exports_weir_plugin_post_processor_start(post_processor_plugin_string_t *config,
                                              exports_weir_plugin_post_processor_request_context_t *context) {
  post_processor_plugin_string_free(config);
  exports_weir_plugin_post_processor_request_context_free(context);
}

exports_weir_plugin_post_processor_outcome_t exports_weir_plugin_post_processor_push(
    exports_weir_plugin_post_processor_event_t *event) {
  exports_weir_plugin_post_processor_outcome_t outcome = EXPORTS_WEIR_PLUGIN_POST_PROCESSOR_OUTCOME_PASS;
  if (event->tag == WEIR_PLUGIN_TYPES_EVENT_CONTENT) {
    const uint8_t *text = event->val.content.text.ptr;
    size_t length = event->val.content.text.len, kept = length;
    while (kept > 0 && is_white(text[kept - 1])) kept--;
    if (kept == 0) {
      hold(text, length);
      outcome = EXPORTS_WEIR_PLUGIN_POST_PROCESSOR_OUTCOME_HOLD;
    } else if (held_length > 0 || kept < length) {
      hold(text, kept);
      emit(held, held_length);
      held_length = 0;
      hold(text + kept, length - kept);
      outcome = EXPORTS_WEIR_PLUGIN_POST_PROCESSOR_OUTCOME_ACTIONS;
    }
  }
  exports_weir_plugin_post_processor_event_free(event);
  return outcome;
}

void exports_weir_plugin_post_processor_take_actions(exports_weir_plugin_post_processor_list_action_t *taken) {
  taken->ptr = action;
  taken->len = action ? 1 : 0;
  action = NULL;
}

void exports_weir_plugin_post_processor_finish(exports_weir_plugin_post_processor_finish_reason_t reason,
                                               exports_weir_plugin_post_processor_list_action_t *taken) {
  taken->ptr = NULL;
  taken->len = 0;
}
