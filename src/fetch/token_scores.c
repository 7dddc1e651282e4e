#include "fetch/token_scores.h"
#include "base/memory.h"
#include "base/text_stream.h"
#include "fetch/completion.h"
#include "fetch/row.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is asked ---- */

void scores_open(token_scores *s, int k, int vocab_size, int64_t first, int64_t count) {
    *s = (token_scores){.k = k, .vocab_size = vocab_size, .first = first, .count = count};
    s->ids = xmalloc((size_t)(count * k) * sizeof *s->ids);
    s->log_probs = xmalloc((size_t)(count * k) * sizeof *s->log_probs);
    s->rest = xmalloc((size_t)count * sizeof *s->rest);
    scores_forget(s);
}

void scores_forget(token_scores *s) {
    for (int64_t i = 0; i < s->count; i++) s->rest[i] = 0;
    for (int64_t i = 0; i < s->count * s->k; i++) {
        s->ids[i] = -1;
        s->log_probs[i] = -INFINITY;
    }
}

void scores_close(token_scores *s) {
    free(s->ids);
    free(s->log_probs);
    free(s->rest);
    *s = (token_scores){0};
}

char *scores_root_url(const http_client *c, const char *path) {
    size_t bytes = strlen(c->endpoint);
    if (bytes > 3 && strcmp(c->endpoint + bytes - 3, "/v1") == 0) bytes -= 3;
    return xasprintf("%.*s/%s", (int)bytes, c->endpoint, path);
}

char *scores_url(const http_client *c, scores_dialect dialect) {
    return dialect == SCORES_ECHO ? completion_url(c, "completions") : scores_root_url(c, "completion");
}

char *scores_body(scores_dialect dialect, const char *model, int k, const int32_t *ids, int64_t count, size_t *bytes) {
    text_stream t;
    FILE *out = text_stream_begin(&t);
    fputs("{\"model\": ", out);
    row_put_string(out, model);
    fputs(", \"prompt\": [", out);
    for (int64_t i = 0; i < count; i++) fprintf(out, "%s%" PRId32, i ? "," : "", ids[i]);
    if (dialect == SCORES_ECHO)
        fprintf(out,
                "], \"echo\": true, \"logprobs\": %d, \"max_tokens\": 0, \"temperature\": 1, "
                "\"return_tokens_as_token_ids\": true, \"add_special_tokens\": false}",
                k);
    else
        fprintf(out, "], \"n_predict\": 1, \"n_probs\": %d, \"temperature\": 1, \"cache_prompt\": true}", k);
    char *body = text_stream_end(&t);
    *bytes = t.bytes;
    return body;
}

char *scores_tokenize_body(const char *model, const char *text, size_t *bytes) {
    text_stream t;
    FILE *out = text_stream_begin(&t);
    fputs("{\"model\": ", out);
    row_put_string(out, model);
    fputs(", \"content\": ", out);
    row_put_string(out, text);
    fputs(", \"prompt\": ", out);
    row_put_string(out, text);
    fputs(", \"add_special\": false, \"parse_special\": false, \"add_special_tokens\": false}", out);
    char *body = text_stream_end(&t);
    *bytes = t.bytes;
    return body;
}
