/* A dense model's MLPs become experts (Komatsuzaki et al. 2023, sparse upcycling), without the models being in memory: the
 * mixture is a weight source made of its parents'.
 *
 * In each chosen layer the MLP f becomes E routed experts and S always-on ones beside them, all copies of f, whose output
 * projections are scaled so that with gates g and k experts chosen
 *     routed · Σ_{e chosen} g_e f(x) + shared · S f(x) = f(x),   routed = ½ / Σ g,  shared = ½ / S   (routed = 1 / Σ g without S).
 * and shared = 1 / S where the shared ones have a gate σ(w · x), which is ½ before it knows anything.
 * Σ g is 1 where gates are divided by their sum, and k / E where they are probabilities and the router knows nothing yet: where
 * E / k and S are powers of two nothing is rounded, whatever the type.
 *
 * Drop-upcycling (Nakamura et al. 2025, arXiv 2502.19261): of each routed expert's hidden units a part is drawn anew, its rows of
 * gate and up and its column of down together, normal with the mean and deviation that those weights had in the original.
 *
 * Several parents of one shape, fine-tuned apart, give their MLPs to one expert each in turn, and everything else is their mean or
 * the first one's (branch-train-mix, Sukhbaatar et al. 2024). */
#ifndef MOEC_SURGERY_UPCYCLE_H
#define MOEC_SURGERY_UPCYCLE_H

#include "nn/weight_source.h"

enum { UPCYCLE_MAX_SHARED = 64 };

typedef struct upcycle_options {
    bool layers[MODEL_MAX_LAYERS]; /* which MLPs; none: all */
    int experts, shared;           /* E ≥ 1, S from 0 to UPCYCLE_MAX_SHARED */
    int top_k;                     /* k */
    gate_kind gate;                /* GATE_NORMALIZED, GATE_RENORMALIZED (top-1 keeps p) or GATE_PROBABILITY */
    double drop;                   /* part of each routed expert's hidden units that is drawn anew, 0 … 1 */
    bool average;                  /* of what is not an expert, over the parents; else the first one's */
    bool scaled;                   /* outputs scaled as above; else copies as they are (mergekit) */
    bool shared_gate;              /* the shared MLP's output × σ(its gate · x) (Qwen2-MoE) */
    label_list names;              /* of the experts; none, or one for each */
    uint64_t seed;
} upcycle_options;

/* A router's rows for each upcycled layer (NULL for the other layers), and behind them the shared MLP's gate where there is
 * one: [layers][E + gate, d]. */
typedef struct router_rows {
    int layers, experts; /* E */
    bool gate;
    int64_t d;
    float **rows;
} router_rows;
int router_rows_count(const router_rows *r); /* E + gate */
router_rows router_rows_create(const model_config *c, const upcycle_options *o);
void router_rows_free(router_rows *r);
/* Normal with this deviation. */
void router_rows_draw(router_rows *r, double std, uint64_t seed);

typedef struct upcycled upcycled;
/* Parents of one shape (compared, the first that differs is named), routers taken as they are; all of them outlive the mixture. */
status upcycle_begin(upcycled **out, const weight_source *const *parents, int parent_count,
                     const upcycle_options *options, const router_rows *routers);
void upcycle_end(upcycled *u); /* NULL is fine */
const weight_source *upcycle_weights(const upcycled *u);
/* The config of the mixture that these options make of a parent; checks both. */
status upcycle_config_of(model_config *out, const model_config *parent, const upcycle_options *options);

#endif
