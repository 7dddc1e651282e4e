#include "train/routing_watch.h"

#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

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

void routing_watch_free(routing_watch *w) {
    for (int i = 0; i < w->count; i++) {
        free(w->passes[i].load);
        free(w->passes[i].steps);
    }
    free(w->passes);
    *w = (routing_watch){0};
}

static bool same_passes(const routing_watch *w, const step_record *s) {
    if (w->count != s->routed) return false;
    for (int i = 0; i < w->count; i++) {
        const watched_pass *a = &w->passes[i];
        const routing_entry *b = &s->routing[i];
        if (a->layer != b->layer || a->pass != b->pass || a->experts != b->experts) return false;
    }
    return true;
}

static void begin(routing_watch *w, const step_record *s) {
    routing_watch_free(w);
    w->count = s->routed;
    w->passes = xcalloc((size_t)w->count + 1, sizeof *w->passes);
    for (int i = 0; i < w->count; i++) {
        const routing_entry *e = &s->routing[i];
        w->passes[i] = (watched_pass){.layer = e->layer, .pass = e->pass, .experts = e->experts};
        w->passes[i].load = xcalloc((size_t)e->experts, sizeof *w->passes[i].load);
        w->passes[i].steps = xcalloc((size_t)e->experts, sizeof *w->passes[i].steps);
    }
}

static void warn_of(const routing_watch *w, const model_config *c, const watched_pass *p, int expert, double tokens,
                    routing_warn warn, void *context) {
    char line[200], which[32] = "";
    bool looped = false, high = p->load[expert] == LOAD_HIGH;
    for (int i = 0; i < w->count; i++) looped |= &w->passes[i] != p && w->passes[i].layer == p->layer;
    if (looped) snprintf(which, sizeof which, ", pass %d", p->pass + 1);
    snprintf(line, sizeof line,
             "warning: blocks.%d.mlp%s: expert %d has taken %s %.3g %% of the tokens for %d steps (now %.1f %%)",
             p->layer, which, expert, high ? "over" : "under", 100 * (high ? ROUTING_HIGH : low(c)),
             ROUTING_WATCH_STEPS, 100 * tokens);
    warn(context, line);
}

void routing_watch_step(routing_watch *w, const model_config *c, const step_record *s, routing_warn warn,
                        void *context) {
    if (!same_passes(w, s)) begin(w, s);
    for (int i = 0; i < w->count; i++) {
        watched_pass *p = &w->passes[i];
        for (int e = 0; e < p->experts; e++) {
            const double share = s->routing[i].share[e];
            const expert_load load = routing_load(c, share);
            const bool goes_on = load != LOAD_FINE && load == p->load[e];
            p->load[e] = load;
            p->steps[e] = goes_on ? p->steps[e] + 1 : load != LOAD_FINE;
            if (p->steps[e] == ROUTING_WATCH_STEPS) warn_of(w, c, p, e, share * choices(c), warn, context);
        }
    }
}

void routing_summary(const step_record *s, const model_config *c, char text[ROUTING_SUMMARY]) {
    double least = 1, most = 0, entropy = 0;
    text[0] = '\0';
    if (s->routed == 0) return;
    for (int i = 0; i < s->routed; i++) {
        const routing_entry *r = &s->routing[i];
        entropy += r->entropy / s->routed;
        for (int e = 0; e < r->experts; e++) {
            least = fmin(least, r->share[e]);
            most = fmax(most, r->share[e]);
        }
    }
    snprintf(text, ROUTING_SUMMARY, "experts take %.0f to %.0f %% of the tokens, entropy %.2f of %.2f nats",
             100 * least * choices(c), 100 * most * choices(c), entropy, log(s->routing[0].experts));
}
