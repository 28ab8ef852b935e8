/* What the bindings and plugin.c use of it; see libc.c. */
#ifndef LIBC_STDLIB_H
#define LIBC_STDLIB_H

#include <stddef.h>

void *malloc(size_t size);
void *realloc(void *at, size_t size);
void free(void *at);
_Noreturn void abort(void);

#endif
