/* The vocabulary of models: every differentiable op, with its formula.
 *
 * Shapes: B sequences of T tokens, N = B·T rows, d channels, E experts. An op returns NULL when memory is out or when an
 * input is NULL; the reason stands in tape_status. Gradients of parameters are added to param.grad. An op's backward
 * pass stands right above it. */
#ifndef MOEC_GRAD_OPS_H
#define MOEC_GRAD_OPS_H

#include "comm/group.h"
#include "grad/linear.h"
#include "grad/rotary.h"

/* Earlier tokens of the sequences of a pass, when generating: what is kept of them lies in caches, act [rows, width], of
 * which ops read the rows that are there and to which they append rows for the pass's own tokens. */
typedef struct layout_past {
    const cache_table *tables; /* host [B]: which rows are each one's, with room for the pass's own tokens */
    const int64_t *lengths;    /* host [B]: its tokens that are there; no op changes it */
    const bool
        *one_by_one; /* host [B]: its tokens attend as if each came in a pass of its own, to the last bit; NULL: none */
} layout_past;

/* Where the tokens of a pass stand; shared by the ops that look at neighbours. */
typedef struct layout {
    int64_t batch, length; /* B, T */
    const int64_t *starts; /* host [B + 1]: where each sequence's rows begin, if they differ in length; NULL: b · T */
    const layout_past *past;    /* NULL: nothing came before */
    const int32_t *first;       /* device int32 [N] as in kernel_list.h, or NULL */
    const int32_t *positions;   /* device int32 [N]: of each token in its sequence */
    const rotary_table *rotary; /* for at least those positions */
} layout;
static inline int64_t layout_start(const layout *l, int64_t b) {
    return l->starts ? l->starts[b] : b * l->length;
}

/* y[n] = table[ids[n]]; ids: device int32 [N]; → [N, d] */
var *op_embed(tape *t, param *table, const int32_t *ids, int64_t N);
/* y = l(x); x [N, in] → [N, out]. pass: of the layer, for a scale by passes */
var *op_linear(tape *t, var *x, const linear *l, int pass);
/* The same for `count` ≤ LINEAR_SEVERAL_MOST products of one x; where their weights are packed, x is rounded once for all. */
void op_linear_several(tape *t, var *x, const linear *const *l, int count, int pass, var **y);
/* y = x + z */
var *op_add(tape *t, var *x, var *z);
/* y = x + s ⊙ z; s is row `row` of a [rows, d] parameter (0 of one of [d]), or NULL for 1 */
var *op_scale_add(tape *t, var *x, var *z, param *s, int64_t row);
/* y = x + s z; s a scalar */
var *op_scalar_add(tape *t, var *x, var *z, param *s);
/* y = scale · weight ⊙ x / √(mean(x²) + eps); weight [d], or NULL for 1 */
var *op_rms_norm(tape *t, var *x, param *weight, float scale, float eps);
/* y = mix[0] ⊙ x + mix[1] ⊙ x0; mix [2, d] */
var *op_mix(tape *t, var *x, var *x0, param *mix);
/* y_t = x_t + σ(w) ⊙ (x_{t−1} − x_t) on the first |w| channels, within a document; cache: of |w| channels of x, where l
 * has a past; else NULL */
var *op_smear(tape *t, var *x, param *w, const layout *l, void *cache);
/* y = σ(g) ⊙ x + (1 − σ(g)) ⊙ w ⊙ skip; w, g are row `row` of [rows, d] parameters. g NULL: y = x + w ⊙ skip */
var *op_skip(tape *t, var *x, var *skip, param *w, param *g, int64_t row);
/* Per head of x [N, heads·head_dim]: RMS norm (where args say so) times weight [head_dim] (NULL: 1), rotation by position, gain
 * [heads] (NULL: 1). args: heads, head_dim, norm and eps; the rest comes from the other arguments. */
var *op_head_rotate(tape *t, var *x, param *weight, param *gain, const layout *l, const head_args *args);

/* Keys and values of earlier tokens, for generating; one a pass of a block. */
typedef struct attention_cache {
    void *k, *v; /* rows of cache_row_bytes(type) */
    cache_type type;
} attention_cache;
/* Causal attention; q [N, heads·head_dim], k, v [N, kv_heads·head_dim] → like q. cache: where l has a past, and then
 * l->first is NULL; else NULL. */
var *op_attention(tape *t, var *q, var *k, var *v, const layout *l, int heads, int kv_heads,
                  const attention_cache *cache);
/* XSA: y − (y·v̂) v̂ per head */
var *op_xsa(tape *t, var *y, var *v, int heads, int kv_heads);

/* A two-layer perceptron: proj(f(fc(x))); fc [h, d] ([2h, d] for SwiGLU), proj [d, h] */
typedef struct mlp {
    linear fc, proj;
    activation f;
} mlp;
var *op_mlp(tape *t, var *x, const mlp *m, int pass);

/* y = f(u); u [N, h] ([N, 2h] for SwiGLU) → [N, h] */
var *op_activate(tape *t, var *u, activation f);
/* Gain and gated chunks of a frozen up-projection's output u [N, h] (#1692): y[n, c] = gain[c] · softmax(x Wᵀ)[n, e(c)] · u[n, c].
 * gain [h] or NULL: 1; router W [E, d] or NULL: no chunks; chunk e has h/E channels, the first h mod E one more. */
var *op_chunk_gate(tape *t, var *u, param *gain, var *x, param *router);

/* A mixture of experts: what an expert's output is multiplied with. p = softmax(x Wᵀ) */
typedef enum gate_kind {
    GATE_PROBABILITY, /* the top_k experts' p as they are */
    GATE_RENORMALIZED, /* the same divided by their sum; top-1 keeps p, or its router would have no gradient (#2102, #660) */
    GATE_NORMALIZED, /* divided by their sum even for top-1, whose gate then is 1 (Mixtral, Qwen's norm_topk_prob) */
    GATE_SOFT,       /* p of every expert (#480, #660 soft); top_k is not used */
    GATE_STRAIGHT_THROUGH /* 1 for the largest p, 0 for the others, with the gradient of p for all: the first #660 */
} gate_kind;

/* What one pass through a router chose, in host memory for the time of the call. */
typedef struct moe_choice {
    int64_t tokens;        /* N */
    int experts, k;        /* E; choices a token: top_k, or E where every expert runs */
    const int32_t *chosen; /* [N, k]; −1 behind the choices of a token that goes to fewer (moe_args.most) */
    const float *gates;    /* [N, k] what the chosen experts' outputs are multiplied with */
    const float *probs;    /* [N, E] */
} moe_choice;
typedef void (*moe_observer)(void *context, const moe_choice *choice);

/* Experts whose weights are not always there. `with` brings those that are wanted [E], at most `most` of them, calls `products`, for
 * which they stay, and lets go of them; so it does where memory runs out in there, which it returns. */
typedef struct expert_residency {
    int most;
    status (*with)(void *context, const bool *wanted, void (*products)(void *job), void *job);
    void *context;
} expert_residency;

typedef struct moe_args {
    int experts, top_k;
    gate_kind gate;
    int pass;         /* of the layer */
    float aux_weight; /* Switch balance loss: aux_weight · E · Σ_e f_e p̄_e is added to the loss (0: none) */
    float z_weight;   /* router z-loss: z_weight · mean (log Σ exp logits)² is added to the loss (0: none) */
    float noise_std;  /* of normal noise on the logits, only in training (0: none) */
    uint64_t noise_seed;
    const param *bias;     /* [E], added to p for the choice alone (arXiv 2408.15664); NULL: none */
    const int32_t *labels; /* device [N]: the expert that each token is meant for, < 0: none; NULL: no token has one */
    float label_weight;    /* label_weight · mean over the N tokens of −log p[label] is added to the loss */
    bool
        by_label; /* tokens with a label go to that expert alone, with a gate of 1 (DEMix, arXiv 2108.05036); top_k 1, no bias */
    double *label_sums; /* device [LABEL_SUMS]: label_statistics are added there; NULL: not wanted */
    const float *mask;  /* device: experts that may be chosen (router_mask), for rows_a_mask rows each; NULL: all */
    int64_t rows_a_mask;
    const int32_t
        *most; /* device [N]: of the top_k, how many experts each token goes to; NULL: to all. Not when recording */
    double
        *sums; /* device [ROUTING_SUMS(E)]: what the pass did is added there (routing_statistics); NULL: not wanted */
    const expert_residency *residency; /* NULL: all weights are there. Not when recording */
    moe_observer observer;             /* sees every choice (NULL: nobody does, and nothing is copied) */
    void *observer_context;
    const comm_group
        *ranks; /* that have the experts between them, E / X each, and run this op together; NULL: all are here */
} moe_args;
/* y = Σ over the chosen experts e of gate_e · expert_e(x). Tokens are grouped by expert and only those rows are multiplied.
 * router [E, d]; experts [E] of one shape, without biases; the array lives as long as the pass. With `ranks` rows go to the rank that has
 * their expert and come back, forward and backward; none is dropped: a rank may get all rows of all ranks. y, its gradients and those of
 * each rank's micro-batch (param_grad_of) have the bits that they have without; not for gates that send every token to every expert. */
var *op_moe(tape *t, var *x, param *router, const mlp *experts, const moe_args *args);
/* y = σ(x0 · w) x, one gate a token; w [1, d] */
var *op_sigmoid_gate(tape *t, var *x, var *x0, param *w);

/* Head and loss in one, in blocks of rows, so that [N, V] logits never exist: nll[n] = −log softmax(cap·tanh(x Wᵀ / cap))[target].
 * targets: device int32 [N], < 0 ignored. *sum (device) += mean nll over the N rows; nll (host float32 [N]) may be NULL.
 * When recording, loss_weight · mean nll is what backward differentiates. */
status op_cross_entropy(tape *t, var *x, const linear *head, const int32_t *targets, float cap, float loss_weight,
                        double *sum, float *nll);
/* The same with a teacher: sums[0] (device) += mean nll, sums[1] += mean kl of softcap_distill (kernel_list.h) over the N rows, and
 * loss_weight · mean (ce_weight · nll + teacher_weight · kl) is what backward differentiates. */
status op_distill(tape *t, var *x, const linear *head, const int32_t *targets, const teacher_args *teacher, float cap,
                  float loss_weight, double *sums);
/* *sum (device) += Σ |x − target|² / Σ |target|² over the N rows; loss_weight times that is what backward differentiates. target: act
 * like x, which lives as long as the pass: another model's hidden states (Romero et al. 2015, FitNets; Jiao et al. 2020, TinyBERT). */
status op_match(tape *t, var *x, const void *target, float loss_weight, double *sum);
/* logits (host float32 [N, V]) = cap · tanh(x Wᵀ / cap); never recorded */
status op_logits(tape *t, var *x, const linear *head, float cap, float *logits);
/* The k largest log-probabilities of each row and the logarithm of what is left (kernel_list.h, top_log_probs), in blocks of rows: host
 * ids, log_probs [N, k], rest [N]; never recorded */
status op_top_log_probs(tape *t, var *x, const linear *head, float cap, int k, int32_t *ids, float *log_probs,
                        float *rest);

#endif
