/* Learning from a teacher: what it says of the targets, and its hidden states. */
#include "base/memory.h"
#include "nn/pass_state.h"
#include <math.h>
#include <stdlib.h>

status model_teacher_fits(const model_config *student, const model_config *teacher) {
    if (student->num_layers == teacher->num_layers && student->model_dim == teacher->model_dim) return STATUS_OK;
    return fail_usage("expected %d layers of %d channels, as the model that learns has them, found %d of %d",
                      student->num_layers, student->model_dim, teacher->num_layers, teacher->model_dim);
}

/* ---- what is asked for ---- */

static status check_layers(const pass *p, const distill_args *args, int *count) {
    *count = 0;
    for (int layer = 0; layer <= MODEL_MAX_LAYERS; layer++) {
        if (!args->layers[layer]) continue;
        ++*count;
        if (layer > p->m->config.num_layers)
            return fail_usage("hidden states of layer %d: expected at most %d, the end of the model's stream", layer,
                              p->m->config.num_layers);
    }
    return *count > 0 ? STATUS_OK : fail_usage("hidden states of a teacher: expected at least one layer, found none");
}

static status check_teacher(const pass *p, const distill_args *args, int *layers) {
    *layers = 0;
    if (args->hidden_weight == 0) return STATUS_OK;
    if (!args->teacher) return fail_usage("hidden_weight %g: there is no teacher", (double)args->hidden_weight);
    if (args->teacher->m->k != p->m->k)
        return fail_usage("the teacher computes in %s, the model that learns in %s", args->teacher->m->k->name,
                          p->m->k->name);
    TRY(fail_in(model_teacher_fits(&p->m->config, &args->teacher->m->config), "teacher"));
    return check_layers(p, args, layers);
}

status pass_distill(pass *p, const distill_args *args) {
    static const distill_args plain = {.ce_weight = 1, .temperature = 1};
    int layers;
    if (!args) args = &plain;
    TRY(check_teacher(p, args, &layers));
    p->distill.args = *args;
    p->distill.layers = layers;
    return STATUS_OK;
}

void pass_free_distill(pass *p) {
    distill_state *s = &p->distill;
    const kernels *k = p->m->k;
    k->release(s->ids);
    k->release(s->log_probs);
    k->release(s->rest);
    k->release(s->hidden);
    *s = (distill_state){0};
}

/* ---- the batch's column ---- */

/* A logarithm of a probability, but for rounding. */
static bool is_log_prob(float x) {
    return x <= 0.01f;
}

static status check_row(const teacher_column *c, int64_t n, int vocab_size, int64_t *seen) {
    for (int j = 0; j < c->k && c->ids[n * c->k + j] >= 0; j++) {
        const int32_t id = c->ids[n * c->k + j];
        const float log_prob = c->log_probs[n * c->k + j];
        if (id >= vocab_size)
            return fail("the teacher's tokens for target %lld: id %d is beyond the vocabulary of %d", (long long)n, id,
                        vocab_size);
        if (seen[id] == n + 1)
            return fail("the teacher's tokens for target %lld: id %d is there twice", (long long)n, id);
        seen[id] = n + 1;
        if (!is_log_prob(log_prob) || !isfinite(log_prob))
            return fail(
                "the teacher's tokens for target %lld: expected the logarithm of a probability of id %d, found %g",
                (long long)n, id, (double)log_prob);
    }
    if (is_log_prob(c->rest[n])) return STATUS_OK; /* −∞: nothing is left */
    return fail("the teacher's tokens for target %lld: expected the logarithm of what the others have, found %g",
                (long long)n, (double)c->rest[n]);
}

/* Nothing that is not a number gets to the weights. */
static status check_column(const pass *p, const batch *b) {
    const int V = p->m->config.vocab_size;
    status s = STATUS_OK;
    if (b->teacher->k < 1)
        return fail("a teacher's column: expected at least 1 token a target, found %d", b->teacher->k);
    int64_t *seen = xcalloc((size_t)V, sizeof *seen); /* 1 + the last row that listed a token */
    for (int64_t n = 0; n < b->batch * b->length && s == STATUS_OK; n++)
        if (b->target_ids[n] >= 0) s = check_row(b->teacher, n, V, seen);
    free(seen);
    return s;
}

static status reserve(pass *p, int64_t tokens, int64_t listed) {
    distill_state *s = &p->distill;
    const kernels *k = p->m->k;
    if (tokens <= s->tokens && listed <= s->listed) return STATUS_OK;
    k->release(s->ids);
    k->release(s->log_probs);
    k->release(s->rest);
    s->ids = NULL;
    s->log_probs = s->rest = NULL;
    s->tokens = s->listed = 0;
    TRY(k->alloc((void **)&s->ids, (size_t)listed * sizeof *s->ids));
    TRY(k->alloc((void **)&s->log_probs, (size_t)listed * sizeof *s->log_probs));
    TRY(k->alloc((void **)&s->rest, (size_t)tokens * sizeof *s->rest));
    s->tokens = tokens;
    s->listed = listed;
    return STATUS_OK;
}

static status upload_column(pass *p, const batch *b) {
    const distill_state *s = &p->distill;
    const int64_t N = b->batch * b->length, listed = N * b->teacher->k;
    TRY(check_column(p, b));
    TRY(reserve(p, N, listed));
    p->m->k->upload(s->ids, b->teacher->ids, (size_t)listed * sizeof *s->ids);
    p->m->k->upload(s->log_probs, b->teacher->log_probs, (size_t)listed * sizeof *s->log_probs);
    p->m->k->upload(s->rest, b->teacher->rest, (size_t)N * sizeof *s->rest);
    return STATUS_OK;
}

status pass_head_loss(pass *p, var *x, const batch *b, float loss_weight, float *nll) {
    const distill_state *s = &p->distill;
    const linear *head = &p->m->parts->head;
    const float cap = p->m->config.head.softcap;
    if (!tape_training(p->tape) || s->args.teacher_weight == 0)
        return op_cross_entropy(p->tape, x, head, p->targets, cap, loss_weight * s->args.ce_weight, &p->sums[SUM_CE],
                                nll);
    const teacher_args teacher = {.k = b->teacher->k,
                                  .ids = s->ids,
                                  .log_probs = s->log_probs,
                                  .rest = s->rest,
                                  .ce_weight = s->args.ce_weight,
                                  .teacher_weight = s->args.teacher_weight,
                                  .temperature = s->args.temperature,
                                  .reverse = s->args.reverse};
    return op_distill(p->tape, x, head, p->targets, &teacher, cap, loss_weight, &p->sums[SUM_CE]);
}

/* ---- hidden states ---- */

/* Where the teacher's are of a chosen layer. */
static void *hidden_of(const pass *p, int layer, int64_t elements) {
    int64_t slot = 0;
    for (int before = 0; before < layer; before++) slot += p->distill.args.layers[before];
    return (char *)p->distill.hidden + (size_t)(slot * elements) * dtype_bytes(p->m->k->act);
}

/* The last time that a layer runs is what remains. */
static void keep_hidden(void *context, int layer, int number, const void *x, int64_t N) {
    pass *p = context;
    const int64_t elements = N * p->m->config.model_dim;
    (void)number;
    if (p->distill.args.layers[layer])
        p->m->k->copy(hidden_of(p, layer, elements), x, (size_t)elements * dtype_bytes(p->m->k->act));
}

static int last_layer(const pass *p) {
    int last = p->m->config.num_layers;
    if (p->distill.args.layers[last]) return -1;
    while (!p->distill.args.layers[last]) last--;
    return last;
}

static status observe_teacher(pass *p, const batch *b) {
    distill_state *s = &p->distill;
    const kernels *k = p->m->k;
    const int64_t elements = s->layers * b->batch * b->length * p->m->config.model_dim;
    if (elements > s->hidden_elements) {
        k->release(s->hidden);
        s->hidden = NULL;
        s->hidden_elements = 0;
        TRY(k->alloc(&s->hidden, (size_t)elements * dtype_bytes(k->act)));
        s->hidden_elements = elements;
    }
    pass_watch_stream(s->args.teacher, keep_hidden, p);
    const status seen = pass_observe(s->args.teacher, b, last_layer(p));
    pass_watch_stream(s->args.teacher, NULL, NULL);
    return fail_in(seen, "teacher");
}

void pass_match(pass *p, int entry, int layer, var *x, float loss_weight) {
    const distill_state *s = &p->distill;
    const forward_path *path = &p->m->parts->path;
    if (!x || !s->args.layers[layer]) return;
    for (int i = entry + 1; entry >= 0 && i < path->length; i++)
        if (path->layer[i] == layer) return;
    const float weight = loss_weight * s->args.hidden_weight / (float)s->layers;
    op_match(p->tape, x, hidden_of(p, layer, tensor_count(&x->value)), weight, &p->sums[SUM_HIDDEN]);
}

/* ---- before a pass ---- */

status pass_ask_teacher(pass *p, const batch *b) {
    const float weight = p->distill.args.teacher_weight;
    if (weight > 0 && !b->teacher) return fail("teacher_weight %g: the batch has no teacher", (double)weight);
    if (weight > 0) TRY(upload_column(p, b));
    if (p->distill.layers > 0) TRY(observe_teacher(p, b));
    p->distill.matching = p->distill.layers > 0;
    return STATUS_OK;
}
