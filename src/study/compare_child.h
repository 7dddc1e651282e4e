/* What goes from a model's process to the one that compares; private to study/compare*.c. */
#ifndef MOEC_STUDY_COMPARE_CHILD_H
#define MOEC_STUDY_COMPARE_CHILD_H

#include "study/compare.h"

typedef struct compare_task {
    const compare_options *options;
    const compare_subject *subject;
    const char *name;
    int64_t bytes; /* of text to score; 0: all */
} compare_task;

/* Works for base/child.h, with a compare_task. Opens the model and the text: {"tokens", "bytes"} of the text. */
status compare_look(void *task, uint8_t **json, size_t *count);
/* Everything: what compare_model has, the nats and tokens of each piece, and which pieces these are. */
status compare_measure(void *task, uint8_t **json, size_t *count);

/* Texts behind the same prompts: an array of {"prompt", "text", "seed", "tokens", "ended"}. t: where prompts come from if the
 * options have none. */
status compare_sample_texts(const compare_task *task, pass *p, const tokenizer *tok, const scored_text *t, cJSON **out);

#endif
