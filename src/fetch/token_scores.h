/* What a server's model thinks of tokens that it is given: the k most probable ones at each place, behind the tokens before it.
 *
 * Two dialects give that by the numbers of tokens, which is the only way that is exact:
 *     POST ENDPOINT/completions {"model": M, "prompt": [ids], "echo": true, "logprobs": K, "max_tokens": 0,
 *                                "return_tokens_as_token_ids": true, …}                                  vLLM
 *          → {"choices": [{"logprobs": {"tokens": ["token_id:5", …], "top_logprobs": [null, {"token_id:7": −0.1, …}, …]}}]}
 *     POST ROOT/completion {"prompt": [ids], "n_predict": 1, "n_probs": K, "cache_prompt": true, …}      llama.cpp, a token at a time
 *          → {"tokens_evaluated": N, "completion_probabilities": [{"top_logprobs": [{"id": 7, "logprob": −0.1}, …]}]}
 * and POST ROOT/tokenize {"content" and "prompt": TEXT, …} → {"tokens": [ids]} tells whether its vocabulary is the one that is
 * meant. ROOT is the endpoint without "/v1". Probabilities are those of the model itself, at temperature 1. */
#ifndef MOEC_FETCH_TOKEN_SCORES_H
#define MOEC_FETCH_TOKEN_SCORES_H

#include "fetch/http.h"

enum { SCORES_MAX_TOP = 256, SCORES_BYTES = 256 << 20 /* of one answer */ };

typedef enum scores_dialect { SCORES_ECHO, SCORES_LLAMA_CPP } scores_dialect;

/* Places first … first + count − 1 of the tokens that were sent: k ids by falling log-probability, −1 (and −∞) from where
 * there are no more, and the logarithm of the probability of all others together. */
typedef struct token_scores {
    int k, vocab_size; /* ids from that on count as others */
    int64_t first, count;
    int32_t *ids;            /* [count, k] */
    float *log_probs, *rest; /* [count, k], [count] */
} token_scores;

/* Nothing is known: all is "others". */
void scores_open(token_scores *s, int k, int vocab_size, int64_t first, int64_t count);
void scores_forget(token_scores *s); /* as it was opened */
void scores_close(token_scores *s);

char *scores_url(const http_client *c, scores_dialect dialect); /* new strings */
char *scores_root_url(const http_client *c, const char *path);  /* ROOT/PATH */
char *scores_body(scores_dialect dialect, const char *model, int k, const int32_t *ids, int64_t count, size_t *bytes);
char *scores_tokenize_body(const char *model, const char *text, size_t *bytes);

/* The sent ids, `sent` of them. Of SCORES_ECHO all places of s are filled in (place 0, of which nothing is said, stays unknown);
 * of SCORES_LLAMA_CPP s has one place, that behind the sent ids. An answer about other tokens, one that names tokens by text,
 * numbers that are no log-probabilities: one line that `where` begins. */
status scores_parse(token_scores *s, scores_dialect dialect, const int32_t *ids, int64_t sent, const http_client *c,
                    char *text, size_t bytes, const char *where);
/* That /tokenize gave exactly these ids. */
status scores_parse_tokens(const int32_t *ids, int64_t count, const http_client *c, char *text, size_t bytes,
                           const char *where);

#endif
