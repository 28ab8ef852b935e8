/* The little of a C library that a plugin needs: memory in blocks of a power of two, each size with a list of its free
 * blocks, and the functions on bytes. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 65536u
#define SMALLEST 4 /* blocks of 16 bytes */
#define SIZES 32

/* Stands before each block; 8 bytes, so that what follows is aligned to 8. */
struct block {
  uint32_t size; /* the exponent */
  struct block *next;
};

extern unsigned char __heap_base;
static struct block *free_blocks[SIZES];
static uintptr_t top, end;

static struct block *fresh(uint32_t size) {
  uintptr_t need = sizeof(struct block) + ((uintptr_t)1 << size);
  if (top == 0) {
    top = ((uintptr_t)&__heap_base + 7) & ~(uintptr_t)7;
    end = __builtin_wasm_memory_size(0) * PAGE;
  }
  if (need > end - top) {
    uintptr_t pages = (need + PAGE - 1) / PAGE;
    if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) abort();
    end = __builtin_wasm_memory_size(0) * PAGE;
  }
  struct block *block = (struct block *)top;
  top += need;
  block->size = size;
  return block;
}

void *malloc(size_t count) {
  uint32_t size = SMALLEST;
  while (size < SIZES - 2 && ((size_t)1 << size) < count) size++;
  if (((size_t)1 << size) < count) abort();
  struct block *block = free_blocks[size];
  if (block) {
    free_blocks[size] = block->next;
  } else {
    block = fresh(size);
  }
  return block + 1;
}

void free(void *at) {
  if (!at) return;
  struct block *block = (struct block *)at - 1;
  block->next = free_blocks[block->size];
  free_blocks[block->size] = block;
}

void *realloc(void *at, size_t count) {
  if (!at) return malloc(count);
  size_t had = (size_t)1 << ((struct block *)at - 1)->size;
  if (count <= had) return at;
  void *moved = malloc(count);
  memcpy(moved, at, had);
  free(at);
  return moved;
}

void abort(void) { __builtin_trap(); }

void *memmove(void *to, const void *from, size_t count) {
  unsigned char *t = to;
  const unsigned char *f = from;
  if (t < f) {
    while (count--) *t++ = *f++;
  } else {
    while (count--) t[count] = f[count];
  }
  return to;
}

void *memcpy(void *to, const void *from, size_t count) { return memmove(to, from, count); }

void *memset(void *at, int byte, size_t count) {
  unsigned char *t = at;
  while (count--) *t++ = (unsigned char)byte;
  return at;
}

int memcmp(const void *one, const void *other, size_t count) {
  const unsigned char *a = one, *b = other;
  for (; count--; a++, b++) {
    if (*a != *b) return *a - *b;
  }
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length]) length++;
  return length;
}
