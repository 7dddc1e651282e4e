#include "train/config_table.h"
#include "base/nearest.h"
#include <string.h>

static const char *const dtype_names[] = {"auto", "f32", "bf16", NULL};
static const char *const average_names[] = {"none", "ema", "swa", NULL};
static const char *const start_words[] = {"warmdown", NULL}; /* START_AT_WARMDOWN */
static const char *const kind_names[] = {"upcycle", "loop", "qat", NULL};
_Static_assert(sizeof(event_kind) == sizeof(int) && sizeof(average_kind) == sizeof(int), "FIELD_CHOICE stores an int");

#define FIELD(section, type, member, least, most, meaning)                                                             \
    { section, #member, type, offsetof(run_config, member), least, most, NULL, meaning }

enum { DATA_FIELDS = 3 }; /* the model's fields come after these */

static const config_field own_fields[RUN_CONFIG_OWN_FIELDS] = {
    FIELD("data", FIELD_STRING, run, 1, 0, "folder of the run: checkpoints, log.jsonl, config.yaml"),
    FIELD("data", FIELD_STRING, data, 1, 0, "folder made by `moec data`, or a shard pattern"),
    FIELD("data", FIELD_STRING, tokenizer, 0, 0, "SentencePiece .model; empty: the one in data"),

    FIELD("train", FIELD_INT64, batch, 1, 65536, "sequences a micro-batch"),
    FIELD("train", FIELD_INT64, seq, 1, 1 << 20, "tokens a sequence"),
    FIELD("train", FIELD_INT64, accumulate, 1, 65536, "micro-batches a step"),
    FIELD("train", FIELD_INT64, steps, 0, 1e12, "length of the schedule; 0: max_seconds alone decides"),
    FIELD("train", FIELD_DOUBLE, max_seconds, 0, 1e9, "> 0: the schedule runs on seconds of training and stops there"),
    FIELD("train", FIELD_UINT64, seed, 0, 1.8446744073709552e19, "of the weights and the order of the data"),
    FIELD("train", FIELD_BOOL, shuffle, 0, 0, "visit the data in a random order"),
    {"train", "dtype", FIELD_STRING, offsetof(run_config, dtype), 1, 0, dtype_names, "of activations and products"},
    FIELD("train", FIELD_INT64, checkpoint_every, 0, 1e12, "steps between checkpoints; 0: only at the end"),
    FIELD("train", FIELD_DOUBLE, checkpoint_seconds, 0, 1e9, "and at least this often; 0: no"),
    FIELD("train", FIELD_INT64, keep_checkpoints, 1, 1e6, "newest checkpoints that stay"),
    FIELD("train", FIELD_INT64, val_every, 0, 1e12, "steps between looks at the held-out loss; 0: none"),
    FIELD("train", FIELD_INT64, val_tokens, 1, 1e12, "held-out tokens of such a look"),
    FIELD("train", FIELD_INT64, log_every, 1, 1e12, "steps between console lines"),

    FIELD("optimizer", FIELD_DOUBLE, matrix_lr, 0, 10, "Muon's rate, matrices of blocks"),
    FIELD("optimizer", FIELD_DOUBLE, embed_lr, 0, 10, "AdamW's rate, embeddings"),
    FIELD("optimizer", FIELD_DOUBLE, head_lr, 0, 10, "Adam's rate, an untied head"),
    FIELD("optimizer", FIELD_DOUBLE, scalar_lr, 0, 10, "Adam's rate, gains, gates, routers"),
    FIELD("optimizer", FIELD_DOUBLE, muon_momentum, 0, 0.99999, "Muon's momentum"),
    FIELD("optimizer", FIELD_DOUBLE, muon_momentum_warmup_start, 0, 0.99999, "its value at step 0"),
    FIELD("optimizer", FIELD_INT64, muon_momentum_warmup_steps, 0, 1e12, "steps until muon_momentum is reached"),
    FIELD("optimizer", FIELD_INT64, newton_schulz_steps, 1, 20, "orthogonalisation steps of Muon"),
    FIELD("optimizer", FIELD_BOOL, muon_nesterov, 0, 0, "Nesterov momentum"),
    FIELD("optimizer", FIELD_BOOL, muon_row_normalize, 0, 0, "rows of the gradient to unit length first"),
    FIELD("optimizer", FIELD_DOUBLE, muon_wd, 0, 10, "decoupled weight decay of matrices"),
    FIELD("optimizer", FIELD_DOUBLE, embed_wd, 0, 10, "decoupled weight decay of embeddings"),
    FIELD("optimizer", FIELD_DOUBLE, beta1, 0, 0.99999, "Adam's decay of the mean"),
    FIELD("optimizer", FIELD_DOUBLE, beta2, 0, 0.999999, "Adam's decay of the square"),
    FIELD("optimizer", FIELD_DOUBLE, adam_eps, 1e-16, 1, "Adam's epsilon"),
    FIELD("optimizer", FIELD_DOUBLE, grad_clip, 0, 1e6, "global gradient norm; 0: none"),
    FIELD("optimizer", FIELD_DOUBLE, warmup_frac, 0, 1, "linear warm-up over this part of the training"),
    FIELD("optimizer", FIELD_DOUBLE, warmdown_frac, 0, 1, "linear warm-down over this last part"),
    FIELD("optimizer", FIELD_DOUBLE, min_lr, 0, 1, "factor of the rates at the end"),
    {"optimizer", "average", FIELD_CHOICE, offsetof(run_config, average), 0, 0, average_names,
     "mean of the weights: moving (ema) or uniform over checkpoints (swa)"},
    FIELD("optimizer", FIELD_DOUBLE, ema_decay, 0, 0.999999, "of the moving average; 0: none is kept"),
    {"optimizer", "ema_start", FIELD_DOUBLE, offsetof(run_config, ema_start), 0, 1, start_words,
     "part of the training where it begins as a copy of the weights; 0: at once, ramped"},
    {"optimizer", "swa_start", FIELD_DOUBLE, offsetof(run_config, swa_start), 0, 1, start_words,
     "part of the training where swa begins to take checkpoints"},
    FIELD("optimizer", FIELD_INT64, swa_every, 1, 1e12, "steps between those checkpoints"),

    {"events", "events", FIELD_EVENTS, offsetof(run_config, events), 0, 0, NULL, "what happens during training"},

    FIELD("pack", FIELD_INT64, budget_bytes, 0, 1e15, "the artifact must not be larger; 0: any size"),
    FIELD("pack", FIELD_INT64, pack_bits, 2, 8, "of matrices in blocks"),
    FIELD("pack", FIELD_INT64, embed_bits, 0, 8, "of embeddings and the head, 2 to 8; 0: chosen"),
    FIELD("pack", FIELD_INT64, calibration_batches, 1, 1e6, "batches that GPTQ's Hessians see"),
    FIELD("pack", FIELD_DOUBLE, gptq_damp, 1e-6, 1, "damping, as a part of the Hessian's mean diagonal"),
    FIELD("pack", FIELD_DOUBLE, prune_fraction, 0, 0.99, "of each matrix in blocks: its smallest weights become 0"),

    FIELD("eval", FIELD_INT64, eval_stride, 1, 1 << 20, "new tokens a window; the rest of seq is context"),
    FIELD("eval", FIELD_DOUBLE, blend_lambda, 0, 1, "weight of the causal bigram blend"),
};

config_field run_config_field(int index) {
    if (index < DATA_FIELDS) return own_fields[index];
    if (index >= DATA_FIELDS + MODEL_CONFIG_FIELDS) return own_fields[index - MODEL_CONFIG_FIELDS];
    config_field f = model_config_fields[index - DATA_FIELDS];
    f.offset += offsetof(run_config, model);
    return f;
}

static bool is_name_of(const config_field *f, const char *name) {
    size_t section = strlen(f->section);
    if (strncmp(name, f->section, section) == 0 && name[section] == '.') name += section + 1;
    return strcmp(name, f->key) == 0;
}

int run_config_find(const char *name) {
    for (int i = 0; i < RUN_CONFIG_FIELDS; i++) {
        config_field f = run_config_field(i);
        if (is_name_of(&f, name)) return i;
    }
    return -1;
}

bool run_config_is_section(const char *name) {
    for (int i = 0; i < RUN_CONFIG_FIELDS; i++)
        if (strcmp(run_config_field(i).section, name) == 0) return true;
    return false;
}

const char *run_config_nearest_section(const char *name) {
    nearest n = {.word = name};
    for (int i = 0; i < RUN_CONFIG_FIELDS; i++) nearest_offer(&n, run_config_field(i).section);
    return n.name;
}

config_field run_config_nearest(const char *name) {
    const char *dot = strrchr(name, '.');
    nearest n = {.word = dot ? dot + 1 : name};
    for (int i = 0; i < RUN_CONFIG_FIELDS; i++) nearest_offer(&n, run_config_field(i).key);
    return run_config_field(run_config_find(n.name));
}

/* ---- events ---- */

#define EVENT_FIELD(key, type, member, least, most, choices, meaning)                                                  \
    { "events", key, type, offsetof(event, member), least, most, choices, meaning }
enum { UPCYCLE = 1 << EVENT_UPCYCLE, LOOP = 1 << EVENT_LOOP, QAT = 1 << EVENT_QAT };

const event_field event_fields[EVENT_KEYS] = {
    [EVENT_KEY_AT] = {EVENT_FIELD("at", FIELD_DOUBLE, at, 0, 1, NULL, "part of the training"), UPCYCLE | LOOP | QAT},
    [EVENT_KEY_BELOW_LR] = {EVENT_FIELD("below_lr", FIELD_DOUBLE, below_lr, 1e-9, 1, NULL,
                                        "when the rate's factor is below this, instead of at"),
                            QAT},
    [EVENT_KEY_DO] = {EVENT_FIELD("do", FIELD_CHOICE, kind, 0, 0, kind_names, "what happens"), UPCYCLE | LOOP | QAT},
    [EVENT_KEY_LAYERS] = {EVENT_FIELD("layers", FIELD_SET, layers, 0, MODEL_MAX_LAYERS - 1, NULL,
                                      "MLPs that become experts"),
                          UPCYCLE},
    [EVENT_KEY_EXPERTS] = {EVENT_FIELD("experts", FIELD_INT, experts, 2, MODEL_MAX_EXPERTS, NULL, "copies of each MLP"),
                           UPCYCLE},
    [EVENT_KEY_TOP_K] = {EVENT_FIELD("top_k", FIELD_INT, top_k, 1, MODEL_MAX_EXPERTS, NULL, "experts a token goes to"),
                         UPCYCLE},
    [EVENT_KEY_BITS] = {EVENT_FIELD("bits", FIELD_INT, bits, 2, 8, NULL, "of the grid that products see"), QAT},
};

const char *event_kind_name(event_kind kind) {
    return kind_names[kind];
}
