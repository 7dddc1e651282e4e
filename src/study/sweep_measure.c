/* What a finished run is worth: its live and averaged weights and its artifact on the held-out text. */
#include "base/file.h"
#include "eval/scored_text.h"
#include "store/open.h"
#include "study/sweep_result.h"
#include "train/pack.h"
#include <stdlib.h>

/* What all scores of one run have in common. */
typedef struct measuring {
    const sweep *s;
    const run_config *c;
    const kernels *k;
    const checkpoint *saved;
    tokenizer *tok;
    scored_text text;
} measuring;

/* Of one kind of weights. */
typedef struct figures {
    double bits, blended; /* a byte; blended: with the bigram blend */
    double loss;          /* nats a token */
    cJSON *domains;       /* bits per byte */
} figures;

static status score(const measuring *g, model *m, const char *shown, bool blend, sweep_result *r, figures *f) {
    const run_config *c = g->c;
    bpb_options options = {.seq = c->train.seq,
                           .stride = c->eval.stride,
                           .batch = c->train.seq < 4096 ? 4096 / c->train.seq : 1,
                           .tokens = g->s->eval_tokens,
                           .seed = g->text.seed,
                           .blend_lambda = blend ? c->eval.blend_lambda : 0,
                           .shown = shown};
    bpb_result found = {0};
    pass *p;
    TRY(pass_create(&p, m));
    status result = bpb_evaluate(p, g->tok, &g->text.s, scored_text_documents(&g->text), &options, &found);
    pass_destroy(p);
    if (result == STATUS_OK) {
        const double tokens = (double)found.total.tokens;
        *f =
            (figures){bpb(&found.total), bpb_blend(&found.total), found.total.nll / tokens, bpb_by_domain(&found, bpb)};
        r->scored_tokens = found.total.tokens;
    }
    bpb_result_free(&found);
    return result;
}

static status score_live(const measuring *g, sweep_result *r) {
    model *m;
    figures f;
    TRY(checkpoint_load_model(g->saved, g->k, "live", MODEL_RUN, &m));
    status result = score(g, m, "live", true, r, &f);
    model_destroy(m);
    TRY(result);
    r->val_bpb = f.bits;
    r->val_bpb_blend = f.blended;
    r->val_loss = f.loss;
    r->domains = f.domains;
    return STATUS_OK;
}

static status score_average(const measuring *g, sweep_result *r) {
    model *m;
    figures f;
    if (!checkpoint_has_average(g->saved)) return STATUS_OK;
    TRY(checkpoint_load_model(g->saved, g->k, "ema", MODEL_RUN, &m));
    status result = score(g, m, "averaged", false, r, &f);
    model_destroy(m);
    TRY(result);
    r->val_bpb_ema = f.bits;
    r->val_loss_ema = f.loss;
    r->domains_ema = f.domains;
    return STATUS_OK;
}

/* The weights that the training found better, as moec pack does it. */
static status pack(const measuring *g, const char *path, sweep_result *r) {
    model *m;
    pack_report report;
    pack_options options = pack_options_of(&g->c->pack, g->c->train.seq);
    TRY(checkpoint_weights(g->saved, "chosen", &options.weights));
    TRY(checkpoint_load_model(g->saved, g->k, options.weights, MODEL_VALUES, &m));
    status result = pack_model(path, g->c, m, g->tok, &options, &report);
    r->artifact_bytes = report.artifact_bytes;
    model_destroy(m);
    return result;
}

static status score_packed(const measuring *g, sweep_result *r) {
    if (!g->s->pack) return STATUS_OK;
    char *path = path_join(g->c->train.run, "model.moec");
    model *m = NULL;
    figures f;
    status result = pack(g, path, r);
    if (result == STATUS_OK) result = artifact_read(path, g->k, MODEL_RUN, &m, NULL, NULL);
    if (result == STATUS_OK) result = score(g, m, "packed", false, r, &f);
    model_destroy(m);
    free(path);
    TRY(result);
    r->val_bpb_packed = f.bits;
    r->domains_packed = f.domains;
    return STATUS_OK;
}

static status measure(measuring *g, sweep_result *r) {
    TRY(device_open(g->c->train.device, g->c->train.dtype, &g->k));
    TRY(checkpoint_load_model_config(g->saved, &r->model));
    TRY(checkpoint_weights(g->saved, "chosen", &r->chosen_weights));
    TRY(checkpoint_open_tokenizer(g->saved, &g->tok));
    TRY(scored_text_open(&g->text, g->c->data.path, tokenizer_vocab_size(g->tok)));
    TRY(score_live(g, r));
    TRY(score_average(g, r));
    return score_packed(g, r);
}

status sweep_measure(const sweep *s, const run_config *c, sweep_result *r) {
    checkpoint *saved;
    TRY(checkpoint_require(&saved, c->train.run));
    measuring g = {.s = s, .c = c, .saved = saved};
    status result = measure(&g, r);
    scored_text_close(&g.text);
    tokenizer_close(g.tok);
    checkpoint_close(saved);
    return result;
}
