/* One text that is being written: from the logits of its last token to the next one, to what can be read of it, and to
 * its end. */
#ifndef MOEC_GENERATE_WRITING_H
#define MOEC_GENERATE_WRITING_H

#include "generate/sampler.h"

enum { TOP_LOG_PROBS_OF_TOKEN = 20 }; /* OpenAI's bound on top_logprobs */

/* Which experts were asked, in one pass through one router. */
typedef struct token_route {
    int layer, pass; /* pass: of a looped layer, from 0 */
    int count;
    const int32_t *experts; /* [count], largest gate's first as the router chose them */
    const float *gates;     /* [count] */
} token_route;

typedef struct token_event {
    int32_t id;
    /* What became readable with it: whole UTF-8, NUL-terminated, may be empty. Text that may be the beginning of a stop
     * string is held back until it is not; the concatenation of all texts, with that of the end, is the answer. */
    const char *text;
    size_t bytes;
    float log_prob; /* of the token; where log_probs */
    int top_count;
    const token_probability *top; /* [top_count], likeliest first */
    /* Of the pass that made this token's logits: the experts that said it, in path order. Those that read it afterwards
     * are the next event's; a text's last token is read by nobody. None where routing was not asked for. */
    int route_count;
    const token_route *routes;
} token_event;

typedef enum end_reason {
    END_STOP,   /* an end token, a stop token, a stop string, or the end of a JSON object */
    END_LENGTH, /* max_tokens, or the context is full */
    END_CANCELLED,
    END_ERROR,
    END_REASONS
} end_reason;
const char *end_reason_name(end_reason r); /* "stop", "length", "cancelled", "error" */

typedef struct writing_options {
    sampler sampler;
    int64_t max_tokens;       /* ≥ 1 */
    const char *const *stops; /* none of them empty */
    int stop_count;
    const int32_t *stop_tokens; /* beside the tokenizer's end tokens */
    int stop_token_count;
    bool ignore_end;   /* the tokenizer's end tokens do not end it, and are never drawn */
    bool log_probs;    /* events say their token's, */
    int top_log_probs; /* and so many alternatives', up to TOP_LOG_PROBS_OF_TOKEN */
} writing_options;

typedef struct writing writing;
/* Behind these tokens. vocab: ids below it are drawn. masks: where sampler.json. All but tok and masks, which live
 * longer, is copied. */
writing *writing_create(const tokenizer *tok, json_masks *masks, int vocab, const writing_options *o,
                        const int32_t *prompt, size_t count);
void writing_free(writing *w); /* NULL is fine */

typedef struct written {
    bool drew;         /* a token, which `event` tells of and which is to be read next; all valid until the next call */
    token_event event; /* without routes */
    bool ended;        /* with this token, or before one */
    end_reason reason; /* END_STOP or END_LENGTH */
    const char *stopped; /* the stop string that was met, or NULL */
    const char *rest;    /* text that was held back when it ended without a token; may be empty */
    size_t rest_bytes;
} written;
/* The next token, from logits [vocab], which are changed. Logits that are not finite, and a grammar that no token of the
 * vocabulary can go on, are errors. */
status writing_next(writing *w, float *logits, written *out);
int64_t writing_tokens(const writing *w); /* that were drawn, without an end token */

#endif
