/* Initial values as in the record scripts: the embedding normal with a small std; matrices orthogonal from 64 × 64 on and
 * uniform below (torch's nn.Linear), or all uniform; gains and scales one, gates zero; the rest as the config's init fields
 * say. Each tensor draws from a generator of its own name, so its values do not depend on what else the model has. */
#include "base/memory.h"
#include "base/random.h"
#include "nn/parts.h"
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>

typedef enum init_kind { INIT_NORMAL, INIT_UNIFORM, INIT_ORTHOGONAL, INIT_CONSTANT, INIT_MIX } init_kind;
typedef struct init_rule {
    init_kind kind;
    float value; /* std, factor of the orthogonal matrix, constant */
} init_rule;

static init_rule constant(float value) {
    return (init_rule){INIT_CONSTANT, value};
}

/* A matrix inside the model. */
static init_rule matrix_rule(const model_config *c, const param_spec *spec, float factor) {
    bool large = spec->shape[0] >= 64 && spec->shape[1] >= 64;
    bool orthogonal = large && c->init.matrix == MATRIX_ORTHOGONAL;
    return orthogonal ? (init_rule){INIT_ORTHOGONAL, factor} : (init_rule){INIT_UNIFORM, factor};
}

/* A projection into the residual stream, by 1/√(2L) smaller where it is not zero. */
static init_rule projection_rule(const model_config *c, const param_spec *spec, bool zero) {
    return zero ? constant(0) : matrix_rule(c, spec, 1 / sqrtf(2 * (float)c->num_layers));
}

static init_rule table_rule(const model_config *c, int dim) {
    bool alone = dim == c->model_dim && !c->stem.hash_projection; /* no projection that could start at zero */
    return alone || c->init.hash == HASH_ZERO_TABLE ? constant(0) : (init_rule){INIT_NORMAL, 1};
}

static init_rule rule_for(const model_config *c, const param_spec *spec) {
    switch (spec->role) {
    case ROLE_TOK_EMB:
        return (init_rule){INIT_NORMAL, c->head.tied ? c->init.embed_std : 1};
    case ROLE_BIGRAM_TABLE:
        return table_rule(c, c->stem.bigram_dim);
    case ROLE_TRIGRAM_TABLE:
        return table_rule(c, c->stem.trigram_dim);
    case ROLE_BIGRAM_PROJ:
    case ROLE_TRIGRAM_PROJ:
        return projection_rule(c, spec, c->init.hash == HASH_ZERO_PROJECTION);
    case ROLE_BIGRAM_SCALE:
    case ROLE_TRIGRAM_SCALE:
        return constant(c->stem.hash_scale);
    case ROLE_ATTENTION_PROJ:
    case ROLE_MLP_PROJ:
    case ROLE_EXPERT_PROJ:
    case ROLE_SHARED_PROJ:
        return projection_rule(c, spec, c->init.projection == PROJECTION_ZERO);
    case ROLE_ROUTER:
        return (init_rule){INIT_NORMAL, c->init.router_std};
    case ROLE_ADAPTER_DOWN:
        return (init_rule){INIT_NORMAL, 1 / sqrtf((float)c->model_dim)};
    case ROLE_Q_GAIN:
        return constant(c->init.q_gain);
    case ROLE_RESID_MIX:
        return (init_rule){INIT_MIX, 0};
    case ROLE_ATTN_NORM:
    case ROLE_MLP_NORM:
    case ROLE_FINAL_NORM:
    case ROLE_Q_NORM:
    case ROLE_K_NORM:
    case ROLE_ATTN_SCALE:
    case ROLE_MLP_SCALE:
    case ROLE_SKIP_WEIGHTS:
    case ROLE_ADAPTER_GAIN:
        return constant(1);
    case ROLE_C_Q:
    case ROLE_C_K:
    case ROLE_C_V:
    case ROLE_MLP_FC:
    case ROLE_EXPERT_FC:
    case ROLE_SHARED_FC:
        return matrix_rule(c, spec, 1);
    default: /* gates, biases, the head, the upper half of a correction, the router over random blocks */
        return constant(0);
    }
}

/* The Q of a Gaussian matrix, with the signs that make it uniform over orthogonal matrices (Mezzadri 2007), out of
 * `space`, 2 · tall · thin floats. */
static bool orthogonal(float *out, int64_t rows, int64_t cols, float factor, rng *r, float *space) {
    int64_t tall = rows > cols ? rows : cols, thin = rows > cols ? cols : rows;
    float *a = space, *tau = a + tall * thin, *sign = tau + thin;
    rng_normal(r, a, (size_t)(tall * thin), 1); /* column-major [tall, thin] */
    lapack_int n = (lapack_int)thin, m = (lapack_int)tall;
    bool ok = LAPACKE_sgeqrf(LAPACK_COL_MAJOR, m, n, a, m, tau) == 0;
    for (int64_t j = 0; j < thin; j++) sign[j] = a[j * tall + j] < 0 ? -factor : factor;
    ok = ok && LAPACKE_sorgqr(LAPACK_COL_MAJOR, m, n, n, a, m, tau) == 0;
    for (int64_t j = 0; ok && j < thin; j++)
        for (int64_t i = 0; i < tall; i++) out[rows >= cols ? i * cols + j : j * cols + i] = a[j * tall + i] * sign[j];
    return ok;
}

static bool fill(float *out, const param *p, init_rule rule, uint64_t seed, float *space) {
    int64_t count = param_count(p), cols = tensor_cols(&p->value);
    rng r = rng_named(seed, p->name);
    switch (rule.kind) {
    case INIT_NORMAL:
        rng_normal(&r, out, (size_t)count, rule.value);
        break;
    case INIT_ORTHOGONAL:
        return orthogonal(out, p->value.shape[0], cols, rule.value, &r, space);
    case INIT_UNIFORM: /* ±1/√fan_in */
        for (int64_t i = 0; i < count; i++)
            out[i] = (float)((2 * rng_uniform(&r) - 1) * (double)rule.value / sqrt((double)cols));
        break;
    case INIT_CONSTANT:
        for (int64_t i = 0; i < count; i++) out[i] = rule.value;
        break;
    case INIT_MIX: /* [1 … 1], [0 … 0] */
        for (int64_t i = 0; i < count; i++) out[i] = i < cols ? 1 : 0;
        break;
    }
    return true;
}

/* OpenBLAS has threads of its own; here each of our threads calls it for another tensor. */
extern void openblas_set_num_threads(int count) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));

typedef struct rule_list {
    const model_config *config;
    init_rule *rules; /* one a parameter */
    int count;
} rule_list;

static void add_rule(void *context, const param_spec *spec) {
    rule_list *list = context;
    list->rules[list->count++] = rule_for(list->config, spec);
}

/* In a thread of a parallel region: memory is asked for with malloc. */
static bool init_param(const model *m, param *p, init_rule rule, uint64_t seed) {
    size_t count = (size_t)param_count(p);
    float *values = malloc(count * sizeof *values), *space = NULL;
    if (rule.kind == INIT_ORTHOGONAL) space = malloc(3 * count * sizeof *space);
    bool done = values && (space || rule.kind != INIT_ORTHOGONAL) && fill(values, p, rule, seed, space);
    if (done) m->k->upload(p->value.data, values, tensor_bytes(&p->value));
    free(space);
    free(values);
    return done;
}

/* The name of a parameter that could not be initialised, or NULL. */
static const char *init_all(model *m, const init_rule *rules, uint64_t seed) {
    const char *failed = NULL;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (p->derived || p->away || init_param(m, p, rules[i], seed)) continue;
#pragma omp critical
        failed = p->name;
    }
    return failed;
}

status model_init(model *m, uint64_t seed) {
    rule_list list = {.config = &m->config, .rules = xcalloc((size_t)m->param_count, sizeof(init_rule))};
    model_specs_visit(&m->config, add_rule, &list);
    int blas_threads = openblas_get_num_threads ? openblas_get_num_threads() : 1;
    if (openblas_set_num_threads) openblas_set_num_threads(1);
    const char *failed = init_all(m, list.rules, seed);
    if (openblas_set_num_threads) openblas_set_num_threads(blas_threads);
    free(list.rules);
    if (failed) return fail("%s: its initial values cannot be made: out of memory, or LAPACK's QR failed", failed);
    return model_refresh(m);
}
