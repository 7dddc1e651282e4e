/* Files in isa/ are compiled once for each instruction set and activation type. CMake defines
 *   VARIANT    avx2_f32, avx512_f32 or avx512bf16_bf16: a suffix for every global symbol
 *   ACT_F32 or ACT_BF16, ISA_NAME
 * and this header gives the code its activation type. Loops over act arrays load with act_load and store with act_store,
 * which vectorise; the arithmetic is float32. */
#ifndef MOEC_KERNEL_CPU_VARIANT_H
#define MOEC_KERNEL_CPU_VARIANT_H

#include "kernel/kernel.h"
#include <string.h>

#ifdef VARIANT
#define VARIANT_JOIN_(name, variant) name##_##variant
#define VARIANT_JOIN(name, variant) VARIANT_JOIN_(name, variant)
#define KERNEL(name) VARIANT_JOIN(name, VARIANT) /* KERNEL(rms_norm) → rms_norm_avx512_f32 */

#ifdef ACT_BF16
typedef uint16_t act; /* the upper half of a float32 */
#define ACT_DTYPE DTYPE_BF16
static inline float act_load(act a) {
    uint32_t bits = (uint32_t)a << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
/* Round to nearest even; a NaN stays one. */
static inline act act_store(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
    return (act)((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16) | 0x40 : rounded >> 16);
}
#else
typedef float act;
#define ACT_DTYPE DTYPE_F32
static inline float act_load(act a) {
    return a;
}
static inline act act_store(float x) {
    return x;
}
#endif
#endif

/* Each group of kernels puts its functions into the table: KERNEL(fill_attention)(kernels *table), ... */
#define DECLARE_FILLS(variant)                                                                                         \
    void fill_memory_##variant(kernels *table);                                                                        \
    void fill_stream_##variant(kernels *table);                                                                        \
    void fill_attention_##variant(kernels *table);                                                                     \
    void fill_routing_##variant(kernels *table);                                                                       \
    void fill_gate_##variant(kernels *table);                                                                          \
    void fill_loss_##variant(kernels *table);                                                                          \
    void fill_top_log_probs_##variant(kernels *table);                                                                 \
    void fill_distill_##variant(kernels *table);                                                                       \
    void fill_params_##variant(kernels *table);                                                                        \
    void fill_quantized_##variant(kernels *table);                                                                     \
    void fill_weight_gradient_##variant(kernels *table);
DECLARE_FILLS(avx2_f32)
DECLARE_FILLS(avx512_f32)
DECLARE_FILLS(avx512bf16_bf16)
void fill_products(kernels *table); /* oneDNN, cpu/products.c; reads table->act */

#endif
