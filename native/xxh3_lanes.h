/* The loop over long inputs for one instruction set. xxh3.c includes this once for each, with
   SUFFIX, TARGET, VECTOR and the OP_* operations on vectors of 64-bit lanes defined. */

#define JOINED(name, suffix) name##suffix
#define JOIN(name, suffix) JOINED(name, suffix)
#define NAMED(name) JOIN(name, SUFFIX)
#define COUNT (STRIPE / (int)sizeof(VECTOR))

TARGET FLOR_INLINE void NAMED(lane_)(VECTOR *state, int i, VECTOR data, const uint8_t *key)
{
    VECTOR keyed = OP_XOR(data, OP_LOAD((const void *)(key + i * sizeof(VECTOR))));
    VECTOR product = OP_MULTIPLY_LOW(keyed, OP_RIGHT(keyed, 32));
    state[i] = OP_ADD(state[i], OP_ADD(OP_SWAP_PAIRS(data), product));
}

TARGET FLOR_INLINE void NAMED(accumulate_)(VECTOR *state, const uint8_t *in, const uint8_t *key)
{
    for (int i = 0; i < COUNT; i++) {
        NAMED(lane_)(state, i, OP_LOAD((const void *)(in + i * sizeof(VECTOR))), key);
    }
}

TARGET FLOR_INLINE void NAMED(scramble_)(VECTOR *state, const uint8_t *key)
{
    const VECTOR prime = OP_FILL((int)P32_1);
    for (int i = 0; i < COUNT; i++) {
        VECTOR keys = OP_LOAD((const void *)(key + i * sizeof(VECTOR)));
        VECTOR mixed = OP_XOR(OP_XOR(state[i], OP_RIGHT(state[i], 47)), keys);
        VECTOR high = OP_LEFT(OP_MULTIPLY_LOW(OP_RIGHT(mixed, 32), prime), 32);
        state[i] = OP_ADD(OP_MULTIPLY_LOW(mixed, prime), high);
    }
}

TARGET static void NAMED(absorb_)(uint64_t state[8], const uint8_t *in, size_t n)
{
    VECTOR local[COUNT];
    const uint8_t *last = in + n - STRIPE;
    memcpy(local, state, STRIPE);
    for (size_t blocks = (n - 1) / BLOCK; blocks > 0; blocks--, in += BLOCK) {
        for (int i = 0; i < STRIPES; i++) {
            PREFETCH(in + STRIPE * i);
            NAMED(accumulate_)(local, in + STRIPE * i, secret + STEP * i);
        }
        NAMED(scramble_)(local, secret + SECRET - STRIPE);
    }
    for (const uint8_t *key = secret; in < last; in += STRIPE, key += STEP) {
        NAMED(accumulate_)(local, in, key);
    }
    NAMED(accumulate_)(local, last, secret + SECRET - STRIPE - 7);
    memcpy(state, local, STRIPE);
}

/* As absorb, and copy. Every byte is read once, so that the hash is that of the copy even while
   somebody writes: a vector is pinned in its register, and what is left over is hashed from the
   copy. `to` is aligned for vectors if the copy is to go `past` the caches. */
TARGET FLOR_INLINE void NAMED(absorb_copy_)(
    uint64_t state[8], const uint8_t *in, size_t n, uint8_t *to, int past)
{
    VECTOR local[COUNT];
    memcpy(local, state, STRIPE);
    size_t blocks = (n - 1) / BLOCK, rest = n - blocks * BLOCK;
    for (; blocks > 0; blocks--, in += BLOCK) {
        for (int i = 0; i < STRIPES; i++, to += STRIPE) {
            PREFETCH(in + STRIPE * i);
            for (int lane = 0; lane < COUNT; lane++) {
                VECTOR data = OP_LOAD((const void *)(in + STRIPE * i + lane * sizeof(VECTOR)));
                __asm__("" : PIN(data));
                if (past) {
                    OP_STREAM((VECTOR *)(to + lane * sizeof(VECTOR)), data);
                }
                else {
                    OP_STORE((VECTOR *)(to + lane * sizeof(VECTOR)), data);
                }
                NAMED(lane_)(local, lane, data, secret + STEP * i);
            }
        }
        NAMED(scramble_)(local, secret + SECRET - STRIPE);
    }
    memcpy(to, in, rest);
    const uint8_t *last = to + rest - STRIPE, *key = secret;
    for (in = to; in < last; in += STRIPE, key += STEP) {
        NAMED(accumulate_)(local, in, key);
    }
    NAMED(accumulate_)(local, last, secret + SECRET - STRIPE - 7);
    memcpy(state, local, STRIPE);
}

TARGET static void NAMED(copy_)(uint64_t state[8], const uint8_t *in, size_t n, uint8_t *to)
{
    NAMED(absorb_copy_)(state, in, n, to, 0);
}

TARGET static void NAMED(stream_)(uint64_t state[8], const uint8_t *in, size_t n, uint8_t *to)
{
    NAMED(absorb_copy_)(state, in, n, to, 1);
}

#undef COUNT
#undef NAMED
#undef JOIN
#undef JOINED
#undef SUFFIX
#undef TARGET
#undef VECTOR
#undef OP_LOAD
#undef OP_STORE
#undef OP_STREAM
#undef PIN
#undef OP_FILL
#undef OP_XOR
#undef OP_ADD
#undef OP_LEFT
#undef OP_RIGHT
#undef OP_MULTIPLY_LOW
#undef OP_SWAP_PAIRS
