/* What was said, and as which tokens the model reads it. */
#include "base/memory.h"
#include "cli/chat.h"
#include "text/text_buffer.h"
#include "text/utf8.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

chat_message *chat_all_messages(const chat *c, int *all) {
    const int first = c->set.system != NULL;
    chat_message *messages = xmalloc((size_t)(c->count + 1) * sizeof *messages);
    if (first) messages[0] = (chat_message){"system", c->set.system};
    if (c->count) memcpy(messages + first, c->messages, (size_t)c->count * sizeof *messages);
    *all = c->count + first;
    return messages;
}

void chat_drop_messages(chat *c, int at, int count) {
    for (int i = at; i < at + count; i++) free((char *)c->messages[i].content);
    const int behind = c->count - at - count;
    if (behind > 0) memmove(c->messages + at, c->messages + at + count, (size_t)behind * sizeof *c->messages);
    c->count -= count;
}

void chat_add_message(chat *c, const char *role, char *content) {
    c->messages = xrealloc(c->messages, (size_t)(c->count + 1) * sizeof *c->messages);
    c->messages[c->count++] = (chat_message){role, content};
}

/* Without a template: questions and answers one behind another, each question on a line of its own. */
static status encode_plain(const chat *c, const chat_message *messages, int count, int32_t **ids, size_t *id_count) {
    text_buffer text = {0};
    for (int i = 0; i < count; i++) {
        text_append_string(&text, messages[i].content);
        if (i + 1 < count && strcmp(messages[i].role, "user") != 0) text_append_string(&text, "\n");
    }
    const size_t valid = utf8_valid_prefix(text.text, text.bytes);
    status s = STATUS_OK;
    if (valid < text.bytes)
        s = fail("the message: expected UTF-8 text, found the byte 0x%02X", (unsigned char)text.text[valid]);
    if (s == STATUS_OK) s = tokenizer_encode_text(c->tok, text.text, text.bytes, ids, id_count);
    text_free(&text);
    return s;
}

static status encode(const chat *c, int32_t **ids, size_t *id_count) {
    int count;
    chat_message *all = chat_all_messages(c, &count);
    const status s = chat_format_family(c->format) == CHAT_NONE
                         ? encode_plain(c, all, count, ids, id_count)
                         : chat_encode(c->format, c->tok, all, count, true, ids, id_count);
    free(all);
    return s;
}

status chat_encode_fitting(chat *c, int32_t **ids, size_t *id_count) {
    const int64_t quarter = c->context / 4, room = c->set.tokens < quarter ? c->set.tokens : quarter;
    bool dropped = false;
    TRY(encode(c, ids, id_count));
    while ((int64_t)*id_count + room > c->context && c->count > 2) {
        chat_drop_messages(c, 0, 2);
        dropped = true;
        free(*ids);
        *ids = NULL;
        TRY(encode(c, ids, id_count));
    }
    if (dropped)
        fprintf(stderr,
                "the conversation has outgrown the context of %" PRId64 " tokens: its oldest part is left out\n",
                c->context);
    return STATUS_OK;
}
