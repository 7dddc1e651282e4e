/* Names to pointers: the forward pass finds its parameters here instead of searching for them. */
#include "base/memory.h"
#include "nn/forward.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The parameter of that name, or NULL. */
static param *find(const model *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static param *find(const model *m, const char *format, ...) {
    char name[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return model_find(m, name);
}

static block bind_block(const model *m, int i) {
    block b = {.c_q = find(m, "blocks.%d.attn.c_q.weight", i),
               .c_k = find(m, "blocks.%d.attn.c_k.weight", i),
               .c_v = find(m, "blocks.%d.attn.c_v.weight", i),
               .proj = find(m, "blocks.%d.attn.proj.weight", i),
               .q_gain = find(m, "blocks.%d.attn.q_gain", i),
               .attn_scale = find(m, "blocks.%d.attn_scale", i),
               .mlp_scale = find(m, "blocks.%d.mlp_scale", i),
               .resid_mix = find(m, "blocks.%d.resid_mix", i),
               .smear_w = find(m, "blocks.%d.smear_w", i),
               .mlp_fc = find(m, "blocks.%d.mlp.fc.weight", i),
               .mlp_proj = find(m, "blocks.%d.mlp.proj.weight", i),
               .router = find(m, "blocks.%d.mlp.router.weight", i)};
    for (int e = 0; b.router && e < m->config.moe_num_experts; e++) {
        b.experts_fc[e] = find(m, "blocks.%d.mlp.experts_fc.%d.weight", i, e);
        b.experts_proj[e] = find(m, "blocks.%d.mlp.experts_proj.%d.weight", i, e);
    }
    return b;
}

status model_bind(model *m) {
    if (!m->scratch) m->scratch = xcalloc(1, sizeof *m->scratch);
    struct model_scratch *s = m->scratch;
    for (int i = 0; i < m->config.num_layers; i++) s->blocks[i] = bind_block(m, i);
    s->tok_emb = find(m, "tok_emb.weight");
    s->bigram_emb = find(m, "bigram_emb.weight");
    s->bigram_proj = find(m, "bigram_proj.weight");
    s->skip_weights = find(m, "skip_weights");
    s->skip_gates = find(m, "skip_gates");
    s->head = m->config.tie_embeddings ? s->tok_emb : find(m, "lm_head.weight");
    return STATUS_OK;
}

void model_unbind(model *m) {
    if (!m->scratch) return;
    m->k->release(m->scratch->ids);
    m->k->release(m->scratch->bigram_ids);
    m->k->release(m->scratch->targets);
    m->k->release(m->scratch->first);
    free(m->scratch->host);
    free(m->scratch);
    m->scratch = NULL;
}
