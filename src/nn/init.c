/* Initial values as in the record scripts: the embedding normal with a small std, matrices of at least 64 × 64 orthogonal,
 * smaller ones uniform (torch's nn.Linear default), output projections zero, gains and scales one, gates zero. Each
 * tensor draws from a generator of its own name, so its values do not depend on what else the model has. */
#include "base/memory.h"
#include "base/random.h"
#include "nn/model.h"
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum init_kind { INIT_NORMAL, INIT_UNIFORM, INIT_ORTHOGONAL, INIT_CONSTANT, INIT_MIX } init_kind;
typedef struct init_rule {
    const char *ends_with;
    init_kind kind;
    float value; /* std, constant */
} init_rule;

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), e = strlen(end);
    return n >= e && strcmp(name + n - e, end) == 0;
}

static init_rule rule_for(const model_config *c, const param *p) {
    const init_rule rules[] = {
        {"tok_emb.weight", INIT_NORMAL, c->tie_embeddings ? c->tied_embed_init_std : 1},
        {"bigram_emb.weight", INIT_NORMAL, 1},
        {"bigram_proj.weight", INIT_CONSTANT, 0},
        {"lm_head.weight", INIT_CONSTANT, 0},
        {"router.weight", INIT_NORMAL, 0.01f},
        {"attn.proj.weight", INIT_CONSTANT, 0},
        {"mlp.proj.weight", INIT_CONSTANT, 0},
        {"q_gain", INIT_CONSTANT, c->qk_gain_init},
        {"attn_scale", INIT_CONSTANT, 1},
        {"mlp_scale", INIT_CONSTANT, 1},
        {"resid_mix", INIT_MIX, 0},
        {"smear_w", INIT_CONSTANT, 0},
        {"skip_weights", INIT_CONSTANT, 1},
        {"skip_gates", INIT_CONSTANT, 0},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (ends_with(p->name, rules[i].ends_with)) return rules[i];
    if (strstr(p->name, ".experts_proj.")) return (init_rule){"", INIT_CONSTANT, 0};
    bool large = p->value.ndim == 2 && p->value.shape[0] >= 64 && p->value.shape[1] >= 64;
    return (init_rule){"", large ? INIT_ORTHOGONAL : INIT_UNIFORM, 0};
}

/* The Q of a Gaussian matrix, with the signs that make it uniform over orthogonal matrices (Mezzadri 2007). */
static status orthogonal(float *out, int64_t rows, int64_t cols, rng *r) {
    int64_t tall = rows > cols ? rows : cols, thin = rows > cols ? cols : rows;
    float *a = xmalloc((size_t)(tall * thin) * sizeof *a), *tau = xmalloc((size_t)thin * sizeof *tau);
    float *sign = xmalloc((size_t)thin * sizeof *sign);
    rng_normal(r, a, (size_t)(tall * thin), 1); /* column-major [tall, thin] */
    lapack_int n = (lapack_int)thin, m = (lapack_int)tall;
    bool ok = LAPACKE_sgeqrf(LAPACK_COL_MAJOR, m, n, a, m, tau) == 0;
    for (int64_t j = 0; j < thin; j++) sign[j] = a[j * tall + j] < 0 ? -1.0f : 1.0f;
    ok = ok && LAPACKE_sorgqr(LAPACK_COL_MAJOR, m, n, n, a, m, tau) == 0;
    for (int64_t j = 0; ok && j < thin; j++)
        for (int64_t i = 0; i < tall; i++) out[rows >= cols ? i * cols + j : j * cols + i] = a[j * tall + i] * sign[j];
    free(a);
    free(tau);
    free(sign);
    return ok ? STATUS_OK : fail("orthogonal initialisation: LAPACK's QR failed");
}

static status fill(float *out, const param *p, init_rule rule, uint64_t seed) {
    int64_t count = param_count(p), cols = tensor_cols(&p->value);
    rng r = rng_named(seed, p->name);
    switch (rule.kind) {
    case INIT_NORMAL:
        rng_normal(&r, out, (size_t)count, rule.value);
        break;
    case INIT_ORTHOGONAL:
        return orthogonal(out, p->value.shape[0], cols, &r);
    case INIT_UNIFORM: /* ±1/√fan_in */
        for (int64_t i = 0; i < count; i++) out[i] = (float)((2 * rng_uniform(&r) - 1) / sqrt((double)cols));
        break;
    case INIT_CONSTANT:
        for (int64_t i = 0; i < count; i++) out[i] = rule.value;
        break;
    case INIT_MIX: /* [1 … 1], [0 … 0] */
        for (int64_t i = 0; i < count; i++) out[i] = i < cols ? 1 : 0;
        break;
    }
    return STATUS_OK;
}

/* OpenBLAS has threads of its own; here each of our threads calls it for another tensor. */
extern void openblas_set_num_threads(int count) __attribute__((weak));

status model_init(model *m, uint64_t seed) {
    status result = STATUS_OK;
    if (openblas_set_num_threads) openblas_set_num_threads(1);
    const char *failed = "";
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        float *values = xmalloc(tensor_bytes(&p->value));
        status s = fill(values, p, rule_for(&m->config, p), seed);
        m->k->upload(p->value.data, values, tensor_bytes(&p->value));
        free(values);
        if (s != STATUS_OK) {
#pragma omp critical
            {
                result = s;
                failed = p->name;
            }
        }
    }
    if (result != STATUS_OK) return fail("%s: orthogonal initialisation failed", failed);
    return model_refresh(m);
}
