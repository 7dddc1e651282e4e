/* A conversation in a terminal: its state, its commands and what it shows of routing; private to cli/chat*.c. */
#ifndef MOEC_CLI_CHAT_H
#define MOEC_CLI_CHAT_H

#include "cli/chat_routing.h"
#include "generate/conversation.h"
#include "text/chat.h"

typedef struct chat_settings {
    sampler s;
    long long tokens;            /* of an answer, at most */
    char *system;                /* NULL: no system message */
    int top_k;                   /* experts a token goes to */
    bool off[MODEL_MAX_EXPERTS]; /* experts that are not chosen */
} chat_settings;

typedef struct chat {
    const char *path; /* of the model, as the user named it */
    model *m;
    tokenizer *tok;
    pass *p;
    chat_format *format;
    conversation *talk;
    const struct speculation *guess;
    int64_t context;
    chat_settings set;
    chat_routing *routing;
    chat_message *messages; /* user, assistant, user, … without the system message; contents are malloc'ed */
    int count;
    char *saved;  /* the last file that the conversation was saved to, which may be replaced; NULL: none */
    bool retries; /* the last question is to be answered again */
    bool ended;
} chat;

/* ---- messages ---- */

/* The messages with the system message before them, for chat_render and for files; [count + 1], *all of them. malloc'ed, the texts are
 * the chat's. */
chat_message *chat_all_messages(const chat *c, int *all);
void chat_add_message(chat *c, const char *role, char *content); /* takes content over */
void chat_drop_messages(chat *c, int at, int count);             /* and free them */
/* The whole conversation as tokens, with room for an answer: the oldest questions and answers go where there is none. */
status chat_encode_fitting(chat *c, int32_t **ids, size_t *id_count);

/* ---- what is set by options (--top-k 40) and by commands (/top_k 40) alike ---- */

/* The values of all options of settings, taken out of argv; NULL where one is absent. */
enum { CHAT_SETTINGS = 9 };
void chat_take_options(int *argc, char **argv, const char *values[CHAT_SETTINGS]);
/* Before the model is open (with_model false) those that need none, then the others. */
status chat_set_options(chat *c, const char *const values[CHAT_SETTINGS], bool with_model);

/* A line that begins with a slash. Says on stderr what it did. */
status chat_command(chat *c, const char *line);

#endif
