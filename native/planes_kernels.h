/* Splitting and joining for each width, written for the compiler's vectors.

   planework.c calls each of these from functions for several instruction sets, into which they
   are inlined. */
#ifndef FLOR_PLANES_KERNELS_H
#define FLOR_PLANES_KERNELS_H

#include "planework.h"

#include <string.h>

#if defined(__GNUC__)
#  define FLOR_INLINE static inline __attribute__((always_inline))
#else
#  define FLOR_INLINE static inline
#endif

enum { TILE = 1024 };

#define KERNELS(BITS)                                                                              \
    FLOR_INLINE uint##BITS##_t load_##BITS(const uint8_t *from, size_t at)                         \
    {                                                                                              \
        uint##BITS##_t item;                                                                       \
        memcpy(&item, from + at * sizeof item, sizeof item);                                       \
        return item;                                                                               \
    }                                                                                              \
                                                                                                   \
    FLOR_INLINE void difference_##BITS(                                                            \
        const uint8_t *whole, const uint8_t *base, size_t count, uint##BITS##_t *to)               \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            uint##BITS##_t d = (uint##BITS##_t)(load_##BITS(whole, i) - load_##BITS(base, i));     \
            uint##BITS##_t sign = (uint##BITS##_t)(0 - (d >> (BITS - 1)));                         \
            to[i] = (uint##BITS##_t)(((uint##BITS##_t)(d << 1)) ^ sign);                           \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    FLOR_INLINE void split_##BITS(const FlorPlanes *job)                                           \
    {                                                                                              \
        uint##BITS##_t tile[TILE];                                                                 \
        for (size_t at = 0; at < job->items; at += TILE) {                                         \
            size_t count = job->items - at < TILE ? job->items - at : TILE;                        \
            const uint8_t *from = job->whole + at * sizeof *tile;                                  \
            if (job->base != NULL) {                                                               \
                difference_##BITS(from, job->base + at * sizeof *tile, count, tile);               \
                from = (const uint8_t *)tile;                                                      \
            }                                                                                      \
            for (unsigned k = 0; k < sizeof *tile; k++) {                                          \
                uint8_t *to = job->planes[k] + at;                                                 \
                for (size_t i = 0; i < count; i++) {                                               \
                    to[i] = (uint8_t)(load_##BITS(from, i) >> 8 * k);                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    FLOR_INLINE void gather_##BITS(                                                                \
        const FlorPlanes *job, size_t at, size_t count, uint##BITS##_t *to)                        \
    {                                                                                              \
        const uint8_t *from[sizeof *to];                                                           \
        for (unsigned k = 0; k < sizeof *to; k++) {                                                \
            from[k] = job->planes[k] + at;                                                         \
        }                                                                                          \
        for (size_t i = 0; i < count; i++) {                                                       \
            uint##BITS##_t item = 0;                                                               \
            for (unsigned k = 0; k < sizeof item; k++) {                                           \
                item = (uint##BITS##_t)(item | (uint##BITS##_t)from[k][i] << 8 * k);               \
            }                                                                                      \
            to[i] = item;                                                                          \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    FLOR_INLINE void sum_##BITS(const uint8_t *base, size_t count, uint##BITS##_t *item)           \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            uint##BITS##_t sign = (uint##BITS##_t)(0 - (item[i] & 1));                             \
            uint##BITS##_t d = (uint##BITS##_t)((item[i] >> 1) ^ sign);                            \
            item[i] = (uint##BITS##_t)(d + load_##BITS(base, i));                                  \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    FLOR_INLINE void join_##BITS(const FlorPlanes *job)                                            \
    {                                                                                              \
        uint##BITS##_t tile[TILE];                                                                 \
        for (size_t at = 0; at < job->items; at += TILE) {                                         \
            size_t count = job->items - at < TILE ? job->items - at : TILE;                        \
            gather_##BITS(job, at, count, tile);                                                   \
            if (job->base != NULL) {                                                               \
                sum_##BITS(job->base + at * sizeof *tile, count, tile);                            \
            }                                                                                      \
            memcpy(job->whole + at * sizeof *tile, tile, count * sizeof *tile);                    \
        }                                                                                          \
    }

KERNELS(16)
KERNELS(32)
KERNELS(64)

#undef KERNELS

#endif
