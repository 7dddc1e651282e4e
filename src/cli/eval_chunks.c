#include "cli/eval_chunks.h"

#include "base/file.h"
#include "cli/cli.h"
#include "cli/ranks.h"
#include "eval/chunks.h"
#include "store/open.h"
#include <stdio.h>
#include <stdlib.h>

enum { LLAMA_CPP_LENGTH = 512 };

status eval_set_top_k(model *m, const char *path, int top_k) {
    const model_config *c = &m->config;
    if (top_k == 0) return STATUS_OK;
    if (!model_config_has_moe(c)) return fail_usage("%s: top_k=%d: the model has no router", path, top_k);
    if (c->moe.gate == GATE_SOFT || c->moe.gate == GATE_STRAIGHT_THROUGH)
        return fail_usage("%s: top_k=%d: its gates (moe_gate: %s) do not use a number of experts", path, top_k,
                          c->moe.gate == GATE_SOFT ? "soft" : "straight_through");
    if (top_k > c->moe.experts)
        return fail_usage("%s: top_k: expected 1 to %d, the number of experts, found %d", path, c->moe.experts, top_k);
    return model_set_top_k(m, top_k);
}

static void print_json(const chunks_request *q, const chunk_score *score, int64_t length) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "protocol", "llama.cpp");
    cJSON_AddStringToObject(json, "text", q->text);
    cJSON_AddNumberToObject(json, "perplexity", chunks_perplexity(score));
    cJSON_AddNumberToObject(json, "standard_error", chunks_error(score));
    cJSON_AddNumberToObject(json, "chunk_tokens", (double)length);
    cJSON_AddNumberToObject(json, "chunks", (double)score->chunks);
    cJSON_AddNumberToObject(json, "scored_tokens", (double)score->tokens);
    cJSON *losses = cJSON_AddArrayToObject(json, "chunk_losses"); /* nats a scored token */
    for (int64_t i = 0; i < score->chunks; i++)
        cJSON_AddItemToArray(losses,
                             cJSON_CreateNumber(score->each[i] * (double)score->chunks / (double)score->tokens));
    cli_print_json(json);
}

static void print_found(const chunks_request *q, const chunk_score *found, int64_t length) {
    if (q->json)
        print_json(q, found, length);
    else
        printf("perplexity %.4f +/- %.4f a token by llama.cpp's protocol: %lld chunks of %lld tokens, the last %lld of "
               "each "
               "scored\n",
               chunks_perplexity(found), chunks_error(found), (long long)found->chunks, (long long)length,
               (long long)(length - 1 - length / 2));
}

static status score(const chunks_request *q, model *m, const tokenizer *tok) {
    const chunk_options options = {.length = q->length ? q->length : LLAMA_CPP_LENGTH,
                                   .batch = q->length > 1024 ? 1 : 4,
                                   .tokens = q->tokens,
                                   .show = q->ranks->rank == 0,
                                   .ranks = q->ranks};
    chunk_score found = {0};
    uint8_t *text;
    size_t bytes;
    pass *p;
    TRY(comm_agree(q->ranks, file_read(q->text, FILE_ANY_SIZE, &text, &bytes)));
    status s = q->ranks->ranks > 1 ? cli_ranks_same(q->ranks, "text", crc64(0, text, bytes)) : STATUS_OK;
    if (s == STATUS_OK) s = comm_agree(q->ranks, eval_set_top_k(m, q->path, q->top_k));
    if (s == STATUS_OK) s = comm_agree(q->ranks, pass_create(&p, m));
    if (s == STATUS_OK) {
        s = fail_in(chunks_score(p, tok, (const char *)text, bytes, &options, &found), "%s", q->text);
        pass_destroy(p);
    }
    free(text);
    s = comm_agree(q->ranks, s);
    if (s == STATUS_OK && q->ranks->rank == 0) print_found(q, &found, options.length);
    chunk_score_free(&found);
    return s;
}

status eval_chunks(const chunks_request *q) {
    model *m;
    tokenizer *tok;
    TRY(cli_ranks_same_model(q->ranks, q->path, q->which));
    TRY(comm_agree(q->ranks, open_model(q->path, q->k, q->which, q->use, &m, &tok, NULL)));
    const status s = score(q, m, tok);
    model_destroy(m);
    tokenizer_close(tok);
    return s;
}
