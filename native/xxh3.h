/* XXH3-128 with seed 0, free of Python. */
#ifndef FLOR_XXH3_H
#define FLOR_XXH3_H

#include <stddef.h>

#define FLOR_DIGEST_SIZE 16

/* So many bytes are not all in the caches of a processor. */
#define FLOR_PAST_CACHES ((size_t)16 << 20)

/* Write the hash of `length` bytes in canonical order: high 64 bits first, big-endian.
   `data` may be NULL when `length` is 0. */
void flor_xxh3_128(const void *data, size_t length, unsigned char out[FLOR_DIGEST_SIZE]);

/* Copy `length` bytes to where nothing of them is, and write the hash of the copy, also while
   somebody writes to the original. If the copy is to go `past` the caches, other threads may read
   it once `flor_copies_end` was called. */
void flor_xxh3_128_copy(
    const void *data, size_t length, void *to, int past, unsigned char out[FLOR_DIGEST_SIZE]);
void flor_copies_end(void);

/* Some bytes; `data` may be NULL when `length` is 0. */
typedef struct {
    const void *data;
    size_t length;
} FlorBytes;

/* Write the hash of each of `count` inputs; faster than one by one when they are not in a cache. */
void flor_xxh3_128_many(
    const FlorBytes *all, size_t count, unsigned char (*out)[FLOR_DIGEST_SIZE]);

#endif
