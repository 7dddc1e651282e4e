#include "cli/chat_commands.h"

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static status run_help(chat *c, const char *argument);

static status run_reset(chat *c, const char *argument) {
    (void)argument;
    chat_drop_messages(c, 0, c->count);
    fputs("a new conversation\n", stderr);
    return STATUS_OK;
}

static status run_retry(chat *c, const char *argument) {
    (void)argument;
    if (c->count < 2) return fail_usage("/retry: expected an answer before it, found none");
    chat_drop_messages(c, c->count - 1, 1);
    c->set.s.seed++;
    c->retries = true;
    return STATUS_OK;
}

/* The messages as OpenAI's API takes them. */
static cJSON *to_json(const chat *c) {
    cJSON *root = cJSON_CreateObject();
    int count;
    chat_message *all = chat_all_messages(c, &count);
    cJSON_AddStringToObject(root, "model", c->path);
    cJSON *list = cJSON_AddArrayToObject(root, "messages");
    for (int i = 0; i < count; i++) {
        cJSON *message = cJSON_CreateObject();
        cJSON_AddStringToObject(message, "role", all[i].role);
        cJSON_AddStringToObject(message, "content", all[i].content);
        cJSON_AddItemToArray(list, message);
    }
    free(all);
    return root;
}

static status run_save(chat *c, const char *argument) {
    if (!argument[0]) return fail_usage("/save: expected a file's name, found none");
    if (path_exists(argument) && (!c->saved || strcmp(c->saved, argument) != 0))
        return fail_usage("/save: %s: is there already; expected a new name", argument);
    cJSON *root = to_json(c);
    const status s = json_write_file(argument, root);
    cJSON_Delete(root);
    TRY(s);
    free(c->saved);
    c->saved = xstrdup(argument);
    fprintf(stderr, "saved in %s\n", argument);
    return STATUS_OK;
}

static status run_quit(chat *c, const char *argument) {
    (void)argument;
    c->ended = true;
    return STATUS_OK;
}

typedef struct chat_verb {
    const char *name, *argument, *meaning;
    status (*run)(chat *c, const char *argument);
} chat_verb;

static const chat_verb verbs[] = {
    {"help", "", "what there is to say with a slash", run_help},
    {"reset", "", "begin a new conversation, with the same settings", run_reset},
    {"retry", "", "have the last question answered again, with the next seed", run_retry},
    {"save", "FILE", "the conversation as JSON: {\"model\", \"messages\"}", run_save},
    {"quit", "", "end, as Ctrl-D does", run_quit},
};
enum { VERBS = sizeof verbs / sizeof *verbs };

static status run_help(chat *c, const char *argument) {
    (void)argument;
    for (int i = 0; i < VERBS; i++)
        fprintf(stderr, "  /%s %-*s %s\n", verbs[i].name, 24 - (int)strlen(verbs[i].name), verbs[i].argument,
                verbs[i].meaning);
    chat_settings_help(c);
    fputs("A line that ends in \\ goes on in the next; //TEXT says /TEXT to the model. Ctrl-C stops an answer.\n",
          stderr);
    return STATUS_OK;
}

static status unknown(const char *name) {
    nearest n = {.word = name};
    for (int i = 0; i < VERBS; i++) nearest_offer(&n, verbs[i].name);
    chat_settings_offer(&n);
    return fail_usage("unknown command /%.40s; the nearest is /%s", name, n.name);
}

status chat_command(chat *c, const char *line) {
    char name[48];
    const size_t letters = strcspn(line + 1, " \t");
    const char *argument = line + 1 + letters + strspn(line + 1 + letters, " \t");
    status outcome;
    snprintf(name, sizeof name, "%.*s", (int)(letters < sizeof name ? letters : sizeof name - 1), line + 1);
    for (char *at = name; *at; at++) *at = *at == '-' ? '_' : *at; /* /top-k, as the option is */
    for (int i = 0; i < VERBS; i++)
        if (strcmp(verbs[i].name, name) == 0) return verbs[i].run(c, argument);
    return chat_setting(c, name, argument, &outcome) ? outcome : unknown(name);
}
