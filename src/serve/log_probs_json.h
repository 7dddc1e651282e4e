/* Log-probabilities and routing of tokens, as JSON. */
#ifndef MOEC_SERVE_LOG_PROBS_JSON_H
#define MOEC_SERVE_LOG_PROBS_JSON_H

#include "serve/served.h"

/* Of a chat: {"content": [{"token", "logprob", "bytes", "top_logprobs": [{…}]}], "refusal": null}; *list NULL: a new one,
 * else what it gave before gets one token more. prev: the token before it. */
void chat_log_probs_add(cJSON **list, const tokenizer *tok, const token_event *token, int32_t prev);
/* Of a plain completion: {"tokens": [], "token_logprobs": [], "top_logprobs": [{}], "text_offset": []}. offset:
 * characters of the text before it. */
void text_log_probs_add(cJSON **lists, const tokenizer *tok, const token_event *token, int32_t prev, int64_t offset);

/* {"id", "text", "layers": [{"layer", "experts": [], "gates": []}]}; of the later passes of a looped layer "pass", too. */
cJSON *routing_json(const token_event *token);

/* "piece" as text, whatever bytes it stands for: U+FFFD for what is no character. A new string. */
char *token_text(const tokenizer *tok, int32_t id, int32_t prev);

/* A number with as many digits as a float has; null where it is none. */
cJSON *float_json(double number);

#endif
