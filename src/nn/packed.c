#include "nn/packed.h"

#include "base/memory.h"
#include <stdlib.h>

/* Bits that the use asks floats to be rounded to; 0: none. Embeddings and heads are tables of all tokens, whose errors meet every
 * one: they keep 8. */
static int bits_for(const param *p, model_use use) {
    const int weights = use & ~MODEL_RUN_INPUTS_8;
    if (weights == MODEL_RUN_4) return p->layer >= 0 ? 4 : 8;
    return weights == MODEL_RUN_8 ? 8 : 0;
}

/* Most of what rounding to 8 bits costs comes from few products: keys and values, which all later positions read, and the head. Of
 * SmolLM2-135M 8 bits for all inputs raise the perplexity by 0.30 %, with 16 bits there by 0.08 %; they are 6 % of the products
 * of a prompt. */
static int input_bits(const param *p, model_use use) {
    return !(use & MODEL_RUN_INPUTS_8) || p->layer < 0 || p->role == ROLE_C_K || p->role == ROLE_C_V ? 16 : 8;
}

static quantized create(const param *p, int bits) {
    return quantized_alloc(p->matrix.rows, p->matrix.cols, quantized_group_for(p->matrix.cols), bits == 4);
}

/* By all threads; rows are rounded one by one. */
static void round_rows(quantized *q, int bits, int64_t first, int64_t rows, const float *values) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) quantized_round_rows(q, bits, first + r, 1, values + r * q->cols);
}

status packed_set_values(param *p, const kernels *k, model_use use, const float *values) {
    const int bits = bits_for(p, use);
    if (bits == 0) return param_set(p, k, values);
    quantized q = create(p, bits);
    round_rows(&q, bits, 0, q.rows, values);
    const status s = param_set_packed(p, k, &q, input_bits(p, use));
    quantized_free(&q);
    return s;
}

status packed_set_codes(param *p, const kernels *k, model_use use, const quantized *q) {
    int least;
    if (bits_for(p, use) != 4 || quantized_is_nibbles(q, &least)) return param_set_packed(p, k, q, input_bits(p, use));
    float *values = xmalloc((size_t)(q->rows * q->cols) * sizeof *values);
    quantized_expand(q, values);
    const status s = packed_set_values(p, k, use, values);
    free(values);
    return s;
}

/* Floats in pieces, so that a matrix is never whole in memory as floats. */
static status fill_rounded(const weight_source *s, param *p, const param_spec *spec, const kernels *k, model_use use) {
    const int bits = bits_for(p, use);
    const int64_t all = spec_rows(spec), most = spec_piece(spec) < all ? spec_piece(spec) : all;
    float *piece = xmalloc((size_t)(most * spec_cols(spec)) * sizeof *piece);
    quantized q = create(p, bits);
    status result = STATUS_OK;
    for (int64_t first = 0; first < all && result == STATUS_OK; first += most) {
        const int64_t rows = all - first < most ? all - first : most;
        result = s->read(s->context, spec, first, rows, piece);
        if (result == STATUS_OK) round_rows(&q, bits, first, rows, piece);
    }
    if (result == STATUS_OK) result = param_set_packed(p, k, &q, input_bits(p, use));
    quantized_free(&q);
    free(piece);
    return result;
}

status packed_fill(const weight_source *s, param *p, const kernels *k, model_use use) {
    const param_spec spec = spec_of_param(p);
    quantized q = {0};
    if (s->codes) TRY(s->codes(s->context, &spec, &q));
    if (q.q) {
        const status result = packed_set_codes(p, k, use, &q);
        quantized_free(&q);
        return result;
    }
    return bits_for(p, use) ? fill_rounded(s, p, &spec, k, use) : weight_source_fill_param(s, p, k);
}
