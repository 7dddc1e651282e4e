#include "train/routing_watch.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Soft and straight-through gates run every expert in training; their share tells which one a token prefers. */
static int choices(const model_config *c) {
    return c->moe.gate == GATE_SOFT || c->moe.gate == GATE_STRAIGHT_THROUGH ? 1 : c->moe.top_k;
}

/* Less than this of the tokens is nearly none. */
static double low(const model_config *c) {
    return fmin(ROUTING_LOW, 0.25 * choices(c) / c->moe.experts);
}

expert_load routing_load(const model_config *c, double share) {
    if (choices(c) >= c->moe.experts) return LOAD_FINE;
    double tokens = share * choices(c);
    if (tokens > ROUTING_HIGH) return LOAD_HIGH;
    return tokens < low(c) ? LOAD_LOW : LOAD_FINE;
}

int routing_pass_number(const int *layers, int index) {
    int number = 1;
    for (int i = 0; i < index; i++) number += layers[i] == layers[index];
    return number;
}

static bool same_passes(const routing_watch *w, const step_record *s) {
    return w->passes == s->routing_count &&
           memcmp(w->layer, s->routing_layer, (size_t)w->passes * sizeof *w->layer) == 0;
}

static void warn_of(const routing_watch *w, const model_config *c, int pass, int expert, double tokens,
                    routing_warn warn, void *context) {
    char line[200], which[32] = "";
    bool looped = false, high = w->load[pass][expert] == LOAD_HIGH;
    for (int i = 0; i < w->passes; i++) looped |= i != pass && w->layer[i] == w->layer[pass];
    if (looped) snprintf(which, sizeof which, ", pass %d", routing_pass_number(w->layer, pass));
    snprintf(line, sizeof line,
             "warning: blocks.%d.mlp%s: expert %d has taken %s %.3g %% of the tokens for %d steps (now %.1f %%)",
             w->layer[pass], which, expert, high ? "over" : "under", 100 * (high ? ROUTING_HIGH : low(c)),
             ROUTING_WATCH_STEPS, 100 * tokens);
    warn(context, line);
}

void routing_watch_step(routing_watch *w, const model_config *c, const step_record *s, routing_warn warn,
                        void *context) {
    if (!same_passes(w, s)) {
        *w = (routing_watch){.passes = s->routing_count};
        memcpy(w->layer, s->routing_layer, (size_t)w->passes * sizeof *w->layer);
    }
    for (int i = 0; i < w->passes; i++)
        for (int e = 0; e < s->experts; e++) {
            double share = (double)s->routing[i].share[e];
            expert_load load = routing_load(c, share);
            bool goes_on = load != LOAD_FINE && load == w->load[i][e];
            w->load[i][e] = load;
            w->steps[i][e] = goes_on ? w->steps[i][e] + 1 : load != LOAD_FINE;
            if (w->steps[i][e] == ROUTING_WATCH_STEPS) warn_of(w, c, i, e, share * choices(c), warn, context);
        }
}

void routing_summary(const step_record *s, const model_config *c, char text[ROUTING_SUMMARY]) {
    double least = 1, most = 0, entropy = 0;
    text[0] = '\0';
    if (s->routing_count == 0) return;
    for (int i = 0; i < s->routing_count; i++) {
        entropy += (double)s->routing[i].entropy / s->routing_count;
        for (int e = 0; e < s->experts; e++) {
            least = fmin(least, (double)s->routing[i].share[e]);
            most = fmax(most, (double)s->routing[i].share[e]);
        }
    }
    snprintf(text, ROUTING_SUMMARY, "experts take %.0f to %.0f %% of the tokens, entropy %.2f of %.2f nats",
             100 * least * choices(c), 100 * most * choices(c), entropy, log(s->experts));
}
