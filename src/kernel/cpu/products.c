/* Matrix products by oneDNN, and the forms of a weight that they read.
 *
 * oneDNN is fastest when the right-hand matrix lies in blocks of its own choice (bf16: 16 × 64 in pairs): 5 % at training
 * sizes, 2–3 times for the few rows of generation. So x Wᵀ reads a packed copy, made from `plain` when it is first wanted
 * after an update: an embedding table or an expert without tokens is never packed. dy W reads `plain`: a third copy of
 * every weight would buy 1 % of a training step.
 *
 * The packed layout depends on the weight's size alone, which form_refresh checks rather than believes. */
#include "kernel/cpu/products.h"

#include "base/memory.h"
#include "kernel/cpu/onednn.h"
#include "kernel/cpu/variant.h"
#include <stdlib.h>

void cpu_matmul(const matmul_args *args) {
    if (args->m == 0 || args->n == 0) return;
    if (args->k == 0) { /* an empty sum */
        size_t bytes = (size_t)(args->m * args->n) * dtype_bytes(args->c_type);
        if (!args->add) memset(args->c, 0, bytes);
        return;
    }
    product_key key = {.m = args->m,
                       .n = args->n,
                       .k = args->k,
                       .type = args->a_type,
                       .c_type = args->c_type,
                       .transpose_a = args->transpose_a,
                       .transpose_b = args->transpose_b,
                       .add = args->add};
    product_run(product_find(&key), args->a, args->b, args->c);
}

/* ---- weights ---- */

/* The packed copy of a weight for x Wᵀ. */
typedef struct form {
    dtype type;
    bool fresh;    /* bytes hold the values of plain */
    layout plain;  /* how Wᵀ lies in weight.plain */
    layout packed; /* how Wᵀ lies in bytes; NULL before the first use */
    void *bytes;   /* NULL before the first use */
} form;

static form *form_create(dtype type, int64_t rows, int64_t cols) {
    form *f = xcalloc(1, sizeof *f);
    f->type = type;
    f->plain = layout_plain(type, cols, rows, true);
    return f;
}

static void form_destroy(form *f) {
    if (!f) return;
    if (f->bytes) kernels_for(f->type)->release(f->bytes);
    layout_free(f->plain);
    layout_free(f->packed);
    free(f);
}

static status weight_create(weight *w, dtype type, int64_t rows, int64_t cols) {
    *w = (weight){.rows = rows, .cols = cols};
    TRY(kernels_for(type)->alloc(&w->plain, (size_t)(rows * cols) * dtype_bytes(type)));
    w->forward = form_create(type, rows, cols);
    return STATUS_OK;
}

static void weight_update(weight *w, dtype type, const float *values) {
    kernels_for(type)->to_act(w->plain, values, w->rows * w->cols);
    ((form *)w->forward)->fresh = false;
}

/* B for a product that wants it in the layout `wanted`, packed first if need be. NULL where that cannot be: another layout
 * than the copy's, or no memory for one. */
static const void *form_refresh(form *f, layout_view wanted, const void *plain) {
    if (layout_equal(f->plain, wanted)) return plain;
    if (!f->packed) f->packed = layout_copy(wanted);
    if (!layout_equal(f->packed, wanted)) return NULL;
    if (!f->bytes && kernels_for(f->type)->alloc(&f->bytes, layout_bytes(f->packed)) != STATUS_OK) return NULL;
    if (!f->fresh) layout_convert(f->packed, f->bytes, f->plain, plain);
    f->fresh = true;
    return f->bytes;
}

static void weight_destroy(weight *w) {
    form *f = w->forward;
    if (f) kernels_for(f->type)->release(w->plain);
    form_destroy(w->forward);
    *w = (weight){0};
}

static void linear(void *y, dtype y_type, const void *x, const weight *w, int64_t N) {
    if (N == 0) return;
    form *f = w->forward;
    product_key key = {.m = N, .n = w->rows, .k = w->cols, .type = f->type, .c_type = y_type, .packed_b = true};
    product *p = product_find(&key);
    const void *packed = form_refresh(f, product_b_layout(p), w->plain);
    if (packed) {
        product_run(p, x, packed, y);
        return;
    }
    key.packed_b = false;
    key.transpose_b = true;
    product_run(product_find(&key), x, w->plain, y);
}

static void linear_backward_input(grad_out dx, const void *dy, const weight *w, int64_t N) {
    if (!dx.data) return;
    dtype type = ((const form *)w->forward)->type;
    cpu_matmul(&(matmul_args){.m = N,
                              .n = w->cols,
                              .k = w->rows,
                              .a = dy,
                              .b = w->plain,
                              .c = dx.data,
                              .a_type = type,
                              .b_type = type,
                              .c_type = type,
                              .add = dx.add});
}

/* ---- products whose right-hand side is an activation ---- */

/* C[m, n] += aᵀ b over N rows, in float32. oneDNN transposes block by block inside, which beats doing it before. */
static void add_transposed_product(float *c, dtype type, const void *a, const void *b, int64_t m, int64_t n,
                                   int64_t N) {
    cpu_matmul(&(matmul_args){.m = m,
                              .n = n,
                              .k = N,
                              .a = a,
                              .b = b,
                              .c = c,
                              .a_type = type,
                              .b_type = type,
                              .c_type = DTYPE_F32,
                              .transpose_a = true,
                              .add = true});
}

/* dW[rows, cols] += dyᵀ x; no rows add nothing */
static void linear_backward_weight(float *dw, const void *dy, const void *x, const weight *w, int64_t N) {
    add_transposed_product(dw, ((const form *)w->forward)->type, dy, x, w->rows, w->cols, N);
}

/* H[cols, cols] += xᵀ x */
static void gram(float *hessian, dtype type, const void *x, int64_t N, int64_t cols) {
    add_transposed_product(hessian, type, x, x, cols, cols, N);
}

/* ---- the table's entries that must know the activation type ---- */

#define DEFINE_TYPED(suffix, type)                                                                                     \
    static status weight_create_##suffix(weight *w, int64_t rows, int64_t cols) {                                      \
        return weight_create(w, type, rows, cols);                                                                     \
    }                                                                                                                  \
    static void weight_update_##suffix(weight *w, const float *values) {                                               \
        weight_update(w, type, values);                                                                                \
    }                                                                                                                  \
    static void gram_##suffix(float *hessian, const void *x, int64_t N, int64_t cols) {                                \
        gram(hessian, type, x, N, cols);                                                                               \
    }
DEFINE_TYPED(f32, DTYPE_F32)
DEFINE_TYPED(bf16, DTYPE_BF16)

void fill_products(kernels *table) {
    bool bf16 = table->act == DTYPE_BF16;
    table->matmul = cpu_matmul;
    table->weight_create = bf16 ? weight_create_bf16 : weight_create_f32;
    table->weight_update = bf16 ? weight_update_bf16 : weight_update_f32;
    table->weight_destroy = weight_destroy;
    table->linear = linear;
    table->linear_backward_input = linear_backward_input;
    table->linear_backward_weight = linear_backward_weight;
    table->gram = bf16 ? gram_bf16 : gram_f32;
}
