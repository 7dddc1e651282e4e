/* What a client asks for, read from the JSON of a body: OpenAI's keys of completions, chat completions and embeddings,
 * those samplers that other servers have beside them (top_k, min_p, repetition_penalty), and moec's own (`moec`,
 * `routing`). Every wrong type and every value outside its range is one error that names the key. A key that nobody knows
 * is passed over, since clients send many; within `moec` it is refused. */
#ifndef MOEC_SERVE_REQUEST_H
#define MOEC_SERVE_REQUEST_H

#include "generate/scheduler.h"
#include "serve/body.h"
#include "text/chat.h"

enum {
    REQUEST_PROMPTS = 64, /* of one request, at most */
    REQUEST_STOPS = 16,   /* stop strings, of up to STOP_BYTES */
    STOP_BYTES = 256,
    REQUEST_BIASES = 1024, /* entries of logit_bias */
    REQUEST_MESSAGES = 4096
};

/* What requests are held against. */
typedef struct request_limits {
    const char *model; /* its name: a request for another one is refused */
    const model_config *config;
    int vocab;          /* ids below it have a piece */
    int64_t max_tokens; /* of one text */
    int choices;        /* texts of one request: n times its prompts */
} request_limits;

/* A prompt is text or tokens. */
typedef struct request_prompt {
    const char *text; /* NULL: tokens */
    int32_t *ids;
    size_t id_count;
} request_prompt;

/* `moec`: which experts may be asked. */
typedef struct expert_request {
    bool restricted; /* allowed says something */
    bool allowed[MODEL_MAX_EXPERTS];
    int top_k;                         /* 0: the model's */
    bool by_layer;                     /* layer_top_k says something */
    int layer_top_k[MODEL_MAX_LAYERS]; /* 0: top_k */
    bool secretary;                    /* the routers read the prompt first, and one expert answers */
} expert_request;

typedef struct completion_request {
    cJSON *body; /* texts lie in it */
    bool chat;
    request_prompt *prompts; /* [prompt_count]; none with `chat` */
    int prompt_count;
    chat_message *messages; /* [message_count] */
    int message_count;
    int n;              /* texts for each prompt */
    int64_t max_tokens; /* 0: as many as there is room for */
    sampler sampler;    /* its seed is that of the first text; the next ones have the next seeds */
    bool has_seed;
    logit_bias *biases;
    const char *stops[REQUEST_STOPS];
    int stop_count;
    int top_log_probs; /* −1: none */
    bool stream, include_usage;
    bool routing;
    expert_request experts;
} completion_request;

/* body becomes the request's. r is to be freed after a failure too. */
status completion_request_read(completion_request *r, bool chat, cJSON *body, const request_limits *limits,
                               api_error *e);
void completion_request_free(completion_request *r);

typedef struct embedding_request {
    cJSON *body;
    request_prompt *inputs;
    int input_count;
    bool base64; /* of little-endian float32 values, as OpenAI's own client asks for them */
} embedding_request;
status embedding_request_read(embedding_request *r, cJSON *body, const request_limits *limits, api_error *e);
void embedding_request_free(embedding_request *r);

/* A text, a list of texts, a list of token ids, or a list of such lists: into *prompts [*count], malloc'ed. Texts stay
 * where they are. Nothing to be freed after a failure. */
status request_prompts_read(const members *m, const char *key, int vocab, request_prompt **prompts, int *count);
void request_prompts_free(request_prompt *prompts, int count);
/* `model`: absent, or the one that is served. */
status model_name_read(const members *m, const char *served);

#endif
