/* Perplexity as llama.cpp's llama-perplexity has it, so that figures can be compared: the text's tokens (BOS first where the tokenizer
 * adds it) are cut into chunks of n tokens, what is left at the end is passed over; a chunk's first token becomes BOS where there
 * is one; each chunk is read on its own, and the tokens behind its first half and one are scored (source: tools/perplexity,
 * perplexity()). */
#ifndef MOEC_EVAL_CHUNKS_H
#define MOEC_EVAL_CHUNKS_H

#include "comm/comm.h"
#include "nn/pass.h"
#include "text/tokenizer.h"

typedef struct chunk_options {
    int64_t length; /* n, at least 3, of which one is scored */
    int64_t batch;  /* chunks a pass */
    int64_t tokens; /* stop after so many scored ones, at a chunk's end; 0: all */
    bool show;      /* progress on stderr */
    comm *ranks;    /* as in bpb.h; NULL: this process alone */
} chunk_options;

typedef struct chunk_score {
    double nll, squares; /* Σ of the scored tokens' nll in nats, and of its square */
    double *each;        /* malloc'ed [chunks], of each chunk its part of nll: what two models' figures are paired by */
    int64_t tokens, chunks;
} chunk_score;

/* The text must have at least two chunks, as llama.cpp asks for. *score is to be freed, whatever was returned. */
status chunks_score(pass *p, const tokenizer *tok, const char *text, size_t bytes, const chunk_options *options,
                    chunk_score *score);
void chunk_score_free(chunk_score *score);
double chunks_perplexity(const chunk_score *s); /* exp(nll / tokens) */
double chunks_error(const chunk_score *s);      /* its standard error, as llama.cpp's "+/-" */

#endif
