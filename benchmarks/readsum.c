/* The fastest that memory can be read: a sum of 64-bit words, in the widest vectors there are. */
#include <stddef.h>
#include <stdint.h>

typedef uint64_t lanes __attribute__((vector_size(64), aligned(8)));

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
uint64_t
read_sum(const uint64_t *words, size_t count)
{
    lanes sum[4] = {{0}};
    uint64_t total = 0;
    for (size_t i = 0; i + 32 <= count; i += 32) {
        for (int j = 0; j < 4; j++) {
            sum[j] += *(const lanes *)(words + i + 8 * j);
        }
    }
    for (int i = 0; i < 8; i++) {
        total += sum[0][i] + sum[1][i] + sum[2][i] + sum[3][i];
    }
    return total;
}
