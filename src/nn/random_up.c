/* The frozen random up-projections of #1692: R [h, d] in E blocks of rows, each of w = h/E rows (the first h mod E blocks have
 * one more). With Q the orthogonal factor of a Gaussian matrix:
 *   w ≥ d: the block is the first d columns of the Q of a w × w matrix, which need but its first d columns
 *   w < d: the block is the first w rows of the Q of a d × d matrix
 * Seeds: random_up_seed + layer for one block, random_up_seed + 1009 · layer + e for several.
 *
 * R is never stored, so it has to come out the same to the bit on every machine and for every build. Therefore nothing
 * here calls LAPACK or libm: normal numbers are sums of uniform ones, Q comes from Gram–Schmidt in float64, and every sum
 * is formed in an order that the source fixes, without fused multiply-adds (CMakeLists.txt). sqrt and / are exact by
 * IEEE 754. */
#include "base/memory.h"
#include "base/random.h"
#include "nn/parts.h"
#include <math.h>
#include <stdlib.h>

/* Irwin–Hall: the sum of twelve uniform numbers less 6 has variance 1 and is normal to 0.3 % of its distribution function. */
static double normal_number(rng *r) {
    uint64_t sum = 0;
    for (int i = 0; i < 6; i++) {
        uint64_t two = rng_next(r);
        sum += (two >> 32) + (two & 0xffffffffu);
    }
    return (double)sum * 0x1p-32 - 6;
}

enum { SUMS = 8 }; /* side by side, so that they vectorise without being reordered */

static double dot(const double *a, const double *b, int64_t n) {
    double sum[SUMS] = {0};
    int64_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (int j = 0; j < SUMS; j++) sum[j] += a[i + j] * b[i + j];
    for (int j = 0; i < n; i++, j++) sum[j] += a[i] * b[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* The rows of a [count, length] become orthonormal, each freed of those before it and scaled by a positive number: the Q of
 * a QR decomposition whose R has a positive diagonal. Twice, because once leaves an error that grows with the condition
 * (Giraud et al. 2005: twice is enough). */
static void orthonormalize(double *a, int64_t count, int64_t length) {
    for (int64_t row = 0; row < count; row++) {
        double *v = a + row * length;
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t earlier = 0; earlier < row; earlier++) {
                const double *q = a + earlier * length;
                double along = dot(q, v, length);
                for (int64_t i = 0; i < length; i++) v[i] -= along * q[i];
            }
        }
        double norm = sqrt(dot(v, v, length));
        for (int64_t i = 0; i < length; i++) v[i] /= norm;
    }
}

/* One block of R: rows × d. Columns of the Gaussian matrix are drawn one after another and lie in memory as rows. False: no
 * memory (this is a thread of a parallel region: base/memory.h). */
static bool fill_block(float *out, int64_t rows, int64_t d, uint64_t seed) {
    int64_t length = rows > d ? rows : d;
    double *columns = malloc((size_t)(d * length) * sizeof *columns);
    if (!columns) return false;
    rng r = rng_seed(seed);
    for (int64_t i = 0; i < d * length; i++) columns[i] = normal_number(&r);
    orthonormalize(columns, d, length);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < d; c++) out[i * d + c] = (float)columns[c * length + i];
    free(columns);
    return true;
}

static uint64_t block_seed(const model_config *c, int layer, int block) {
    uint64_t seed = (uint64_t)c->random_up.seed;
    return c->random_up.experts == 1 ? seed + (uint64_t)layer : seed + 1009 * (uint64_t)layer + (uint64_t)block;
}

static bool derive_block(float *out, const model_config *c, int layer, int block) {
    int64_t d = c->model_dim, h = model_config_hidden(c), E = c->random_up.experts;
    int64_t rows = h / E + (block < h % E), from = block * (h / E) + (block < h % E ? block : h % E);
    return fill_block(out + from * d, rows, d, block_seed(c, layer, block));
}

/* The blocks of all layers side by side: with one block a layer the layers are all that there is to share out. */
static void derive_values(float *const *values, const model_config *c) {
    int E = c->random_up.experts;
    bool done = true;
#pragma omp parallel for schedule(dynamic) reduction(&& : done)
    for (int i = 0; i < c->num_layers * E; i++)
        if (values[i / E]) done = derive_block(values[i / E], c, i / E, i % E) && done;
    if (!done) memory_out((size_t)c->model_dim * (size_t)model_config_hidden(c) * sizeof(double));
}

status model_derive(model *m) {
    const model_config *c = &m->config;
    float **values = xcalloc((size_t)c->num_layers, sizeof *values);
    for (int i = 0; i < c->num_layers; i++) {
        const param *p = m->parts->blocks[i].random.weight;
        if (p) values[i] = xmalloc(tensor_bytes(&p->value));
    }
    derive_values(values, c);
    status s = STATUS_OK;
    for (int i = 0; i < c->num_layers; i++) {
        if (values[i] && s == STATUS_OK) s = param_set(m->parts->blocks[i].random.weight, m->k, values[i]);
        free(values[i]);
    }
    free(values);
    return s;
}
