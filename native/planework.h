/* Byte planes of numbers, free of Python. */
#ifndef FLOR_PLANEWORK_H
#define FLOR_PLANEWORK_H

#include <stddef.h>
#include <stdint.h>

enum { FLOR_MOST_WIDTH = 8 };

/* `items` numbers of `width` bytes, 2, 4 or 8, and their planes: plane k has all bytes k, k = 0
   being the lowest. With a base that is not NULL the planes are of the difference from it, in
   which 0, -1, 1, -2, ... are written 0, 1, 2, 3, ... */
typedef struct {
    uint8_t *whole;
    const uint8_t *base;
    size_t items, width;
    uint8_t *planes[FLOR_MOST_WIDTH];
} FlorPlanes;

/* How often each byte is at each position modulo 8, in a sample. */
typedef struct {
    uint32_t of[FLOR_MOST_WIDTH][256];
} FlorCounts;

/* Write the planes, and count a sample of each; or the whole, if `counts` is NULL. */
void flor_planes_run(const FlorPlanes *job, FlorCounts *counts);

/* Count a sample of the data, or of their difference from a base that is not NULL. */
void flor_sample(
    FlorCounts *counts, const uint8_t *data, size_t length, const uint8_t *base, size_t width);

/* Bits per byte of what the counts of positions k, k + step, ... count together. */
double flor_entropy(const FlorCounts *counts, unsigned k, unsigned step);

/* The share of their bytes that planes of `width` take if those with at least `full` bits per byte
   are left as they are. */
double flor_size(const FlorCounts *counts, unsigned width, double full);

/* To be called, by one thread at a time, before the two above. */
void flor_fill_logs(void);

#endif
