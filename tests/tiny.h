/* A model of a few thousand weights, and text to train it on. */
#ifndef MOEC_TESTS_TINY_H
#define MOEC_TESTS_TINY_H

#include "test.h"

#include "base/random.h"
#include "text/sentencepiece.h"
#include "text/shard.h"
#include "train/checkpoint.h"
#include "train/train.h"

enum { TINY_VOCAB = 320, TINY_LINES = 400 };

/* Sentences of a small grammar: a model of this size can learn them in a few steps. */
static inline char *tiny_line(rng *r) {
    static const char *const who[] = {"the cat", "a dog", "the old man", "my sister", "nobody", "every bird"};
    static const char *const does[] = {"sees", "likes", "follows", "forgets", "paints"};
    static const char *const where[] = {"in the garden", "under the bridge", "at night", "by the river", "slowly"};
    return xasprintf("%s %s %s %s.\n", who[rng_below(r, 6)], does[rng_below(r, 5)], who[rng_below(r, 6)],
                     where[rng_below(r, 5)]);
}

typedef struct tiny_source {
    rng r;
    int left;
    char *line;
} tiny_source;

static inline bool tiny_next(void *context, const char **text, size_t *bytes) {
    tiny_source *s = context;
    free(s->line);
    s->line = NULL;
    if (s->left-- == 0) return false;
    s->line = tiny_line(&s->r);
    *text = s->line;
    *bytes = strlen(s->line);
    return true;
}

static inline void tiny_shard(const char *folder, const char *name, const tokenizer *tok, uint64_t seed, int lines) {
    rng r = rng_seed(seed);
    int32_t *tokens = NULL;
    int64_t total = 0;
    for (int i = 0; i < lines; i++) {
        char *line = tiny_line(&r);
        int32_t *ids;
        size_t count;
        assert_ok(tokenizer_encode(tok, line, strlen(line), &ids, &count));
        tokens = xrealloc(tokens, (size_t)(total + (int64_t)count + 1) * sizeof *tokens);
        tokens[total++] = tokenizer_bos(tok);
        for (size_t t = 0; t < count; t++) tokens[total++] = ids[t];
        free(ids);
        free(line);
    }
    char *path = path_join(folder, name);
    assert_ok(shard_write(path, tokens, total, TINY_VOCAB, NULL));
    free(path);
    free(tokens);
}

/* folder/tokenizer.model, tiny_train_000000.bin and tiny_val_000000.bin */
static inline void tiny_data(const char *folder) {
    assert_ok(folder_create(folder));
    char *model = path_join(folder, "tokenizer.model");
    tiny_source source = {.r = rng_seed(1), .left = TINY_LINES};
    tokenizer *tok;
    const void *bytes;
    size_t count;
    assert_ok(sentencepiece_train(&tok, TINY_VOCAB, tiny_next, &source, 1));
    tokenizer_bytes(tok, &bytes, &count);
    assert_ok(file_write_whole(model, bytes, count));
    tiny_shard(folder, "tiny_train_000000.bin", tok, 2, TINY_LINES);
    tiny_shard(folder, "tiny_val_000000.bin", tok, 3, 30);
    tokenizer_close(tok);
    free(model);
}

/* Every part of #2102's backbone in three layers of 32 channels. */
static inline model_config tiny_model(void) {
    model_config c = model_config_default();
    c.vocab_size = TINY_VOCAB;
    c.num_layers = 4;
    c.model_dim = 32;
    c.attention.heads = 2;
    c.attention.kv_heads = 1;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.residual.smear_width = 4;
    c.residual.parallel_start_layer = 3;
    c.stem.bigram_buckets = 64;
    c.stem.bigram_dim = 16;
    c.loop.extra_passes = 1;
    c.loop.first = 1;
    c.loop.last = 2;
    return c;
}

static inline void set_string(char **where, const char *text) {
    free(*where);
    *where = xstrdup(text);
}

/* A run of `steps` steps in folder/NAME over folder/data: upcycle at 30 %, loop at 35 %, QAT in the warm-down. */
static inline run_config tiny_run(const char *folder, const char *name, int64_t steps) {
    run_config c = run_config_default();
    char *run = path_join(folder, name), *data = path_join(folder, "data");
    set_string(&c.train.run, run);
    set_string(&c.data.path, data);
    free(run);
    free(data);
    set_string(&c.train.dtype, "f32");
    c.model = tiny_model();
    c.train.batch = 2;
    c.train.seq = 32;
    c.train.accumulate = 2;
    c.train.steps = steps;
    c.train.max_seconds = 0;
    c.train.shuffle = true;
    c.train.checkpoint_every = 0;
    c.train.checkpoint_seconds = 0;
    c.train.keep_checkpoints = 100;
    c.train.val_every = 0;
    c.train.val_tokens = 200;
    c.eval.stride = 32;
    c.average.ema_decay = 0.9;
    c.events.items[0] =
        (event){.at = 0.3, .kind = EVENT_UPCYCLE, .layers = {[1] = true, [2] = true}, .experts = 2, .top_k = 1};
    c.events.items[1] = (event){.at = 0.35, .kind = EVENT_LOOP};
    c.events.items[2] = (event){.below_lr = 0.5, .kind = EVENT_QAT, .bits = 6};
    c.events.count = 3;
    return c;
}

/* A model on its own. */
static inline model *tiny_model_create(void) {
    model_config c = tiny_model();
    model *m;
    assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN));
    assert_ok(model_init(m, 7));
    return m;
}

/* Normal gradients for every parameter. */
static inline void tiny_gradients(model *m, uint64_t seed, float std) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (!p->grad) continue;
        float *host = xmalloc(tensor_bytes(&p->value));
        rng r = rng_named(seed, p->name);
        rng_normal(&r, host, (size_t)param_count(p), std);
        m->k->upload(p->grad, host, tensor_bytes(&p->value));
        free(host);
    }
}

static inline float *tiny_values(const model *m, const param *p) {
    float *host = xmalloc(tensor_bytes(&p->value));
    tensor_read(m->k, &p->value, host);
    return host;
}

#endif
