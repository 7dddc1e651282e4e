/* The inside of a pass; private to nn/. */
#ifndef MOEC_NN_PASS_STATE_H
#define MOEC_NN_PASS_STATE_H

#include "nn/parts.h"
#include "nn/pass.h"

/* Sums of losses, before those of the routers. */
enum { SUM_CE, SUM_KL /* behind SUM_CE, as op_distill has it */, SUM_HIDDEN, LOSS_SUMS };

/* What a pass keeps to learn from a teacher (distill.c). */
typedef struct distill_state {
    distill_args args;
    int layers;    /* that are compared */
    bool matching; /* this pass compares them */
    int32_t *ids;  /* device [tokens, k] */
    float *log_probs, *rest;
    int64_t listed, tokens; /* that there is room for in these: N · k, N */
    void *hidden;           /* device act [layers, N, d]: the teacher's */
    int64_t hidden_elements;
} distill_state;

/* What expert_control comes to for the tokens that are being run (mixture.c). */
typedef struct controlled_experts {
    bool on;
    float *mask;      /* device [capacity, E] */
    int32_t *most;    /* device [layers, capacity]: experts of each token */
    int *most_of_any; /* host [layers] */
    int64_t capacity, rows;
} controlled_experts;

struct pass {
    model *m;
    tape *tape;

    /* of the tokens that are being run */
    int32_t *ids, *targets, *first, *positions, *bigram_ids, *trigram_ids, *labels; /* device [capacity] */
    int32_t *host; /* host [capacity], to prepare them */
    int64_t capacity;

    /* which experts tokens go to */
    label_args label;  /* domains 0: no labels */
    bool labelled;     /* the tokens that are being run have labels */
    float *mask;       /* device [mask_rows, E]; NULL: every expert may be chosen */
    int64_t mask_rows; /* 1: for all sequences */
    int most_allowed;  /* experts of a row of it */
    controlled_experts controlled;

    /* statistics: device doubles, of which entry i of the path has those from sum_of[i] on (−1: no router); rows of sum_count of them
     * where batches are kept apart, of which `sums` is the one that is added to */
    double *sums, *all_sums, *host_sums;
    int64_t rows;
    pass_turns turns;
    int64_t sum_count, *sum_of; /* [entries] */
    int entries;                /* the path's length when they were laid out */
    int64_t batches;            /* since pass_clear */
    bool counts;                /* this pass adds to them */
    bool recompute;             /* blocks are run again in backward */
    pass_statistics statistics;
    routing_entry *routing;

    distill_state distill;

    /* observers */
    routing_observer routing_observer;
    void *routing_context;
    stream_observer stream_observer;
    void *stream_context;
    tape_observer product_observer;
    void *product_context;
    gradient_observer gradient_observer;
    void *gradient_context;
    backward_observer backward_observer;
    void *backward_context;
    int entry; /* of the path, that is being run */
};

/* ---- a kv_cache (kv_cache.c) ---- */

/* What generating keeps of the tokens of one pass of a block: caches as in layout_past. */
typedef struct pass_cache {
    attention_cache attention;
    void *smear; /* of smear_width channels before SmearGate; NULL: the block has none */
} pass_cache;

/* The same of what comes before the blocks. */
typedef struct stem_cache {
    void *smear; /* of d: embeddings before smear.gate; NULL */
} stem_cache;

/* Everything of a token is a row of its own in each array. */
struct kv_cache {
    const model *m;
    int64_t sequences, capacity;
    int64_t block, blocks; /* tokens of a block; blocks of the pool, whose arrays have block · blocks rows */
    int64_t table_size;    /* blocks of a whole sequence */
    cache_type type;
    int64_t *lengths;      /* [sequences]: tokens */
    int64_t *held;         /* [sequences]: blocks of its table, as many as its tokens fill or reserved beyond those */
    int32_t *tables;       /* [sequences, table_size] */
    int32_t *ids;          /* [sequences, capacity] */
    int32_t *holders;      /* [blocks]: sequences that have it in their tables */
    int32_t *unused;       /* [free]: blocks that nobody holds, the next one to be taken last */
    int64_t free, shared;  /* shared: blocks that several hold */
    uint64_t *marks, mark; /* [blocks]: those with this mark were counted */
    stem_cache stem;
    int count; /* passes of the forward path */
    pass_cache *passes;
};
cache_table kv_cache_table(const kv_cache *c, int64_t sequence);

/* One pass over tokens: from ids to the final norm's output. starts, past, earlier, stem and passes (one entry a pass of the path)
 * when generating, else NULL. */
typedef struct pass_input {
    int64_t batch, length;
    const int64_t *starts;                         /* as in layout */
    const int32_t *ids, *targets, *first, *domain; /* host [B, T]; all but ids may be NULL */
    const layout_past *past;
    const int32_t *const *earlier; /* host [B]: ids of each one's earlier tokens */
    const stem_cache *stem;
    const pass_cache *passes;
    const expert_control *const *experts; /* host [B], NULL for a sequence without; NULL: none has one */
    float loss_weight;
    int until_layer; /* stop behind this layer's last pass; −1: run all */
} pass_input;

static inline int64_t input_start(const pass_input *in, int64_t sequence) {
    return in->starts ? in->starts[sequence] : sequence * in->length;
}
static inline int64_t input_rows(const pass_input *in) {
    return input_start(in, in->batch);
}
/* Tokens of a sequence that came before. */
static inline int64_t input_past(const pass_input *in, int64_t sequence) {
    return in->past ? in->past->lengths[sequence] : 0;
}

/* NULL where memory is out or an id is beyond the vocabulary; the reason is in the tape's status. */
var *pass_forward(pass *p, const pass_input *in);
/* Token ids, targets, positions and hashes to the device; refuses ids and targets beyond the vocabulary. */
status pass_upload(pass *p, const pass_input *in);
/* Forget the pass before, of whatever kind. counts: this one adds to the statistics. */
void pass_begin(pass *p, bool training, bool counts);

/* What the block's MLP, of whatever kind, makes of the normalised stream n, in entry `entry` of the path. */
var *pass_mlp(pass *p, const block *b, var *n, const pass_input *in);
/* Before it: what in->experts asks for, to the device. */
status pass_control_experts(pass *p, const pass_input *in);
void pass_free_control(pass *p);

/* ---- learning from a teacher (distill.c) ---- */

/* Before a training pass: the batch's teacher to the device, checked, and the teacher's hidden states. */
status pass_ask_teacher(pass *p, const batch *b);
/* Head and loss, in training with the teacher's. nll: host [B, T] or NULL. */
status pass_head_loss(pass *p, var *x, const batch *b, float loss_weight, float *nll);
/* x is what block `layer` gets in entry `entry` of the path, or the final norm (entry −1, layer num_layers). */
void pass_match(pass *p, int entry, int layer, var *x, float loss_weight);
void pass_free_distill(pass *p);

/* Lay the statistics out for the model's path, all zero. */
status pass_lay_out_statistics(pass *p);
void pass_free_statistics(pass *p);
/* A training batch begins: what it finds goes to its own row, where batches are kept apart. */
void pass_next_sums(pass *p);
/* Where an entry's router adds what it did; NULL where nothing is counted. */
double *pass_sums(const pass *p, int entry);
/* How much an entry's router losses count: once a layer, in its last pass (as the scripts' do, which keep only the newest), and
 * divided by the number of mixture layers where the mean counts. */
float pass_router_weight(const pass *p, int entry);

/* The same of the cross-entropy against labels: where its layer is taught, in its last pass, by the number of those layers. */
float pass_label_weight(const pass *p, int entry);
double *pass_label_sums(const pass *p, int entry); /* as pass_sums; NULL where the tokens have no labels, too */

#endif
