/* A model: a config and a list of named parameters, run as calls of ops. */
#ifndef MOEC_NN_MODEL_H
#define MOEC_NN_MODEL_H

#include "nn/config.h"
#include "text/batch.h"

typedef struct model {
    model_config config;
    const kernels *k;
    tape *tape;
    param **params; /* in the state_dict's order; names are unique */
    int param_count;
    int qat_levels; /* > 0: products see quantised values of the matrices (late QAT); model_refresh applies it */
    /* Routing of the last pass, one entry a MoE layer's pass in path order. */
    moe_stats routing[MODEL_MAX_PATH];
    int routing_layer[MODEL_MAX_PATH];
    int routing_count;
    /* Sees what every router chooses, in path order (NULL: nobody): the pass is entry routing_count - 1 of routing_layer. */
    moe_observer observer;
    void *observer_context;
    double aux;                    /* of the last pass: the weighted router losses; a looped layer's last pass counts */
    struct model_scratch *scratch; /* device copies of the ids */
} model;

/* Parameters are allocated, not initialised; frozen random weights have their values. */
status model_create(model **out, const model_config *config, const kernels *k);
void model_destroy(model *m);
/* As the config's init fields say; gains and scales one, gates zero. Deterministic in seed and names. */
status model_init(model *m, uint64_t seed);
param *model_find(const model *m, const char *name);                 /* NULL if there is none */
param *model_param(const model *m, int role, int layer, int expert); /* the same by what it is for; −1: none */
int64_t model_param_total(const model *m);                           /* without what is derived from a seed */
/* Rebuild what products read, after values changed (an optimiser step, loading). */
status model_refresh(model *m);
void model_zero_grad(model *m);

/* Losses of a pass. */
typedef struct model_loss {
    double ce;  /* mean cross-entropy over the batch, nats a token */
    double aux; /* the weighted auxiliary losses */
} model_loss;

/* Forward and backward: adds loss_weight · d(ce + aux) / d parameter to the gradients. */
status model_train_step(model *m, const batch *b, float loss_weight, model_loss *loss);
/* Forward only. nll: host [B, T] or NULL. */
status model_evaluate(model *m, const batch *b, model_loss *loss, float *nll);
/* logits: host [B, T, V] */
status model_logits(model *m, const batch *b, float *logits);
/* Forward only, with an observer of every product's input (tape.h); targets are not needed. */
status model_observe(model *m, const batch *b, tape_observer observer, void *context);

/* ---- generating ---- */
typedef struct kv_cache kv_cache; /* keys, values and smear carries of every pass of every block */
status kv_cache_create(kv_cache **out, const model *m, int64_t batch, int64_t capacity);
void kv_cache_destroy(kv_cache *c);
int64_t kv_cache_length(const kv_cache *c);
void kv_cache_reset(kv_cache *c);
/* Append ids [B, count] and return the logits of the last one, host [B, V]. */
status model_decode(model *m, kv_cache *c, const int32_t *ids, int64_t count, float *logits);

/* ---- events that change the architecture ---- */
/* What happened to parameters, so that optimiser and EMA state can follow: called once for each new parameter with the
 * one that it is a copy of, or NULL. */
typedef void (*model_replaced)(void *context, const param *new_param, const param *old_param);
/* Turn the MLP of `layers` into `experts` copies with a router (normal, std router_init_std; the selection bias zero). */
status model_upcycle(model *m, const bool *layers, int experts, int top_k, uint64_t seed, model_replaced replaced,
                     void *context);
status model_set_looping(model *m, bool on);
/* Experts a token goes to, from now on: for evaluating with another number than the training's. */
status model_set_top_k(model *m, int top_k);
/* Balancing without a loss (arXiv 2408.15664), once after each training step: b_e += moe_bias_rate · sign(mean load − load_e),
 * the load of an expert being its share of the tokens in the model_train_steps since the last call. Does nothing where the
 * config has no moe_bias_rate. */
void model_balance_experts(model *m);

/* ---- counting ---- */
/* Multiply-adds · 2 of one forward pass per token at context T, from the shapes (attention counted causal). */
double model_forward_flops(const model_config *c, int64_t T);

#endif
