#include "eval/secretary.h"

#include "base/progress.h"
#include "nn/plan.h"
#include <string.h>

enum { BATCH_TOKENS = 2048 };

typedef struct question {
    int last_pass[MODEL_MAX_LAYERS]; /* of layers whose routers are asked; -1: of the others */
    int last;                        /* the last of those layers */
    double *sums;                    /* [E] */
    int64_t answers;                 /* (token, router) pairs that were summed */
} question;

static void observe(void *context, int layer, int pass, const moe_choice *choice) {
    question *q = context;
    if (q->last_pass[layer] != pass) return;
    for (int64_t n = 0; n < choice->tokens; n++)
        for (int e = 0; e < choice->experts; e++) q->sums[e] += (double)choice->probs[n * choice->experts + e];
    q->answers += choice->tokens;
}

static status ask_which(question *q, const model_config *c, const bool *layers) {
    const forward_path path = model_path(c);
    q->last = -1;
    for (int layer = 0; layer < MODEL_MAX_LAYERS; layer++) {
        const bool routed = layer < c->num_layers && model_config_is_moe(c, layer),
                   asked = layers ? layers[layer] : routed;
        q->last_pass[layer] = -1;
        if (asked && !routed) return fail_usage("layers: expected layers with experts, found %d", layer);
        if (asked) q->last = layer;
        for (int i = 0; asked && i < path.length; i++)
            if (path.layer[i] == layer) q->last_pass[layer] = path.pass[i];
    }
    return q->last >= 0 ? STATUS_OK : fail("expected a model with experts, found a dense one");
}

/* Whole sequences many at a time; what is left behind them is one of its own. */
static status run(pass *p, const question *q, const int32_t *ids, int64_t count, int64_t longest) {
    const int64_t most = longest < BATCH_TOKENS ? BATCH_TOKENS / longest : 1;
    for (int64_t at = 0; at < count;) {
        const int64_t left = count - at, whole = left / longest, sequences = whole < most ? whole : most;
        const batch b = {
            .batch = sequences > 0 ? sequences : 1, .length = sequences > 0 ? longest : left, .input_ids = ids + at};
        if (interrupt_requested()) return STATUS_INTERRUPTED;
        TRY(pass_observe(p, &b, q->last));
        at += b.batch * b.length;
    }
    return STATUS_OK;
}

status secretary_ask(pass *p, const bool *layers, const int32_t *ids, int64_t count, int64_t longest,
                     double *probabilities) {
    const model_config *c = &pass_model(p)->config;
    question q = {.sums = probabilities};
    TRY(ask_which(&q, c, layers));
    if (count < 1) return fail("expected a text of at least one token, found none");
    memset(probabilities, 0, (size_t)c->moe.experts * sizeof *probabilities);
    pass_watch_routing(p, observe, &q);
    const status s = run(p, &q, ids, count, longest);
    pass_watch_routing(p, NULL, NULL);
    TRY(s);
    for (int e = 0; e < c->moe.experts; e++) probabilities[e] /= (double)q.answers;
    return STATUS_OK;
}

int secretary_choice(const double *probabilities, int experts) {
    int best = 0;
    for (int e = 1; e < experts; e++)
        if (probabilities[e] > probabilities[best]) best = e;
    return best;
}
