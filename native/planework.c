/* Splitting, joining and sampling with whatever instructions the processor has. */
#include "planework.h"

#include "planes_kernels.h"

enum { GROUP = 64, FEWEST = 64, MOST = 256, SHARE = 64, LOGS = GROUP * MOST + 1 };

/* n log2(n) in units of 1 / SCALE, filled in when the first entropy is asked for, under the GIL. */
enum { SCALE = 4096 };
static uint32_t n_log_n[LOGS];

/* log2 of a whole number, off by less than 1e-6, without a library. */
static double log2_of(uint32_t n)
{
    int exponent = 0;
    while (n >> exponent > 1) {
        exponent++;
    }
    double y = ((double)n - (double)(UINT32_C(1) << exponent))
        / ((double)n + (double)(UINT32_C(1) << exponent));
    double squared = y * y, term = y, sum = 0;
    for (int i = 1; i < 14; i += 2, term *= squared) {
        sum += term / i;
    }
    return exponent + 2.8853900817779268 * sum;
}

void flor_fill_logs(void)
{
    if (n_log_n[LOGS - 1] == 0) {
        for (uint32_t n = 2; n < LOGS; n++) {
            n_log_n[n] = (uint32_t)(n * log2_of(n) * SCALE + 0.5);
        }
    }
}

/* A sample shows less than there is: the last term is what it misses on average (Miller and
   Madow). */
double flor_entropy(const FlorCounts *counts, unsigned k, unsigned step)
{
    uint32_t merged[256];
    uint32_t sum = 0, total = 0, kinds = 0;
    memcpy(merged, counts->of[k], sizeof merged);
    for (unsigned at = k + step; at < FLOR_MOST_WIDTH; at += step) {
        for (unsigned value = 0; value < 256; value++) {
            merged[value] += counts->of[at][value];
        }
    }
    for (unsigned value = 0; value < 256; value++) {
        sum += n_log_n[merged[value]];
        total += merged[value];
        kinds += merged[value] > 0;
    }
    if (total == 0) {
        return 8;
    }
    double missed = (kinds - 1) / (1.3862943611198906 * total);
    double bits = log2_of(total) - (double)sum / SCALE / total + missed;
    return bits < 8 ? bits : 8;
}

double flor_size(const FlorCounts *counts, unsigned width, double full)
{
    double sum = 0;
    for (unsigned k = 0; k < width; k++) {
        double bits = flor_entropy(counts, k, width);
        sum += bits < full ? bits : 8;
    }
    return sum / (8 * width);
}

static void count(FlorCounts *counts, const uint8_t *group)
{
    for (unsigned i = 0; i < GROUP; i += FLOR_MOST_WIDTH) {
        for (unsigned at = 0; at < FLOR_MOST_WIDTH; at++) {
            counts->of[at][group[i + at]]++;
        }
    }
}

/* Where group `g` of a sample of `wanted` groups out of `total` begins: somewhere in its share. */
static size_t place(size_t g, size_t wanted, size_t total)
{
    return (g * total / wanted + (uint32_t)(g * UINT32_C(0x9E3779B1)) % (total / wanted)) * GROUP;
}

static void take_difference(const uint8_t *data, const uint8_t *base, size_t width, uint8_t *to)
{
    union {
        uint16_t two[GROUP / 2];
        uint32_t four[GROUP / 4];
        uint64_t eight[GROUP / 8];
    } out;
    switch (width) {
    case 2: difference_16(data, base, GROUP / 2, out.two); break;
    case 4: difference_32(data, base, GROUP / 4, out.four); break;
    default: difference_64(data, base, GROUP / 8, out.eight); break;
    }
    memcpy(to, &out, GROUP);
}

void flor_sample(
    FlorCounts *counts, const uint8_t *data, size_t length, const uint8_t *base, size_t width)
{
    size_t total = length / GROUP, wanted = total / SHARE;
    wanted = wanted < FEWEST ? FEWEST : wanted > MOST ? MOST : wanted;
    wanted = wanted < total ? wanted : total;
    memset(counts, 0, sizeof *counts);
    for (size_t g = 0; g < wanted; g++) {
        size_t at = place(g, wanted, total);
        uint8_t group[GROUP];
        if (base != NULL) {
            take_difference(data + at, base + at, width, group);
            count(counts, group);
        }
        else {
            count(counts, data + at);
        }
    }
}

FLOR_INLINE void split_all(const FlorPlanes *job)
{
    switch (job->width) {
    case 2: split_16(job); break;
    case 4: split_32(job); break;
    default: split_64(job); break;
    }
}

FLOR_INLINE void join_all(const FlorPlanes *job)
{
    switch (job->width) {
    case 2: join_16(job); break;
    case 4: join_32(job); break;
    default: join_64(job); break;
    }
}

static void split(const FlorPlanes *job)
{
    split_all(job);
}

static void join(const FlorPlanes *job)
{
    join_all(job);
}

/* The same for what the processor has; the loops are compiled anew in each. */
#if !defined(FLOR_AT_MOST) /* 0: what every processor has, 1: AVX2, 2: AVX-512; lower to test them */
#  define FLOR_AT_MOST 2
#endif
#if defined(__x86_64__) && defined(__GNUC__)
#  define AVX2 __attribute__((target("avx2")))
#  define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

AVX2 static void split_avx2(const FlorPlanes *job)
{
    split_all(job);
}

AVX2 static void join_avx2(const FlorPlanes *job)
{
    join_all(job);
}

AVX512 static void split_avx512(const FlorPlanes *job)
{
    split_all(job);
}

AVX512 static void join_avx512(const FlorPlanes *job)
{
    join_all(job);
}

static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl");
}

static void run(const FlorPlanes *job, int joining)
{
    if (FLOR_AT_MOST >= 2 && has_avx512()) {
        (joining ? join_avx512 : split_avx512)(job);
    }
    else if (FLOR_AT_MOST >= 1 && __builtin_cpu_supports("avx2")) {
        (joining ? join_avx2 : split_avx2)(job);
    }
    else {
        (joining ? join : split)(job);
    }
}
#else
static void run(const FlorPlanes *job, int joining)
{
    (joining ? join : split)(job);
}
#endif

void flor_planes_run(const FlorPlanes *job, FlorCounts *counts)
{
    run(job, counts == NULL);
    for (size_t k = 0; counts != NULL && k < job->width; k++) {
        flor_sample(&counts[k], job->planes[k], job->items, NULL, 0);
    }
}

