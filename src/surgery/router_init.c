/* Rows from prompts. */
#include "surgery/router_init.h"

#include "base/memory.h"
#include "base/progress.h"
#include "nn/pass.h"
#include "nn/streamed.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Vectors that are summed up, one for each layer. */
typedef struct collector {
    model *m;
    bool average; /* over tokens; else the last one's */
    double weight;
    double *sums; /* [layers, d] */
    float *host;  /* a pass's stream */
    float *device;
} collector;

static void observe(void *context, int layer, int pass, const void *x, int64_t N) {
    collector *c = context;
    const int64_t d = c->m->config.model_dim;
    if (layer >= c->m->config.num_layers || pass > 0) return;
    c->m->k->to_float(c->device, x, N * d);
    c->m->k->download(c->host, c->device, (size_t)(N * d) * sizeof *c->host);
    double *sum = c->sums + layer * d;
    for (int64_t n = c->average ? 0 : N - 1; n < N; n++)
        for (int64_t i = 0; i < d; i++) sum[i] += c->weight / (c->average ? (double)N : 1) * (double)c->host[n * d + i];
}

/* What mergekit puts before prompts: the token that the tokenizer calls BOS, even where it is not its own habit; −1: none. */
static int bos_of(const tokenizer *tok) {
    const char *text = tokenizer_bos_text(tok);
    for (int id = 0; *text && id < tokenizer_vocab_size(tok); id++)
        if (strcmp(tokenizer_piece(tok, id), text) == 0) return id;
    return tokenizer_adds_bos(tok) ? tokenizer_bos(tok) : -1;
}

/* BOS and the prompt's tokens; all of them in the model's vocabulary. */
static status encode(const tokenizer *tok, int vocabulary, const char *text, int32_t **ids, int64_t *count) {
    size_t found;
    TRY(tokenizer_encode(tok, text, strlen(text), ids, &found));
    const int bos = bos_of(tok);
    *ids = xrealloc(*ids, (found + 1) * sizeof **ids);
    if (bos >= 0) {
        memmove(*ids + 1, *ids, found * sizeof **ids);
        (*ids)[0] = bos;
    }
    *count = (int64_t)found + (bos >= 0);
    int32_t largest = -1;
    for (int64_t i = 0; i < *count; i++) largest = (*ids)[i] > largest ? (*ids)[i] : largest;
    if (largest >= 0 && largest < vocabulary) return STATUS_OK;
    free(*ids);
    if (largest < 0) return fail("a prompt is empty: expected at least one token");
    return fail("a prompt has token %d: expected tokens below the model's vocab_size %d", largest, vocabulary);
}

/* ---- hidden ---- */

static status run_prompt(collector *c, pass *p, const int32_t *ids, int64_t count) {
    const int64_t d = c->m->config.model_dim;
    const size_t bytes = (size_t)(count * d) * sizeof(float);
    const batch b = {.batch = 1, .length = count, .input_ids = ids};
    c->host = xrealloc(c->host, bytes);
    TRY(c->m->k->alloc((void **)&c->device, bytes));
    const status s = pass_observe(p, &b, c->m->config.num_layers - 1);
    c->m->k->release(c->device);
    return s;
}

static status run_prompts(collector *c, pass *p, const tokenizer *tok, char *const *prompts, int count, double sign) {
    for (int i = 0; i < count; i++) {
        int32_t *ids;
        int64_t tokens;
        if (interrupt_requested()) return STATUS_INTERRUPTED;
        TRY(encode(tok, c->m->config.vocab_size, prompts[i], &ids, &tokens));
        c->weight = sign / count;
        const status s = run_prompt(c, p, ids, tokens);
        free(ids);
        TRY(s);
    }
    return STATUS_OK;
}

/* ---- cheap_embed ---- */

static double norm_of(const double *vector, int64_t d) {
    double squares = 0;
    for (int64_t i = 0; i < d; i++) squares += vector[i] * vector[i];
    return fmax(sqrt(squares), 1e-8);
}

static status add_tokens(const weight_source *parent, const tokenizer *tok, const char *prompt, float *row,
                         double *sum) {
    const model_config *c = &parent->config;
    const param_spec table = {ROLE_TOK_EMB, -1, -1, 2, {c->vocab_size, c->model_dim}};
    int32_t *ids;
    int64_t tokens;
    status s = STATUS_OK;
    TRY(encode(tok, c->vocab_size, prompt, &ids, &tokens));
    for (int64_t t = 0; t < tokens && s == STATUS_OK; t++) {
        s = parent->read(parent->context, &table, ids[t], 1, row);
        for (int j = 0; j < c->model_dim && s == STATUS_OK; j++) sum[j] += (double)row[j];
    }
    free(ids);
    return s;
}

/* Adds sign · the unit vector along the sum of the prompts' embeddings. */
static status add_embeddings(const weight_source *parent, const tokenizer *tok, char *const *prompts, int count,
                             double sign, double *vector) {
    const int d = parent->config.model_dim;
    float *row = xmalloc((size_t)d * sizeof *row);
    double *sum = xcalloc((size_t)d, sizeof *sum);
    status s = STATUS_OK;
    for (int i = 0; i < count && s == STATUS_OK; i++) s = add_tokens(parent, tok, prompts[i], row, sum);
    const double norm = norm_of(sum, d);
    for (int j = 0; j < d; j++) vector[j] += sign * sum[j] / norm;
    free(row);
    free(sum);
    return s;
}

/* ---- rows ---- */

static void put_unit(float *row, const double *vector, int64_t d) {
    const double factor = 1 / norm_of(vector, d);
    for (int64_t i = 0; i < d; i++) row[i] = (float)(vector[i] * factor);
}

static status fill_cheaply(router_rows *r, const weight_source *parent, const tokenizer *tok,
                           const expert_prompts *prompts) {
    double *sum = xmalloc((size_t)r->d * sizeof *sum);
    status s = STATUS_OK;
    for (int e = 0; e < router_rows_count(r) && s == STATUS_OK; e++) {
        memset(sum, 0, (size_t)r->d * sizeof *sum);
        s = add_embeddings(parent, tok, prompts[e].positive, prompts[e].positive_count, 1, sum);
        if (s == STATUS_OK) s = add_embeddings(parent, tok, prompts[e].negative, prompts[e].negative_count, -1, sum);
        for (int layer = 0; layer < r->layers; layer++)
            if (r->rows[layer]) put_unit(r->rows[layer] + e * r->d, sum, r->d);
    }
    free(sum);
    return s;
}

static status fill_by_running(router_rows *r, pass *p, const tokenizer *tok, const expert_prompts *prompts,
                              bool average) {
    const size_t bytes = (size_t)(r->layers * r->d) * sizeof(double);
    collector c = {.m = pass_model(p), .average = average, .sums = xmalloc(bytes)};
    progress shown = progress_start("prompts");
    status s = STATUS_OK;
    pass_watch_stream(p, observe, &c);
    for (int e = 0; e < router_rows_count(r) && s == STATUS_OK; e++) {
        memset(c.sums, 0, bytes);
        s = run_prompts(&c, p, tok, prompts[e].positive, prompts[e].positive_count, 1);
        if (s == STATUS_OK) s = run_prompts(&c, p, tok, prompts[e].negative, prompts[e].negative_count, -1);
        for (int layer = 0; layer < r->layers; layer++)
            if (r->rows[layer]) put_unit(r->rows[layer] + e * r->d, c.sums + layer * r->d, r->d);
        progress_show(&shown, (double)(e + 1) / router_rows_count(r), prompts[e].name ? prompts[e].name : "an expert");
    }
    pass_watch_stream(p, NULL, NULL);
    progress_end(&shown, s == STATUS_OK ? NULL : "stopped");
    free(c.sums);
    free(c.host);
    return s;
}

static status check(const router_rows *r, const expert_prompts *prompts) {
    for (int e = 0; e < router_rows_count(r); e++)
        if (prompts[e].positive_count < 1)
            return fail("expert %d%s%s: expected at least one prompt, found none", e, prompts[e].name ? ", " : "",
                        prompts[e].name ? prompts[e].name : "");
    return STATUS_OK;
}

status router_rows_from_prompts(router_rows *r, const weight_source *parent, const tokenizer *tok, const kernels *k,
                                const expert_prompts *prompts, prompt_mode mode) {
    TRY(check(r, prompts));
    if (mode == PROMPTS_CHEAP_EMBED) return fill_cheaply(r, parent, tok, prompts);
    model *m;
    pass *p = NULL;
    TRY(model_create_streamed(&m, parent, k));
    status s = pass_create(&p, m);
    if (s == STATUS_OK) s = fill_by_running(r, p, tok, prompts, mode == PROMPTS_HIDDEN_AVG);
    pass_destroy(p);
    model_destroy(m);
    return s;
}
