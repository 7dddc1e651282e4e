/* Losses with a teacher: the divergence of a few classes of tokens in one go with the cross-entropy, and the distance of hidden
 * states. Formulas in kernel_list.h. */
#include "kernel/cpu/isa/logits.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/scratch.h"

/* Of a rest's probability. Its inverse is finite, and so are logarithms of both sides. */
static const float LEAST_REST = 1e-30f, LEAST_LOG_REST = -69.0775528f;

/* A NaN stays one. */
static float at_least(float x, float least) {
    return x < least ? least : x;
}

/* Memory of one row: [V] or [k + 1] floats each. */
typedef struct row {
    float *exps;   /* e^(z − shift), 0 of listed tokens */
    float *slopes; /* e^(z − shift) · (1 − (z / cap)²); exps where there is no cap */
    float *listed; /* e^(z − shift) of the listed tokens */
    float *a, *b;  /* logarithms of the classes' probabilities, teacher's and student's, the rest last; a becomes g */
    int64_t V;
    int count;     /* of listed tokens */
    bool has_rest; /* some token is not listed */
} row;

static row place_row(uintptr_t *at, int64_t V, int k, bool has_cap) {
    const size_t vocabulary = (size_t)V * sizeof(float), classes = (size_t)(k + 1) * sizeof(float);
    row r = {.V = V};
    r.exps = scratch_take(at, vocabulary);
    r.slopes = has_cap ? scratch_take(at, vocabulary) : r.exps;
    r.listed = scratch_take(at, classes);
    r.a = scratch_take(at, classes);
    r.b = scratch_take(at, classes);
    return r;
}

static size_t row_bytes(int64_t V, int k, bool has_cap) {
    uintptr_t at = 0;
    place_row(&at, V, k, has_cap);
    return at;
}

static void exp_row(const row *r, const float *logits, float cap, float shift) {
    lanes inverse = lanes_all(cap > 0 ? 1 / cap : 0);
    for (int64_t v = 0; v < r->V; v += LANES) {
        int64_t left = r->V - v;
        lanes z = lanes_get(logits + v, left), slope = lanes_all(1);
        if (cap > 0) {
            lanes t = lanes_tanh(z * inverse);
            z = t * lanes_all(cap);
            slope -= t * t;
        }
        lanes e = lanes_exp(z - lanes_all(shift));
        lanes_put(r->exps + v, e, left);
        if (cap > 0) lanes_put(r->slopes + v, e * slope, left);
    }
}

static float row_sum(const float *x, int64_t count) {
    lanes sum = lanes_all(0);
    for (int64_t c = 0; c < count; c += LANES) sum += lanes_get(x + c, count - c);
    return lanes_sum(sum);
}

/* The listed tokens' part of a and b (not yet minus log Σ), and their exps set aside. */
static void list_tokens(row *r, const float *logits, const int32_t *ids, const float *log_probs, int k, float cap,
                        float shift) {
    r->count = 0;
    for (int j = 0; j < k && ids[j] >= 0; j++, r->count++) {
        r->a[j] = log_probs[j];
        r->b[j] = capped(logits[ids[j]], cap) - shift;
        r->listed[j] = r->exps[ids[j]];
        r->exps[ids[j]] = 0;
    }
    r->has_rest = r->count < r->V;
}

/* x[count] ← log softmax(x / τ) */
static void temper(float *x, int64_t count, float temperature) {
    const lanes inverse = lanes_all(1 / temperature), largest = lanes_all(row_largest(x, count)) * inverse;
    lanes sum = lanes_all(0);
    for (int64_t c = 0; c < count; c += LANES) {
        lanes y = lanes_get(x + c, count - c) * inverse - largest;
        lanes_put(x + c, y, count - c);
        sum += lanes_keep(lanes_exp(y), count - c);
    }
    const lanes log_sum = lanes_all(logf(lanes_sum(sum)));
    for (int64_t c = 0; c < count; c += LANES) lanes_put(x + c, lanes_get(x + c, count - c) - log_sum, count - c);
}

/* D of the tempered classes p and q, and g in p. */
static float diverge(float *p, const float *q, int64_t count, float temperature) {
    lanes sum = lanes_all(0);
    for (int64_t c = 0; c < count; c += LANES) {
        lanes log_p = lanes_get(p + c, count - c), log_q = lanes_get(q + c, count - c);
        lanes P = lanes_exp(log_p), Q = lanes_exp(log_q);
        sum += lanes_keep(P * (log_p - log_q), count - c);
        lanes_put(p + c, lanes_all(temperature) * (Q - P), count - c);
    }
    return lanes_sum(sum);
}

static float diverge_reversed(float *p, const float *q, int64_t count, float temperature) {
    lanes sum = lanes_all(0);
    for (int64_t c = 0; c < count; c += LANES) {
        lanes log_p = lanes_get(p + c, count - c), log_q = lanes_get(q + c, count - c);
        sum += lanes_keep(lanes_exp(log_q) * (log_q - log_p), count - c);
    }
    const float D = lanes_sum(sum);
    for (int64_t c = 0; c < count; c += LANES) {
        lanes log_p = lanes_get(p + c, count - c), log_q = lanes_get(q + c, count - c);
        lanes_put(p + c, lanes_all(temperature) * lanes_exp(log_q) * (log_q - log_p - lanes_all(D)), count - c);
    }
    return D;
}

static float slope_of(float z, float cap) {
    return cap > 0 ? 1 - z / cap * (z / cap) : 1;
}

/* What the gradient of a row is made of. */
typedef struct row_loss {
    int32_t target;
    float z;         /* of the target */
    float shift;     /* subtracted from all z */
    float sum, rest; /* Σ e^(z − shift), and that of tokens that are not listed */
} row_loss;

/* Token by token, and then anew where a token is listed or the target. */
static void write_gradient(act *dlogits, const row *r, const row_loss *l, const int32_t *ids, const teacher_args *t,
                           const float *logits, float cap, float scale) {
    const float ce = t->ce_weight / l->sum, rest = r->has_rest ? t->teacher_weight * r->a[r->count] / l->rest : 0;
    const lanes factor = lanes_all(scale * (ce + rest));
    bool listed = false;
    for (int64_t v = 0; v < r->V; v += LANES)
        act_put(dlogits + v, factor * lanes_get(r->slopes + v, r->V - v), r->V - v);
    for (int j = 0; j < r->count; j++) {
        const bool is_target = ids[j] == l->target;
        const float g = ce * r->listed[j] - (is_target ? t->ce_weight : 0) + t->teacher_weight * r->a[j];
        dlogits[ids[j]] = act_store(scale * slope_of(capped(logits[ids[j]], cap), cap) * g);
        listed |= is_target;
    }
    if (listed) return;
    const float g = (ce + rest) * r->exps[l->target] - t->ce_weight;
    dlogits[l->target] = act_store(scale * slope_of(l->z, cap) * g);
}

static void distill_row(float *nll, float *kl, act *dlogits, const float *logits, int32_t target, const teacher_args *t,
                        int64_t n, float cap, float scale, int64_t V) {
    *nll = *kl = 0;
    if (target < 0) {
        if (dlogits) memset(dlogits, 0, V * sizeof(act));
        return;
    }
    uintptr_t at = (uintptr_t)KERNEL(scratch)(SCRATCH_OWN, row_bytes(V, t->k, cap > 0));
    const int32_t *ids = t->ids + n * t->k;
    row r = place_row(&at, V, t->k, cap > 0);
    row_loss l = {.target = target, .z = capped(logits[target], cap), .shift = capped(row_largest(logits, V), cap)};
    exp_row(&r, logits, cap, l.shift);
    list_tokens(&r, logits, ids, t->log_probs + n * t->k, t->k, cap, l.shift);
    l.rest = at_least(row_sum(r.exps, V), LEAST_REST);
    l.sum = row_sum(r.listed, r.count) + (r.has_rest ? l.rest : 0);
    const float log_sum = logf(l.sum);
    for (int j = 0; j < r.count; j++) r.b[j] -= log_sum;
    r.a[r.count] = at_least(t->rest[n], LEAST_LOG_REST);
    r.b[r.count] = at_least(logf(l.rest) - log_sum, LEAST_LOG_REST);
    const int64_t classes = r.count + r.has_rest;
    temper(r.a, classes, t->temperature);
    temper(r.b, classes, t->temperature);
    const float D = (t->reverse ? diverge_reversed : diverge)(r.a, r.b, classes, t->temperature);
    if (dlogits) write_gradient(dlogits, &r, &l, ids, t, logits, cap, scale);
    *nll = log_sum + (l.shift - l.z);
    *kl = D * t->temperature * t->temperature;
}

static void softcap_distill(float *nll, float *kl, void *dlogits, const float *logits, const int32_t *targets,
                            const teacher_args *teacher, float cap, float scale, int64_t N, int64_t V) {
    KERNEL(scratch_reserve)(row_bytes(V, teacher->k, cap > 0));
#pragma omp parallel for schedule(static) if (N * V > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++)
        distill_row(nll + n, kl + n, dlogits ? (act *)dlogits + n * V : NULL, logits + n * V, targets[n], teacher, n,
                    cap, scale, V);
}

/* ---- hidden states ---- */

enum { MATCH_PIECE = 4096, MATCH_PIECES = 256 };

typedef struct squares {
    double distance, target;
} squares;

static squares piece_squares(const act *x, const act *target, int64_t count) {
    squares s = {0};
    for (int64_t c = 0; c < count; c += LANES) {
        lanes wanted = act_get(target + c, count - c), off = act_get(x + c, count - c) - wanted;
        s.distance += (double)lanes_sum(off * off);
        s.target += (double)lanes_sum(wanted * wanted);
    }
    return s;
}

/* In pieces whose number does not depend on the threads, which are added in their order. */
static void match(double *sum, float *factor, const void *x, const void *target, int64_t count) {
    squares parts[MATCH_PIECES], all = {0};
    int64_t size = (count + MATCH_PIECES - 1) / MATCH_PIECES;
    if (size < MATCH_PIECE) size = MATCH_PIECE;
    const int64_t pieces = (count + size - 1) / size;
#pragma omp parallel for schedule(static) if (count > PARALLEL_ELEMENTS)
    for (int64_t p = 0; p < pieces; p++)
        parts[p] =
            piece_squares((const act *)x + p * size, (const act *)target + p * size, least(size, count - p * size));
    for (int64_t p = 0; p < pieces; p++) {
        all.distance += parts[p].distance;
        all.target += parts[p].target;
    }
    *factor = all.target > 0 ? (float)(1 / all.target) : 0;
    *sum += all.target > 0 ? all.distance / all.target : 0;
}

static void match_backward(grad_out dx, const void *x, const void *target, const float *factor, float scale,
                           int64_t count) {
    const lanes step = lanes_all(2 * scale * *factor);
#pragma omp parallel for schedule(static) if (count > PARALLEL_ELEMENTS)
    for (int64_t c = 0; c < count; c += LANES) {
        const int64_t left = count - c;
        grad_put(dx, c, step * (act_get((const act *)x + c, left) - act_get((const act *)target + c, left)), left);
    }
}

void KERNEL(fill_distill)(kernels *table) {
    table->softcap_distill = softcap_distill;
    table->match = match;
    table->match_backward = match_backward;
}
