/* Whether a text is one JSON object. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool json_is_object(const uint8_t *text, size_t length);

#endif
