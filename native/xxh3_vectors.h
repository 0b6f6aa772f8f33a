/* Long inputs with the vectors of x86-64; part of xxh3.c. */

/* Processors stop fetching ahead at the end of a page, so ask for a later page; asking for what
   lies past the end of the input is harmless. */
#define PREFETCH(address) __builtin_prefetch((const void *)((uintptr_t)(address) + 8192))

/* AVX-512 wins on what is in a cache.  Where memory sets the pace AVX2 is as fast or faster, and up
   to twice as fast on input that makes every 64-byte load straddle two cache lines; but not on
   input so short that starting counts.  Vector types of GCC (12) in place of these intrinsics have
   half the speed with AVX2 and a third with SSE2, because it does not see that the product of two
   halves needs one multiplication. */
#define SHORT ((size_t)2048)

#define SUFFIX sse2
#define TARGET
#define VECTOR __m128i
#define OP_LOAD _mm_loadu_si128
#define OP_STORE _mm_storeu_si128
#define OP_STREAM _mm_stream_si128
#define PIN(v) "+x"(v)
#define OP_FILL _mm_set1_epi32
#define OP_XOR _mm_xor_si128
#define OP_ADD _mm_add_epi64
#define OP_LEFT _mm_slli_epi64
#define OP_RIGHT _mm_srli_epi64
#define OP_MULTIPLY_LOW _mm_mul_epu32
#define OP_SWAP_PAIRS(v) _mm_shuffle_epi32(v, 0x4E)
#include "xxh3_lanes.h"

#define SUFFIX avx2
#define TARGET __attribute__((target("avx2")))
#define VECTOR __m256i
#define OP_LOAD _mm256_loadu_si256
#define OP_STORE _mm256_storeu_si256
#define OP_STREAM _mm256_stream_si256
#define PIN(v) "+x"(v)
#define OP_FILL _mm256_set1_epi32
#define OP_XOR _mm256_xor_si256
#define OP_ADD _mm256_add_epi64
#define OP_LEFT _mm256_slli_epi64
#define OP_RIGHT _mm256_srli_epi64
#define OP_MULTIPLY_LOW _mm256_mul_epu32
#define OP_SWAP_PAIRS(v) _mm256_shuffle_epi32(v, 0x4E)
#include "xxh3_lanes.h"

#define SUFFIX avx512
#define TARGET __attribute__((target("avx512f")))
#define VECTOR __m512i
#define OP_LOAD _mm512_loadu_si512
#define OP_STORE _mm512_storeu_si512
#define OP_STREAM _mm512_stream_si512
#define PIN(v) "+v"(v)
#define OP_FILL _mm512_set1_epi32
#define OP_XOR _mm512_xor_si512
#define OP_ADD _mm512_add_epi64
#define OP_LEFT _mm512_slli_epi64
#define OP_RIGHT _mm512_srli_epi64
#define OP_MULTIPLY_LOW _mm512_mul_epu32
#define OP_SWAP_PAIRS(v) _mm512_shuffle_epi32(v, (_MM_PERM_ENUM)0x4E)
#include "xxh3_lanes.h"

/* Feed all of the input, which is longer than one stripe, to the eight lanes. */
static void absorb(uint64_t state[8], const uint8_t *in, size_t n, int cold)
{
    if (FLOR_AT_MOST >= 2 && (!cold || n < SHORT) && __builtin_cpu_supports("avx512f")) {
        absorb_avx512(state, in, n);
    }
    else if (FLOR_AT_MOST >= 1 && __builtin_cpu_supports("avx2")) {
        absorb_avx2(state, in, n);
    }
    else {
        absorb_sse2(state, in, n);
    }
}

/* Stores that go past the caches do not fetch what they overwrite: 20 % faster than memcpy where
   memory sets the pace.  There AVX-512 fills a line with each. */
static void absorb_copy(uint64_t state[8], const uint8_t *in, size_t n, uint8_t *to, int past)
{
    if (FLOR_AT_MOST >= 2 && __builtin_cpu_supports("avx512f")) {
        (past ? stream_avx512 : copy_avx512)(state, in, n, to);
    }
    else if (FLOR_AT_MOST >= 1 && __builtin_cpu_supports("avx2")) {
        (past ? stream_avx2 : copy_avx2)(state, in, n, to);
    }
    else {
        (past ? stream_sse2 : copy_sse2)(state, in, n, to);
    }
}
