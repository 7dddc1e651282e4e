/* What stands beside a tokenizer.json: which tokens begin and end a text, and the chat template. It comes from
 * tokenizer_config.json, generation_config.json, config.json and chat_template.jinja of a model's folder.
 *
 * Checkpoints and artifacts store a tokenizer as one text, a bundle: the tokenizer.json of a model and these files as members
 * of one JSON object, each as it was.
 *
 *   {"moec_tokenizer": 1, "tokenizer": {…}, "tokenizer_config": {…}, "generation_config": {…},
 *    "config": {"eos_token_id": …}, "chat_template": "…"}                                          all but the first two may be absent */
#ifndef MOEC_TEXT_TOKENIZER_SETTINGS_H
#define MOEC_TEXT_TOKENIZER_SETTINGS_H

#include "text/json_fields.h"
#include "text/text_buffer.h"
#include <stdbool.h>
#include <stdint.h>

enum { BUNDLE_VERSION = 1, SETTINGS_MAX_BYTES = 16 << 20, MOST_ENDS = 64 };

typedef struct tokenizer_settings {
    char *bos, *eos;    /* the names of tokens; NULL: none */
    bool says_adds_bos; /* adds_bos is said */
    bool adds_bos;
    char *chat_template;     /* NULL: none */
    int64_t ends[MOST_ENDS]; /* ids */
    int end_count;
} tokenizer_settings;

/* The parts of a bundle; a tokenizer.json alone is its own part. */
status tokenizer_settings_read(json_scan json, json_scan *tokenizer, tokenizer_settings *s, const char *where);
void tokenizer_settings_free(tokenizer_settings *s);

/* The bundle of a folder that has a tokenizer.json. */
status tokenizer_bundle_folder(const char *folder, text_buffer *bundle);
/* The text as a JSON string, with its quotes. */
void text_append_json(text_buffer *b, const char *text, size_t bytes);

#endif
