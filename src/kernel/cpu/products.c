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
#include "kernel/cpu/packed.h"
#include "kernel/cpu/variant.h"
#include "kernel/weight_room.h"
#include <pthread.h>
#include <stdlib.h>

/* C = A B by this key; false: no memory. */
static bool multiply(const product_key *key, const void *a, const void *b, void *c) {
    product *p = product_find(key);
    return p && product_run(p, a, b, c);
}

static size_t result_bytes(const product_key *key) {
    return (size_t)(key->m * key->n) * dtype_bytes(key->c_type);
}

static void matmul(const matmul_args *args) {
    if (args->m == 0 || args->n == 0) return;
    product_key key = {.m = args->m,
                       .n = args->n,
                       .k = args->k,
                       .type = args->a_type,
                       .c_type = args->c_type,
                       .transpose_a = args->transpose_a,
                       .transpose_b = args->transpose_b,
                       .add = args->add};
    if (args->k == 0) { /* an empty sum */
        if (!args->add) memset(args->c, 0, result_bytes(&key));
        return;
    }
    if (!multiply(&key, args->a, args->b, args->c)) memory_out(result_bytes(&key));
}

/* ---- weights ---- */

/* The packed copy of a weight for x Wᵀ. Several threads may want it at the same time: the first one packs. */
typedef struct form {
    dtype type;
    pthread_mutex_t lock;
    bool fresh;    /* bytes hold the values of plain; written under the lock, read without */
    layout plain;  /* how Wᵀ lies in weight.plain */
    layout packed; /* how Wᵀ lies in bytes; NULL before the first use */
    void *bytes;   /* NULL before the first use */
    weight_room *room;
} form;

static form *form_create(dtype type, int64_t rows, int64_t cols, weight_room *room) {
    form *f = memory_allows() ? calloc(1, sizeof *f) : NULL;
    if (!f) return NULL;
    f->type = type;
    f->room = room;
    pthread_mutex_init(&f->lock, NULL);
    f->plain = layout_plain(type, cols, rows, true);
    return f;
}

static void form_destroy(form *f) {
    if (!f) return;
    if (f->bytes) weight_room_give(f->room, kernels_for(f->type), f->bytes);
    layout_free(f->plain);
    layout_free(f->packed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static void weight_destroy(weight *w) {
    const kernels *k = kernels_for(DTYPE_F32); /* memory is the same for all types */
    form_destroy(w->forward);
    weight_room_give(w->room, k, w->plain);
    if (w->quantized) {
        weight_room_give(w->room, k, w->quantized->q);
        weight_room_give(w->room, k, w->quantized->scale);
        weight_room_give(w->room, k, w->quantized->input_scale);
        free(w->quantized);
    }
    packed_destroy(w->packed);
    *w = (weight){0};
}

/* w has its plain values. */
static status add_form(weight *w, dtype type) {
    const int64_t rows = w->rows, cols = w->cols;
    form *f = form_create(type, rows, cols, w->room);
    w->forward = f;
    if (f && f->plain) return STATUS_OK;
    weight_destroy(w);
    return fail("out of memory for a weight of %lld × %lld", (long long)rows, (long long)cols);
}

static status weight_create(weight *w, dtype type, int64_t rows, int64_t cols, weight_room *room) {
    *w = (weight){.rows = rows, .cols = cols, .room = room};
    TRY(weight_room_take(room, kernels_for(type), &w->plain, (size_t)(rows * cols) * dtype_bytes(type)));
    return add_form(w, type);
}

static status weight_quantized(weight *w, const quantized *q, weight_room *room) {
    const kernels *k = kernels_for(DTYPE_F32);
    size_t codes = (size_t)(q->rows * q->cols), scales = (size_t)(q->rows * quantized_groups(q)) * sizeof(float);
    const size_t inputs = (size_t)q->cols * sizeof(float);
    if (q->offset) return fail("codes with offsets are only run in integers");
    if (q->rotation) return fail("codes of rotated columns are not run");
    *w = (weight){.rows = q->rows, .cols = q->cols, .room = room};
    w->quantized = memory_allows() ? calloc(1, sizeof *q) : NULL;
    if (!w->quantized) return fail("out of memory for a quantised weight");
    *w->quantized = (quantized){.rows = q->rows, .cols = q->cols, .group = q->group, .levels = q->levels};
    status s = weight_room_take(room, k, (void **)&w->quantized->q, codes);
    if (s == STATUS_OK) s = weight_room_take(room, k, (void **)&w->quantized->scale, scales);
    if (s == STATUS_OK && q->input_scale) s = weight_room_take(room, k, (void **)&w->quantized->input_scale, inputs);
    if (s != STATUS_OK) {
        weight_destroy(w);
        return s;
    }
    k->upload(w->quantized->q, q->q, codes);
    k->upload(w->quantized->scale, q->scale, scales);
    if (q->input_scale) k->upload(w->quantized->input_scale, q->input_scale, inputs);
    return STATUS_OK;
}

static status weight_packed(weight *w, const quantized *q, int input_bits, weight_room *room) {
    *w = (weight){.rows = q->rows, .cols = q->cols, .room = room};
    w->packed = packed_create(q, input_bits, room, &w->packed_bytes);
    if (w->packed) return STATUS_OK;
    return fail("out of memory for codes of %lld × %lld", (long long)q->rows, (long long)q->cols);
}

/* ---- weights in files ---- */

static void weight_describe(stored_weight *out, const weight *w) {
    *out = (stored_weight){.rows = w->rows, .cols = w->cols};
    if (w->packed) packed_describe(w->packed, out);
    if (!w->plain) return;
    out->kind = STORED_PLAIN;
    out->type = ((const form *)w->forward)->type;
    out->array[0] = w->plain;
    out->bytes[0] = w->rows * w->cols * (int64_t)dtype_bytes(out->type);
}

/* oneDNN's form of it is made as ever, in memory of the process: how that lies is oneDNN's affair. */
static status adopt_plain(weight *w, dtype type, const stored_weight *s) {
    const bool sized = s->rows >= 1 && s->rows <= STORED_MOST_SIDE && s->cols >= 1 && s->cols <= STORED_MOST_SIDE &&
                       s->bytes[0] == s->rows * s->cols * (int64_t)dtype_bytes(type);
    if (s->type != type || !sized || !s->array[0] || (uintptr_t)s->array[0] % STORED_ALIGNMENT != 0)
        return fail("values of %lld x %lld: expected another type or other arrays for them than %lld bytes",
                    (long long)s->rows, (long long)s->cols, (long long)s->bytes[0]);
    w->plain = (void *)s->array[0];
    return add_form(w, type);
}

static status weight_adopt(weight *w, dtype type, const stored_weight *s, weight_room *room) {
    *w = (weight){.rows = s->rows, .cols = s->cols, .room = room};
    if (!room) return fail("expected a room that owns the arrays, found none");
    if (s->kind == STORED_PLAIN) return adopt_plain(w, type, s);
    if (s->kind == STORED_PACKED) return packed_adopt(&w->packed, s, room, &w->packed_bytes);
    return fail("expected values or codes, found neither");
}

static void weight_update(weight *w, dtype type, const float *values, int64_t first, int64_t rows) {
    char *place = (char *)w->plain + (size_t)(first * w->cols) * dtype_bytes(type);
    kernels_for(type)->to_act(place, values, rows * w->cols);
    ((form *)w->forward)->fresh = false;
}

/* Under the lock. */
static bool pack(form *f, layout_view wanted, const void *plain) {
    if (f->fresh) return true;
    if (!f->packed) f->packed = layout_copy(wanted);
    if (!f->packed || !layout_equal(f->packed, wanted)) return false;
    if (!f->bytes && weight_room_take(f->room, kernels_for(f->type), &f->bytes, layout_bytes(f->packed)) != STATUS_OK)
        return false;
    if (!layout_convert(f->packed, f->bytes, f->plain, plain)) return false;
    __atomic_store_n(&f->fresh, true, __ATOMIC_RELEASE);
    return true;
}

/* B for a product that wants it in the layout `wanted`, packed first if need be. NULL where that cannot be: another layout
 * than the copy's, or no memory for one. */
static const void *form_refresh(form *f, layout_view wanted, const void *plain) {
    if (layout_equal(f->plain, wanted)) return plain;
    if (__atomic_load_n(&f->fresh, __ATOMIC_ACQUIRE)) return layout_equal(f->packed, wanted) ? f->bytes : NULL;
    pthread_mutex_lock(&f->lock);
    bool packed = pack(f, wanted, plain) && layout_equal(f->packed, wanted);
    pthread_mutex_unlock(&f->lock);
    return packed ? f->bytes : NULL;
}

/* y[N, rows] = x Wᵀ for a dense weight; false: no memory. */
static bool multiply_weight(void *y, dtype y_type, const void *x, const weight *w, int64_t N) {
    form *f = w->forward;
    product_key key = {.m = N, .n = w->rows, .k = w->cols, .type = f->type, .c_type = y_type, .packed_b = true};
    product *p = product_find(&key);
    const void *packed = p ? form_refresh(f, product_b_layout(p), w->plain) : NULL;
    if (packed) return product_run(p, x, packed, y);
    key.packed_b = false;
    key.transpose_b = true;
    return multiply(&key, x, w->plain, y);
}

/* dx (+)= dy W */
static bool multiply_back(grad_out dx, const void *dy, const weight *w, int64_t N) {
    dtype type = ((const form *)w->forward)->type;
    product_key key = {.m = N, .n = w->cols, .k = w->rows, .type = type, .c_type = type, .add = dx.add};
    return multiply(&key, dy, w->plain, dx.data);
}

/* C[m, n] += aᵀ b over N rows, in float32. oneDNN transposes block by block inside, which beats doing it before. */
static bool add_transposed_product(float *c, dtype type, const void *a, const void *b, int64_t m, int64_t n,
                                   int64_t N) {
    product_key key = {.m = m, .n = n, .k = N, .type = type, .c_type = DTYPE_F32, .transpose_a = true, .add = true};
    return multiply(&key, a, b, c);
}

static void linear_backward_input(grad_out dx, const void *dy, const weight *w, int64_t N) {
    if (!dx.data || N == 0) return;
    if (!multiply_back(dx, dy, w, N)) memory_out((size_t)(N * w->cols));
}

/* dW[rows, cols] += dyᵀ x; no rows add nothing */
static void linear_backward_weight(float *dw, const void *dy, const void *x, const weight *w, int64_t N) {
    dtype type = ((const form *)w->forward)->type;
    if (N > 0 && !add_transposed_product(dw, type, dy, x, w->rows, w->cols, N))
        memory_out((size_t)(w->rows * w->cols) * sizeof(float));
}

/* H[cols, cols] += xᵀ x */
static void gram(float *hessian, dtype type, const void *x, int64_t N, int64_t cols) {
    if (N > 0 && !add_transposed_product(hessian, type, x, x, cols, cols, N))
        memory_out((size_t)(cols * cols) * sizeof(float));
}

/* ---- grouped rows ----
 * A group's rows are cut into pieces of few sizes, so that few distinct products occur whatever the numbers of tokens: as
 * many of MOST_PIECE rows as fit, then the powers of two that are left. Each thread multiplies pieces by itself. */

enum { MOST_PIECE = 256 };

typedef struct piece {
    int64_t expert, row, count;
} piece;

static int64_t piece_rows(int64_t left, int64_t most) {
    while (most > left) most /= 2;
    return most;
}

/* The pieces of all groups (malloc'ed; NULL: no memory), longest first within a group. */
static piece *cut_groups(const int32_t *start, int64_t E, int64_t most, int64_t *count) {
    int64_t capacity = 0, longest = 1;
    while (longest < most) longest *= 2, capacity++;
    capacity = (capacity + 1) * E + start[E] / most + 1;
    piece *pieces = memory_allows() ? malloc((size_t)capacity * sizeof *pieces) : NULL;
    *count = 0;
    for (int64_t e = 0; pieces && e < E; e++)
        for (int64_t row = start[e]; row < start[e + 1];) {
            int64_t rows = piece_rows(start[e + 1] - row, most);
            pieces[(*count)++] = (piece){e, row, rows};
            row += rows;
        }
    return pieces;
}

static const char *row_at(const void *rows, int64_t row, int64_t cols, dtype type) {
    return (const char *)rows + (size_t)(row * cols) * dtype_bytes(type);
}

void dense_grouped_linear(void *y, const void *x, const weight *const *w, const int32_t *start, int64_t E,
                          int64_t most_rows) {
    int64_t count, rows = w[0]->rows, cols = w[0]->cols;
    piece *pieces = cut_groups(start, E, MOST_PIECE, &count);
    bool done = pieces != NULL;
#pragma omp parallel for schedule(dynamic) reduction(&& : done)
    for (int64_t i = 0; i < count; i++) {
        const piece *p = &pieces[i];
        dtype type = ((const form *)w[p->expert]->forward)->type;
        done = done && multiply_weight((void *)row_at(y, p->row, rows, type), type, row_at(x, p->row, cols, type),
                                       w[p->expert], p->count);
    }
    free(pieces);
    if (!done) memory_out((size_t)most_rows);
}

static void grouped_linear_backward_input(void *dx, const void *dy, const weight *const *w, const int32_t *start,
                                          int64_t E, int64_t most_rows) {
    int64_t count, rows = w[0]->rows, cols = w[0]->cols;
    piece *pieces = cut_groups(start, E, MOST_PIECE, &count);
    bool done = pieces != NULL;
#pragma omp parallel for schedule(dynamic) reduction(&& : done)
    for (int64_t i = 0; i < count; i++) {
        const piece *p = &pieces[i];
        dtype type = ((const form *)w[p->expert]->forward)->type;
        grad_out out = {.data = (void *)row_at(dx, p->row, cols, type)};
        done = done && multiply_back(out, row_at(dy, p->row, rows, type), w[p->expert], p->count);
    }
    free(pieces);
    if (!done) memory_out((size_t)most_rows);
}

/* Expert by expert, all threads together; of the tokens, too, pieces of few sizes. */
static void grouped_linear_backward_weight(float *const *dw, const void *dy, const void *x, const weight *const *w,
                                           const int32_t *start, int64_t E, int64_t most_rows) {
    enum { MOST_DEPTH = 4096 };
    int64_t count, rows = w[0]->rows, cols = w[0]->cols;
    piece *pieces = cut_groups(start, E, MOST_DEPTH, &count);
    bool done = pieces != NULL;
    for (int64_t i = 0; i < count && done; i++) {
        const piece *p = &pieces[i];
        dtype type = ((const form *)w[p->expert]->forward)->type;
        if (dw[p->expert])
            done = add_transposed_product(dw[p->expert], type, row_at(dy, p->row, rows, type),
                                          row_at(x, p->row, cols, type), rows, cols, p->count);
    }
    free(pieces);
    if (!done) memory_out((size_t)most_rows);
}

/* ---- the table's entries that must know the activation type ---- */

#define DEFINE_TYPED(suffix, type)                                                                                     \
    static status weight_create_##suffix(weight *w, int64_t rows, int64_t cols, weight_room *room) {                   \
        return weight_create(w, type, rows, cols, room);                                                               \
    }                                                                                                                  \
    static void weight_update_##suffix(weight *w, const float *values, int64_t first, int64_t rows) {                  \
        weight_update(w, type, values, first, rows);                                                                   \
    }                                                                                                                  \
    static status weight_adopt_##suffix(weight *w, const stored_weight *s, weight_room *room) {                        \
        return weight_adopt(w, type, s, room);                                                                         \
    }                                                                                                                  \
    static void gram_##suffix(float *hessian, const void *x, int64_t N, int64_t cols) {                                \
        gram(hessian, type, x, N, cols);                                                                               \
    }
DEFINE_TYPED(f32, DTYPE_F32)
DEFINE_TYPED(bf16, DTYPE_BF16)

void dense_linear(void *y, dtype y_type, const void *x, const weight *w, int64_t N) {
    if (N > 0 && !multiply_weight(y, y_type, x, w, N)) memory_out((size_t)(N * w->rows));
}

void fill_products(kernels *table) {
    bool bf16 = table->act == DTYPE_BF16;
    table->matmul = matmul;
    table->weight_create = bf16 ? weight_create_bf16 : weight_create_f32;
    table->weight_update = bf16 ? weight_update_bf16 : weight_update_f32;
    table->weight_quantized = weight_quantized;
    table->weight_packed = weight_packed;
    table->weight_describe = weight_describe;
    table->weight_adopt = bf16 ? weight_adopt_bf16 : weight_adopt_f32;
    table->weight_destroy = weight_destroy;
    table->linear = dense_linear; /* isa/quantized.c puts itself before these two */
    table->grouped_linear = dense_grouped_linear;
    table->linear_backward_input = linear_backward_input;
    table->linear_backward_weight = linear_backward_weight;
    table->grouped_linear_backward_input = grouped_linear_backward_input;
    table->grouped_linear_backward_weight = grouped_linear_backward_weight;
    table->gram = bf16 ? gram_bf16 : gram_f32;
}
