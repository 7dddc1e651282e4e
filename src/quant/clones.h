/* Hot loops of quantisers, compiled for each width of vectors by the compiler (GCC's function multiversioning); which one is called is found out when the
 * program starts. Sums may differ in the last bits from CPU to CPU, as products do. Without it, where sanitizers and fuzzers look, the plain one is all. */
#ifndef MOEC_QUANT_CLONES_H
#define MOEC_QUANT_CLONES_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) &&               \
    !defined(__SANITIZE_THREAD__)
#define FOR_EACH_WIDTH __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_WIDTH
#endif

/* A part of such a loop, which has to be compiled with it. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* 16 floats, wherever they lie; the compiler makes of them what the CPU has. */
typedef float floats16 __attribute__((vector_size(64), aligned(4), may_alias));

#endif
