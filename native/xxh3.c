/* XXH3-128 with seed 0, after the xxHash specification.

   Inputs are handled in five ranges of length (0, 1-16 in three forms, 17-128, 129-240, longer);
   only the last one is worth vectors. There the state is eight 64-bit lanes fed with stripes of
   64 bytes, and scrambled after every block of 16 stripes. */
#include "xxh3.h"

#include <stdint.h>
#include <string.h>

/* One binary carries the loop for SSE2, AVX2 and AVX-512, and asks the processor when it hashes. */
#if !defined(FLOR_AT_MOST) /* -1: plain C, 0: SSE2, 1: AVX2, 2: AVX-512; lower only to test them */
#  define FLOR_AT_MOST 2
#endif
#if defined(__x86_64__) && defined(__GNUC__) && FLOR_AT_MOST >= 0
#  define FLOR_VECTORS 1
#  include <immintrin.h>
#endif

#if defined(__GNUC__)
#  define FLOR_INLINE static inline __attribute__((always_inline))
#else
#  define FLOR_INLINE static inline
#endif

#define P32_1 UINT64_C(0x9E3779B1)
#define P32_2 UINT64_C(0x85EBCA77)
#define P32_3 UINT64_C(0xC2B2AE3D)
#define P64_1 UINT64_C(0x9E3779B185EBCA87)
#define P64_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define P64_3 UINT64_C(0x165667B19E3779F9)
#define P64_4 UINT64_C(0x85EBCA77C2B2AE63)
#define P64_5 UINT64_C(0x27D4EB2F165667C5)
#define MIX_1 UINT64_C(0x165667919E3779F9)
#define MIX_2 UINT64_C(0x9FB21C651E98DF25)

enum { STRIPE = 64, SECRET = 192, STEP = 8, STRIPES = (SECRET - STRIPE) / STEP };
enum { BLOCK = STRIPE * STRIPES };

static const uint8_t secret[SECRET] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

typedef struct {
    uint64_t low, high;
} pair;

/* Compilers fold these byte sums into one load, on either byte order. */
FLOR_INLINE uint64_t load32(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24;
}

FLOR_INLINE uint64_t load64(const uint8_t *p)
{
    return load32(p) | load32(p + 4) << 32;
}

FLOR_INLINE uint64_t swap32(uint64_t v)
{
    return (v & 0xff) << 24 | (v & 0xff00) << 8 | (v >> 8 & 0xff00) | (v >> 24 & 0xff);
}

FLOR_INLINE uint64_t swap64(uint64_t v)
{
    return swap32(v & 0xffffffff) << 32 | swap32(v >> 32);
}

static void store_big(uint8_t *out, uint64_t v)
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(v >> (56 - 8 * i));
    }
}

FLOR_INLINE pair multiply(uint64_t a, uint64_t b)
{
#if defined(__SIZEOF_INT128__)
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (pair){(uint64_t)product, (uint64_t)(product >> 64)};
#else
    const uint64_t mask = 0xffffffff;
    uint64_t ll = (a & mask) * (b & mask), hl = (a >> 32) * (b & mask);
    uint64_t lh = (a & mask) * (b >> 32), hh = (a >> 32) * (b >> 32);
    uint64_t middle = (ll >> 32) + (hl & mask) + lh;
    return (pair){middle << 32 | (ll & mask), (hl >> 32) + (middle >> 32) + hh};
#endif
}

FLOR_INLINE uint64_t fold(uint64_t a, uint64_t b)
{
    pair product = multiply(a, b);
    return product.low ^ product.high;
}

/* The strong finish, of the older XXH64. */
FLOR_INLINE uint64_t finish_long(uint64_t h)
{
    h = (h ^ h >> 33) * P64_2;
    h = (h ^ h >> 29) * P64_3;
    return h ^ h >> 32;
}

/* The quick finish, for what is mixed already. */
FLOR_INLINE uint64_t finish(uint64_t h)
{
    h = (h ^ h >> 37) * MIX_1;
    return h ^ h >> 32;
}

static pair hash_0(void)
{
    return (pair){
        finish_long(load64(secret + 64) ^ load64(secret + 72)),
        finish_long(load64(secret + 80) ^ load64(secret + 88)),
    };
}

static pair hash_1_3(const uint8_t *in, size_t n)
{
    uint64_t packed = (uint64_t)in[0] << 16 | (uint64_t)in[n >> 1] << 24 | in[n - 1]
        | (uint64_t)n << 8;
    uint64_t swapped = swap32(packed);
    uint64_t turned = (swapped << 13 | swapped >> 19) & 0xffffffff;
    return (pair){
        finish_long(packed ^ load32(secret) ^ load32(secret + 4)),
        finish_long(turned ^ load32(secret + 8) ^ load32(secret + 12)),
    };
}

static pair hash_4_8(const uint8_t *in, size_t n)
{
    uint64_t both = load32(in) | load32(in + n - 4) << 32;
    uint64_t keyed = both ^ load64(secret + 16) ^ load64(secret + 24);
    pair m = multiply(keyed, P64_1 + ((uint64_t)n << 2));
    m.high += m.low << 1;
    m.low ^= m.high >> 3;
    m.low = (m.low ^ m.low >> 35) * MIX_2;
    return (pair){m.low ^ m.low >> 28, finish(m.high)};
}

static pair hash_9_16(const uint8_t *in, size_t n)
{
    uint64_t first = load64(in), last = load64(in + n - 8);
    pair m = multiply(first ^ last ^ load64(secret + 32) ^ load64(secret + 40), P64_1);
    last ^= load64(secret + 48) ^ load64(secret + 56);
    m.low += (uint64_t)(n - 1) << 54;
    m.high += last + (last & 0xffffffff) * (P32_2 - 1);
    m.low ^= swap64(m.high);
    pair h = multiply(m.low, P64_2);
    return (pair){finish(h.low), finish(h.high + m.high * P64_2)};
}

FLOR_INLINE uint64_t mix16(const uint8_t *in, const uint8_t *key)
{
    return fold(load64(in) ^ load64(key), load64(in + 8) ^ load64(key + 8));
}

FLOR_INLINE void mix32(pair *h, const uint8_t *a, const uint8_t *b, const uint8_t *key)
{
    h->low = (h->low + mix16(a, key)) ^ (load64(b) + load64(b + 8));
    h->high = (h->high + mix16(b, key + 16)) ^ (load64(a) + load64(a + 8));
}

static pair finish_middle(pair h, size_t n)
{
    uint64_t high = h.low * P64_1 + h.high * P64_4 + (uint64_t)n * P64_2;
    return (pair){finish(h.low + h.high), 0 - finish(high)};
}

static pair hash_17_128(const uint8_t *in, size_t n)
{
    pair h = {(uint64_t)n * P64_1, 0};
    for (size_t i = (n - 1) / 32 + 1; i-- > 0;) {
        mix32(&h, in + 16 * i, in + n - 16 * (i + 1), secret + 32 * i);
    }
    return finish_middle(h, n);
}

static pair hash_129_240(const uint8_t *in, size_t n)
{
    pair h = {(uint64_t)n * P64_1, 0};
    size_t i = 0;
    for (; i < 128; i += 32) {
        mix32(&h, in + i, in + i + 16, secret + i);
    }
    h.low = finish(h.low);
    h.high = finish(h.high);
    for (; i + 32 <= n; i += 32) {
        mix32(&h, in + i, in + i + 16, secret + 3 + i - 128);
    }
    mix32(&h, in + n - 16, in + n - 32, secret + 103);
    return finish_middle(h, n);
}

#if defined(FLOR_VECTORS)

#include "xxh3_vectors.h"

#else

static void accumulate(uint64_t state[8], const uint8_t *in, const uint8_t *key)
{
    for (int i = 0; i < 8; i++) {
        uint64_t data = load64(in + 8 * i), keyed = data ^ load64(key + 8 * i);
        state[i ^ 1] += data;
        state[i] += (keyed & 0xffffffff) * (keyed >> 32);
    }
}

static void scramble(uint64_t state[8], const uint8_t *key)
{
    for (int i = 0; i < 8; i++) {
        state[i] = (state[i] ^ state[i] >> 47 ^ load64(key + 8 * i)) * P32_1;
    }
}

/* Feed all of the input, which is longer than one stripe, to the eight lanes. */
static void absorb(uint64_t state[8], const uint8_t *in, size_t n, int cold)
{
    (void)cold;
    const uint8_t *last = in + n - STRIPE;
    for (size_t blocks = (n - 1) / BLOCK; blocks > 0; blocks--, in += BLOCK) {
        for (int i = 0; i < STRIPES; i++) {
            accumulate(state, in + STRIPE * i, secret + STEP * i);
        }
        scramble(state, secret + SECRET - STRIPE);
    }
    for (const uint8_t *key = secret; in < last; in += STRIPE, key += STEP) {
        accumulate(state, in, key);
    }
    accumulate(state, last, secret + SECRET - STRIPE - 7);
}

/* As absorb, of what is also copied: the copy is hashed, one block after the other. */
static void absorb_copy(uint64_t state[8], const uint8_t *in, size_t n, uint8_t *to, int past)
{
    (void)past;
    size_t blocks = (n - 1) / BLOCK, rest = n - blocks * BLOCK;
    for (; blocks > 0; blocks--, in += BLOCK, to += BLOCK) {
        memcpy(to, in, BLOCK);
        for (int i = 0; i < STRIPES; i++) {
            accumulate(state, to + STRIPE * i, secret + STEP * i);
        }
        scramble(state, secret + SECRET - STRIPE);
    }
    memcpy(to, in, rest);
    const uint8_t *last = to + rest - STRIPE, *key = secret;
    for (in = to; in < last; in += STRIPE, key += STEP) {
        accumulate(state, in, key);
    }
    accumulate(state, last, secret + SECRET - STRIPE - 7);
}

#endif

static uint64_t merge(const uint64_t state[8], const uint8_t *key, uint64_t h)
{
    for (int i = 0; i < 8; i += 2) {
        h += fold(state[i] ^ load64(key + 8 * i), state[i + 1] ^ load64(key + 8 * i + 8));
    }
    return finish(h);
}

#define START {P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1}

static pair finish_longer(const uint64_t state[8], size_t n)
{
    return (pair){
        merge(state, secret + 11, (uint64_t)n * P64_1),
        merge(state, secret + SECRET - STRIPE - 11, ~((uint64_t)n * P64_2)),
    };
}

static pair hash_longer(const uint8_t *in, size_t n, int cold)
{
    uint64_t state[8] = START;
    absorb(state, in, n, cold);
    return finish_longer(state, n);
}

static pair hash_copy_longer(const uint8_t *in, size_t n, uint8_t *to, int past)
{
    uint64_t state[8] = START;
    absorb_copy(state, in, n, to, past && (uintptr_t)to % STRIPE == 0);
    return finish_longer(state, n);
}

static pair hash_short(const uint8_t *in, size_t n)
{
    if (n > 128) {
        return hash_129_240(in, n);
    }
    if (n > 16) {
        return hash_17_128(in, n);
    }
    if (n > 8) {
        return hash_9_16(in, n);
    }
    if (n >= 4) {
        return hash_4_8(in, n);
    }
    return n > 0 ? hash_1_3(in, n) : hash_0();
}

static void store_pair(pair h, unsigned char out[FLOR_DIGEST_SIZE])
{
    store_big(out, h.high);
    store_big(out + 8, h.low);
}

static void hash(const void *in, size_t n, int cold, unsigned char out[FLOR_DIGEST_SIZE])
{
    store_pair(n > 240 ? hash_longer(in, n, cold) : hash_short(in, n), out);
}

void flor_xxh3_128(const void *data, size_t length, unsigned char out[FLOR_DIGEST_SIZE])
{
    hash(data, length, length >= FLOR_PAST_CACHES, out);
}

void flor_xxh3_128_copy(
    const void *data, size_t length, void *to, int past, unsigned char out[FLOR_DIGEST_SIZE])
{
    if (length > 240) {
        store_pair(hash_copy_longer(data, length, to, past), out);
        return;
    }
    if (length > 0) {
        memcpy(to, data, length);
    }
    store_pair(hash_short(to, length), out);
}

void flor_copies_end(void)
{
#if defined(FLOR_VECTORS)
    _mm_sfence();
#endif
}

/* Ask for the beginning of what is hashed after the next, whose place no processor can guess. */
static void prefetch(const FlorBytes *bytes)
{
#if defined(__GNUC__)
    size_t length = bytes->length < 1024 ? bytes->length : 1024;
    for (size_t i = 0; i < length; i += 64) {
        __builtin_prefetch((const char *)bytes->data + i);
    }
#else
    (void)bytes;
#endif
}

void flor_xxh3_128_many(
    const FlorBytes *all, size_t count, unsigned char (*out)[FLOR_DIGEST_SIZE])
{
    size_t total = 0;
    for (size_t i = 0; i < count && total < FLOR_PAST_CACHES; i++) {
        total = all[i].length < FLOR_PAST_CACHES ? total + all[i].length : FLOR_PAST_CACHES;
    }
    for (size_t i = 0; i < count; i++) {
        if (i + 2 < count) {
            prefetch(&all[i + 2]);
        }
        hash(all[i].data, all[i].length, total >= FLOR_PAST_CACHES, out[i]);
    }
}
