/* Text from a model, token by token, in the caller's thread. A prompt is read once, and any number of texts continue it,
 * one after another; many at a time are a scheduler's (scheduler.h). */
#ifndef MOEC_GENERATE_GENERATE_H
#define MOEC_GENERATE_GENERATE_H

#include "generate/drafts.h"
#include "generate/writing.h"

typedef struct prompt_options {
    int64_t context;    /* > 0: of a longer prompt only its last tokens, so many with BOS; 0: all */
    int64_t chunk;      /* tokens that are read at a time, between looks for Ctrl-C; 0: 256 */
    bool show_progress; /* on stderr, where reading takes long */
} prompt_options;

typedef struct generation generation;
/* Texts of up to max_tokens behind prompt, with p, which nothing else may use until generation_close. The tokenizer says
 * whether BOS comes first (tokenizer_adds_bos). */
status generation_open(generation **out, pass *p, const tokenizer *tok, const char *prompt, size_t bytes,
                       const prompt_options *o, int64_t max_tokens);
/* The same behind a prompt that is tokens already (chat.h), with BOS where it is to be; nothing is BOS. */
status generation_open_ids(generation **out, pass *p, const tokenizer *tok, const int32_t *ids, size_t count,
                           const prompt_options *o, int64_t max_tokens);
void generation_close(generation *g); /* NULL is fine */
/* From now on texts are read ahead (drafts.h): they are the same, and come in fewer passes where they can be foreseen. */
status generation_speculate(generation *g, const draft_source *from);

typedef struct prompt_report {
    int64_t tokens, read; /* of the whole prompt; of what the model is shown; BOS among them */
    double seconds;       /* of generation_read */
} prompt_report;
prompt_report generation_prompt(const generation *g);

/* Let the model read the prompt, if it did not yet. STATUS_INTERRUPTED where Ctrl-C came. */
status generation_read(generation *g);

/* Called with each piece of text as soon as it is whole UTF-8; return false to stop. */
typedef bool (*generate_sink)(void *context, const char *text, size_t bytes);
typedef struct generate_result {
    int64_t new_tokens;
    double seconds;
    draft_figures drafts;
} generate_result;
/* A text behind the prompt, up to max_tokens or to the first of the tokenizer's end tokens. The same sampler gives the same
 * text each time. */
status generation_continue(generation *g, const sampler *s, generate_sink sink, void *context, generate_result *result);

/* All of it, for one text behind a prompt that ends with NUL. */
status generate(pass *p, const tokenizer *tok, const char *prompt, const sampler *s, int64_t max_tokens,
                generate_sink sink, void *context, generate_result *result);

#endif
