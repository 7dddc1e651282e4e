/* What keeping keys and values in fewer bits does to a model: its perplexity on a text that it decodes, a few tokens at a time and each
 * behind all those before it, how far its probabilities are from those with exact keys and values (mean KL divergence), and how often the
 * likeliest token is another. Texts of `context` tokens, one after another.
 *   cc -O2 -std=gnu17 -D_GNU_SOURCE -Isrc -fopenmp bench/run/bench_cache.c -Wl,--start-group build/floors/*.a -Wl,--end-group ...
 *   bench_cache MODEL TEXT [tokens (4096)] [context (1024)] [at a time (4)] */
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "nn/pass.h"
#include "store/open.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TYPES = 3 };
static const char *const names[TYPES] = {"as activations (f32)", "bf16", "int8"};

static void must(status s) {
    if (s == STATUS_OK) return;
    fprintf(stderr, "bench_cache: %s\n", error_message());
    exit(1);
}

typedef struct sums {
    double nll, kl, seconds;
    int64_t others, tokens;
} sums;

/* log p of all tokens; returns the likeliest. */
static int log_probabilities(double *out, const float *logits, int vocab) {
    double total = 0;
    int top = 0;
    for (int i = 1; i < vocab; i++) top = logits[i] > logits[top] ? i : top;
    for (int i = 0; i < vocab; i++) total += exp((double)(logits[i] - logits[top]));
    for (int i = 0; i < vocab; i++) out[i] = logits[i] - logits[top] - log(total);
    return top;
}

/* One row of logits of each type; `next` is the token that came. */
static void compare(sums s[TYPES], float *const logits[TYPES], int64_t row, int vocab, int32_t next) {
    static double *exact, *other;
    if (!exact) exact = xmalloc((size_t)vocab * sizeof *exact);
    if (!other) other = xmalloc((size_t)vocab * sizeof *other);
    const int best = log_probabilities(exact, logits[0] + row * vocab, vocab);
    for (int t = 0; t < TYPES; t++) {
        const int top = log_probabilities(other, logits[t] + row * vocab, vocab);
        s[t].nll -= other[next];
        s[t].others += top != best;
        s[t].tokens++;
        for (int i = 0; i < vocab; i++) s[t].kl += exp(exact[i]) * (exact[i] - other[i]);
    }
}

static void score(model *m, pass *p, const int32_t *ids, int64_t count, int64_t piece, sums s[TYPES]) {
    const int vocab = m->config.vocab_size;
    kv_cache *caches[TYPES];
    float *logits[TYPES];
    for (int t = 0; t < TYPES; t++) {
        m->cache = (cache_type)t;
        must(kv_cache_create(&caches[t], m, 1, count));
        logits[t] = xmalloc((size_t)(piece * vocab) * sizeof *logits[t]);
    }
    for (int64_t at = 0; at < count; at += piece) {
        const int64_t some = count - at < piece ? count - at : piece;
        for (int t = 0; t < TYPES; t++) {
            const decode_span span = {.count = some, .logits = some};
            const double started = clock_seconds();
            must(pass_decode_spans(p, caches[t], &span, 1, ids + at, logits[t]));
            s[t].seconds += clock_seconds() - started;
        }
        for (int64_t i = 0; i < some && at + i + 1 < count; i++) compare(s, logits, i, vocab, ids[at + i + 1]);
    }
    for (int t = 0; t < TYPES; t++) {
        kv_cache_destroy(caches[t]);
        free(logits[t]);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    const int64_t most = argc > 3 ? atoll(argv[3]) : 4096, context = argc > 4 ? atoll(argv[4]) : 1024;
    const int64_t piece = argc > 5 ? atoll(argv[5]) : 4;
    model *m;
    tokenizer *tok;
    pass *p;
    uint8_t *text;
    size_t bytes, count;
    int32_t *ids;
    sums s[TYPES] = {{0}};
    must(kernels_check());
    must(open_model(argv[1], kernels_for(DTYPE_F32), "chosen", MODEL_RUN_STORED, &m, &tok, NULL));
    must(file_read(argv[2], 1 << 26, &text, &bytes));
    must(tokenizer_encode_text(tok, (const char *)text, bytes < (size_t)most * 8 ? bytes : (size_t)most * 8, &ids,
                               &count));
    must(pass_create(&p, m));
    for (int64_t at = 0; at + context <= (int64_t)count && at < most; at += context)
        score(m, p, ids + at, context, piece, s);
    for (int t = 0; t < TYPES; t++)
        printf("%-22s perplexity %.4f (%+.4f %%), KL %.6f, likeliest another %.2f %%, %lld tokens, %.1f tokens/s\n",
               names[t], exp(s[t].nll / (double)s[t].tokens),
               100 * (exp((s[t].nll - s[0].nll) / (double)s[t].tokens) - 1), s[t].kl / (double)s[t].tokens,
               100.0 * (double)s[t].others / (double)s[t].tokens, (long long)s[t].tokens,
               (double)s[t].tokens / s[t].seconds);
    pass_destroy(p);
    model_destroy(m);
    tokenizer_close(tok);
    free(text);
    free(ids);
    return 0;
}
