/* Cases by transformers: a pretrained model and what it makes of some tokens. */
#include "eval/parity_case.h"
#include "formats/pretrained.h"
#include <stdlib.h>

enum { MAX_TOKENS = 1 << 24 };

typedef struct parity_case {
    pretrained *source;
    safetensors io;
    model *m;
    pass *p;
    int32_t *ids;
} parity_case;

static status open_io(safetensors *s, const char *folder) {
    char *path = path_join(folder, "io.safetensors");
    status result = safetensors_open(s, path);
    free(path);
    return result;
}

static status open_model(parity_case *c, const kernels *k) {
    const weight_source weights = pretrained_weights(c->source);
    TRY(model_create(&c->m, pretrained_config(c->source), k, MODEL_VALUES));
    TRY(weight_source_fill(&weights, c->m));
    return pass_create(&c->p, c->m);
}

static status compare(parity_case *c, const kernels *k, parity_report *report) {
    const safetensor *ids = safetensors_find(&c->io, "input_ids");
    if (!ids || ids->ndim != 2 || ids->shape[0] < 1 || ids->shape[1] < 1 || ids->shape[0] > MAX_TOKENS / ids->shape[1])
        return fail("%s: tensor input_ids: expected at least 1 × 1 and at most %d tokens", c->io.path, MAX_TOKENS);
    batch b = {.batch = ids->shape[0], .length = ids->shape[1]};
    TRY(pretrained_check_length(c->source, b.length));
    TRY(open_model(c, k));
    TRY(parity_ids(&c->io, "input_ids", b.batch, b.length, c->m->config.vocab_size, &c->ids));
    b.input_ids = c->ids;
    return parity_logits(c->p, &c->io, &b, &report->logits);
}

status parity_run_pretrained(const char *folder, const kernels *k, parity_report *report) {
    parity_case c = {0};
    *report = (parity_report){.tolerance = parity_of_pretrained};
    status s = pretrained_open(&c.source, folder);
    if (s == STATUS_OK) s = open_io(&c.io, folder);
    if (s == STATUS_OK) s = compare(&c, k, report);
    pass_destroy(c.p);
    model_destroy(c.m);
    free(c.ids);
    if (c.io.path) safetensors_close(&c.io);
    pretrained_close(c.source);
    return s;
}
