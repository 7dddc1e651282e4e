/* A model: a config and a list of parameters. What one thread needs to run it is a pass (pass.h). */
#ifndef MOEC_NN_MODEL_H
#define MOEC_NN_MODEL_H

#include "comm/group.h"
#include "config/names.h"
#include "grad/arena.h"
#include "nn/config.h"

/* What a model is opened for decides what it has beside the form that products read. */
typedef enum model_use {
    MODEL_TRAIN,  /* float32 values and gradients */
    MODEL_VALUES, /* float32 values: to be packed, changed, compared */
    MODEL_RUN,    /* neither: matrices are only run */
    /* The same as fast as can be: matrices are codes that are multiplied in integers, and products round their inputs
     * to 16 bits (weight_packed in kernel_list.h). */
    MODEL_RUN_STORED,      /* what is stored as codes; floats stay floats */
    MODEL_RUN_8,           /* and floats become codes of 8 bits */
    MODEL_RUN_4,           /* all matrices of blocks become codes of 4 bits; embeddings and the head of 8 */
    MODEL_RUN_INPUTS_8 = 8 /* added to one of these three: most inputs to 8 bits */
} model_use;

static inline bool model_use_runs(model_use use) {
    return use >= MODEL_RUN;
}
static inline bool model_use_packs(model_use use) {
    return use > MODEL_RUN;
}

typedef struct model {
    model_config config;
    const kernels *k;
    model_use use;
    param **params; /* in the state dict's order */
    int param_count;
    arena values, gradients;
    weight_room *room; /* of the matrices of a model that is only run; NULL where layers come and go */
    arena_layout layout;
    comm_group spread;     /* of ranks that have its experts between them (spread.h) */
    arena other_gradients; /* of the experts here, what the other ranks' micro-batches make */
    arena guests;          /* values of experts that are away, while this rank has them all */
    const struct weight_source
        *layers;             /* not NULL: the matrices of blocks are there only while their layer runs (streamed.h) */
    struct hot_experts *hot; /* not NULL: of each layer's experts only some are in memory (hot_experts.h) */
    name_list frozen;        /* patterns of parameters that are not trained (freeze.h) */
    cache_type cache; /* how kv_caches of it keep keys and values (kernel.h); a setting, for those made from then on */
    int qat_levels;   /* > 0: products see quantised values of the matrices (late QAT); model_refresh applies it */
    struct model_parts *parts; /* parts.h */
} model;

/* Parameters are there, not initialised; frozen random weights have their values. */
status model_create(model **out, const model_config *config, const kernels *k, model_use use);
void model_destroy(model *m);
/* As the config's init fields say; gains and scales one, gates zero. Deterministic in seed and names. */
status model_init(model *m, uint64_t seed);
param *model_find(const model *m, const char *name);                 /* by moec's own name; NULL if there is none */
param *model_param(const model *m, int role, int layer, int expert); /* the same by what it is for; −1: none */
int64_t model_param_total(const model *m);                           /* without what is derived from a seed */
/* Rebuild what products read, after values changed (an optimiser step, loading). */
status model_refresh(model *m);
status model_refresh_trained(model *m); /* the same after a step of training: what is frozen has not changed */
void model_zero_grad(model *m);

/* ---- events that change the architecture ---- */

/* What happened to parameters, so that optimiser and EMA state can follow: called once for each new parameter with the
 * one that it is a copy of, or NULL. */
typedef void (*model_replaced)(void *context, const param *new_param, const param *old_param);
/* Turn the MLP of `layers` into `experts` copies with a router (normal, std init.router_std; the selection bias zero). On
 * failure the model can only be destroyed. */
status model_upcycle(model *m, const bool *layers, int experts, int top_k, uint64_t seed, model_replaced replaced,
                     void *context);
status model_set_looping(model *m, bool on);
/* A copy that computes the same and whose looped layers have scales for each pass (loop.scales), for a model that is only looked at or packed.
 * Refused where no layer loops, or has scales. */
status model_with_loop_scales(model **out, const model *m);
/* Experts a token goes to, from now on: for evaluating with another number than the training's. */
status model_set_top_k(model *m, int top_k);

/* ---- counting ---- */

/* Bytes of all experts' matrices as products read them (without the forms that a device makes of them when they are used). */
int64_t model_expert_bytes(const model *m);
/* The same of the matrices that a token passes through, as often as it does: layers that run twice count twice, of experts
 * as many as it goes to, and embeddings that are no head not at all, of which it reads a row. */
double model_token_bytes(const model *m);
/* Multiply-adds · 2 of one forward pass per token at context T, from the shapes (attention counted causal). */
double model_forward_flops(const model_config *c, int64_t T);
/* The same of one run of one layer, with its router; and of what lies before and behind the layers (hash projections, head). */
typedef struct layer_flops {
    double attention, mlp;
} layer_flops;
layer_flops model_layer_flops(const model_config *c, int layer, int64_t T);
double model_ends_flops(const model_config *c);
/* Of making the frozen random weights, once. */
double model_derive_flops(const model_config *c);

#endif
