/* A pass: what one thread needs to run a model, and what it finds out on the way. Tape, ids, positions, routing and observers
 * belong to the pass, so several may be under way on one model, in several threads; only one of them may train it. */
#ifndef MOEC_NN_PASS_H
#define MOEC_NN_PASS_H

#include "comm/comm.h"
#include "nn/kv_cache.h"
#include "text/batch.h"

typedef struct pass pass;
status pass_create(pass **out, model *m);
void pass_destroy(pass *p); /* NULL is fine */
model *pass_model(const pass *p);
size_t pass_peak_bytes(const pass *p);
/* Training keeps only each block's input and runs blocks again in backward: about a third more arithmetic, and memory for one
 * block's activations instead of all. */
void pass_set_recompute(pass *p, bool on);

/* ---- whole sequences ---- */

/* Forward and backward: adds loss_weight · d(ce + aux) / d parameter to the model's gradients, and to the statistics; with what
 * pass_distill asks for, if anything. Waits for nothing. */
status pass_train(pass *p, const batch *b, float loss_weight);
/* Forward only; adds to the statistics. nll: host [B, T] or NULL. */
status pass_evaluate(pass *p, const batch *b, float *nll);
/* logits: host [B, T, V] */
status pass_logits(pass *p, const batch *b, float *logits);
/* What a teacher says of each target (batch.h): host ids, log_probs [B, T, k], rest [B, T]; 1 ≤ k < V. Values are not checked. */
status pass_top_log_probs(pass *p, const batch *b, int k, int32_t *ids, float *log_probs, float *rest);
/* Forward only, for observers; targets are not needed. until_layer: the last layer that is of interest, −1 for all and the
 * head. */
status pass_observe(pass *p, const batch *b, int until_layer);

/* ---- which experts a token goes to, beside what routers say ---- */

/* Labels: a token of domain d (batch.domain) is meant for expert expert_of[d]. In looped layers the last pass is taught. */
typedef struct label_args {
    const int *expert_of; /* [domains]; −1: none */
    int domains;
    float
        weight; /* of the routers' cross-entropy against labels, a mean over the tokens and over the layers that are taught */
    const bool *layers; /* [MODEL_MAX_LAYERS]: that are taught; NULL: all with experts */
    bool overrule;      /* tokens with a label go to their expert alone, in every layer (op_moe's by_label) */
} label_args;
/* From now on, where batches have domains; NULL: no labels. The arrays are not copied. */
void pass_use_labels(pass *p, const label_args *args);
/* Only these experts are chosen from now on: allowed [sequences, E], a row for each sequence of a batch or one row for all; NULL: every
 * expert. A row with none is an error; so is, from then on, a batch of another number of sequences than several rows are of. */
status pass_allow_experts(pass *p, const bool *allowed, int64_t sequences);

/* ---- statistics, on the device until they are read ---- */

/* One pass through a router. */
typedef struct routing_entry {
    int layer, pass; /* pass: of the layer, from 0 */
    int experts;     /* E */
    const double
        *share; /* [E] of the (token, choice) pairs that went to expert e; soft gates: of the tokens that prefer it */
    const double *first; /* [E] of the tokens whose first choice is e */
    double entropy;      /* mean over tokens of the router's entropy, nats */
    double balance;      /* E · Σ f_e p̄_e: 1 where all is even */
    double z;            /* mean (log Σ exp logits)²; 0 where z_weight is 0 */
    double labelled;     /* share of the tokens that have a label */
    double label_ce;     /* of those: mean −log p[label], nats */
    double label_hits;   /* of those: share whose label is the most probable expert */
} routing_entry;

/* Means over the batches since pass_clear. */
typedef struct pass_statistics {
    int64_t batches;
    double ce;     /* mean cross-entropy, nats a token */
    double aux;    /* the weighted router losses; a looped layer's last pass counts */
    double kl;     /* τ² D and normalised distance of hidden states, not weighted (pass_distill); 0 where */
    double hidden; /* nothing counts them */
    int routed;
    const routing_entry *routing; /* in path order */
} pass_statistics;

void pass_clear(pass *p);

/* The batches of a step when ranks take turns: of `batches` in all, number i is rank i % ranks's. */
typedef struct pass_turns {
    comm *ranks;
    int64_t batches;
} pass_turns;
/* From the next pass_clear on what each training batch finds is kept by itself, so that the sum over a step's batches is formed in their
 * order, whoever ran them. */
void pass_take_turns(pass *p, pass_turns turns);
/* For all ranks, before a step's pass_read: everyone gets what the others' batches found. */
status pass_meet(pass *p);
/* Valid until the next call with p. */
const pass_statistics *pass_read(pass *p);

/* Balancing without a loss (arXiv 2408.15664), once after each training step: b_e += bias_rate · sign(mean load − load_e), the
 * load of an expert being its share of the tokens. Does nothing where the config has no bias_rate. */
void model_balance_experts(model *m, const pass_statistics *s);

/* ---- learning from a teacher ---- */

/* What pass_train's loss is then, besides aux: ce_weight · ce + teacher_weight · kl + hidden_weight · hidden.
 *   kl      of what batch.teacher says of each target: softcap_distill in kernel_list.h has the formula
 *   hidden  mean over the chosen layers l of Σ_n |x_l − t_l|² / Σ_n |t_l|², x_l [N, d] the stream that block l gets when it runs for
 *           the last time, or what the final norm gets (l = num_layers), t_l the same of the teacher on the same tokens (Romero
 *           et al. 2015; the teacher is as wide as the student, so there is no map between the two) */
typedef struct distill_args {
    float ce_weight;      /* 1 without a teacher */
    float teacher_weight; /* > 0: every batch has a teacher's column */
    float temperature;    /* τ > 0 */
    bool reverse;         /* KL(student ‖ teacher) */
    float hidden_weight;
    pass *teacher; /* of another model on this device, run forward only; NULL without hidden_weight */
    bool layers[MODEL_MAX_LAYERS + 1]; /* some up to num_layers */
} distill_args;
/* From now on; NULL: the plain loss again. A teacher that does not fit is an error. */
status pass_distill(pass *p, const distill_args *args);
/* That hidden states can be compared: as many layers and channels; else one line that says both. */
status model_teacher_fits(const model_config *student, const model_config *teacher);

/* ---- observers ---- */

/* Sees what every router chooses, in path order (NULL: nobody). */
typedef void (*routing_observer)(void *context, int layer, int pass, const moe_choice *choice);
void pass_watch_routing(pass *p, routing_observer observer, void *context);
/* Sees the stream x [N, d] (device act) that each block gets, in path order, and at last, as that of layer num_layers, what
 * the final norm gets (NULL: nobody). */
typedef void (*stream_observer)(void *context, int layer, int pass, const void *x, int64_t N);
void pass_watch_stream(pass *p, stream_observer observer, void *context);
/* Sees the input of every product (tape.h; NULL: nobody). */
void pass_watch_products(pass *p, tape_observer observer, void *context);
/* Sees the gradient of every product's output, and of what tables gave, in pass_train (tape.h; NULL: nobody). With it pass_train also
 * runs on a model that has no gradients of its own. */
void pass_watch_gradients(pass *p, gradient_observer observer, void *context);

/* Sees how far the backward of pass_train is: a stage (stages.h), when the gradients of this one and of those before it are final; −1
 * often in between. All have come when pass_train returns (NULL: nobody). */
typedef void (*backward_observer)(void *context, int stage);
void pass_watch_backward(pass *p, backward_observer observer, void *context);

/* ---- generating ---- */

/* Which experts a sequence's tokens may go to and to how many of them; all 0: as the model has it. Of soft gates only
 * `allowed` counts. */
typedef struct expert_control {
    const bool *allowed;    /* [E]: only these are chosen, at least one; NULL: all */
    int top_k;              /* experts a token goes to, up to E; 0: the model's */
    const int *layer_top_k; /* [layers of the model]: of one layer, 0: top_k; NULL: top_k everywhere */
} expert_control;
/* How many experts a token of this layer goes to, whose usual number is `usual`. c NULL: usual. */
int expert_control_top_k(const expert_control *c, int layer, int usual, int experts);

/* New tokens of one sequence. */
typedef struct decode_span {
    int64_t sequence, count;       /* ≥ 1; a sequence occurs once */
    int64_t logits;                /* of so many of its last tokens the logits are wanted, up to count; 0: none */
    bool one_by_one;               /* they attend as if each came in a pass of its own */
    const expert_control *experts; /* NULL: as the model has it */
} decode_span;
/* Append to each span's sequence its tokens, ids [Σ count], all in one pass: products take the rows of all spans together,
 * attention each sequence's own. logits: host [Σ logits, V], span by span. What a row gets does not depend on the other
 * spans as far as the kernels see to it: those of packed codes do, and those of dense weights with AVX-512; of attention,
 * a span of up to 4 tokens and a longer one may differ in the last bits, unless both are read one_by_one. On failure,
 * where the cache lacks blocks, too, the sequences are as before. */
status pass_decode_spans(pass *p, kv_cache *c, const decode_span *spans, int64_t span_count, const int32_t *ids,
                         float *logits);
/* The same for all sequences of the cache, ids [B, count], and the last tokens' logits, host [B, V]. */
status pass_decode(pass *p, kv_cache *c, const int32_t *ids, int64_t count, float *logits);

#endif
