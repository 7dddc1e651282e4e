/* Bits per byte of a text: Σ nll / ln 2 / bytes, over sliding windows, by domain and in all, with and without the causal bigram
 * blend. */
#ifndef MOEC_EVAL_BPB_H
#define MOEC_EVAL_BPB_H

#include "comm/comm.h"
#include "eval/routing.h"
#include "eval/sample.h"
#include "nn/pass.h"
#include "text/documents.h"
#include "text/shard.h"
#include "text/tokenizer.h"
#include <cjson/cJSON.h>

enum { EVAL_MAX_DOMAINS = DOCUMENTS_MAX_DOMAINS };

/* nll: of the token at `position`, in nats, without the blend. */
typedef void (*bpb_listener)(void *context, int64_t position, double nll);

typedef struct bpb_options {
    int64_t seq;          /* window length */
    int64_t stride;       /* new tokens a window; the others are context and not scored again */
    int64_t batch;        /* windows a pass */
    double blend_lambda;  /* 0: no blend */
    int64_t tokens;       /* that are scored, a sample of all domains (sample.h); 0: all */
    uint64_t seed;        /* of the sample */
    const char *shown;    /* what the progress line says is scored: "live", "packed", … NULL: no progress is shown */
    routing_probe *probe; /* sees the routing of every scored token's input; NULL: none */
    const token_sample *sample; /* exactly these tokens, whatever `tokens` and `seed` say; NULL: as those say */
    bpb_listener listener;      /* gets every scored token, in order; NULL: nobody */
    void *listener_context;
    comm *
        ranks; /* who score together: each of them has the same text and an equal model, and gets the whole result, with the
                    bits of one process; NULL: this process alone. A probe must trace nothing then, and know no documents */
} bpb_options;

typedef struct bpb_score {
    double nll;       /* nats, Σ over scored tokens */
    double nll_blend; /* the same with the bigram blend */
    int64_t tokens, bytes;
} bpb_score;

typedef struct bpb_result {
    bpb_score total;
    bpb_score domain[EVAL_MAX_DOMAINS];
    char *domain_name[EVAL_MAX_DOMAINS]; /* owned */
    int domain_count;
    bool whole; /* every token of the text was scored, not a sample */
    double seconds;
} bpb_result;
double bpb(const bpb_score *s); /* nll / ln 2 / bytes */
double bpb_blend(const bpb_score *s);
double perplexity(const bpb_score *s); /* exp(nll / tokens) */

/* Windows for a model (its path) that was trained with sequences of `context`: seq, or 0: as trained, of pretrained models at most
 * 2048; half of them new; as many a pass as have about 4,096 tokens. */
void bpb_windows(bpb_options *o, const char *model, int64_t context, int64_t seq);
/* Scores the shard's tokens but the first, in order, or a sample of them, with the model of p; documents may be NULL (one domain,
 * no names). A domain none of whose tokens was scored has 0 tokens. */
status bpb_evaluate(pass *p, const tokenizer *tok, const shard *s, const document_table *documents,
                    const bpb_options *options, bpb_result *result);
void bpb_result_free(bpb_result *r);
/* {"code": 1.91, …}: measure (bpb, bpb_blend) of each domain that was scored, as a new object; NULL where there are no domains. */
cJSON *bpb_by_domain(const bpb_result *r, double (*measure)(const bpb_score *));

/* Causal bigram blend (#2102): −log((1 − λc) p + λc p₂), p₂ = (count + 1) / (total + V), c = total / (total + 10).
 * A pair is counted only after it was scored, each one once. */
typedef struct bigram_blend bigram_blend;
bigram_blend *bigram_blend_create(int vocab_size, double lambda);
void bigram_blend_destroy(bigram_blend *b);
double bigram_blend_score(bigram_blend *b, int32_t prev, int32_t token, double nll); /* blended nll; then counts */

/* Bits per byte of `xz -9e` for the same bytes (liblzma), in memory for their number: not always the 674 MiB of that preset. */
status xz_bits_per_byte(const uint8_t *text, size_t bytes, double *out);

#endif
