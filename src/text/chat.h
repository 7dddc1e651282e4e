/* Conversations as the text that a pretrained model was trained on. What that text is, a model says by a template in Jinja
 * (tokenizer_chat_template). moec runs no Jinja: it recognises the families of templates that there are, and reads from the
 * template what differs within a family. The text is what transformers' apply_chat_template gives (without tools). */
#ifndef MOEC_TEXT_CHAT_H
#define MOEC_TEXT_CHAT_H

#include "text/tokenizer.h"

typedef enum chat_family {
    CHAT_NONE,   /* no template, or one that moec does not know */
    CHAT_CHATML, /* <|im_start|>user\nHello<|im_end|>\n */
    CHAT_LLAMA3, /* <|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|> */
    CHAT_ZEPHYR, /* <|user|>\nHello</s>\n */
    CHAT_INST    /* [INST] Hello [/INST]: Llama 2's, and Mistral's in all its versions */
} chat_family;

typedef struct chat_format chat_format;

/* template: NULL is fine. A template of no known family is CHAT_NONE, and no error. */
chat_format *chat_format_create(const char *template);
void chat_format_free(chat_format *f); /* NULL is fine */
chat_family chat_format_family(const chat_format *f);
const char *chat_family_name(chat_family family); /* "ChatML" */

typedef struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
} chat_message;

/* *text is malloc'ed. generate: the model's answer is to follow. What a template refuses (two messages of the user one after
 * another, a system message that the model does not know) is an error, as is CHAT_NONE. The text says all of its control tokens:
 * it is for tokenizer_encode_special, and BOS goes in front only where the text does not begin with it. */
status chat_render(const chat_format *f, const tokenizer *t, const chat_message *messages, int count, bool generate,
                   char **text);
/* The ids of that text, with BOS in front where the tokenizer puts one in front of every text. */
status chat_encode(const chat_format *f, const tokenizer *t, const chat_message *messages, int count, bool generate,
                   int32_t **ids, size_t *id_count);

#endif
