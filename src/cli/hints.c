#include "cli/hints.h"

#include "base/memory.h"
#include "base/nearest.h"
#include "train/config.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LETTERS = 40 };

/* ---- the options that a help text lists: lines that begin with two spaces and a dash, "  --device D, --dtype T   cpu" ---- */

typedef struct listed {
    char name[MOST_LETTERS + 1];
    bool value; /* it takes one: "--out DIR", not "--list" */
} listed;

static const char *next_line(const char *line) {
    const char *end = strchr(line, '\n');
    return end ? end + 1 : NULL;
}

/* The option that begins at `at`; returns what is behind it, to the next one of the same line or NULL. */
static const char *read_option(const char *at, listed *o) {
    size_t letters = strspn(at, "-abcdefghijklmnopqrstuvwxyz");
    snprintf(o->name, sizeof o->name, "%.*s", (int)letters, at);
    at += letters;
    o->value = at[0] == ' ' && isupper((unsigned char)at[1]);
    at += o->value ? 1 + strcspn(at + 1, " ,\n") : 0;
    return strncmp(at, ", -", 3) == 0 ? at + 2 : NULL;
}

typedef void (*option_visitor)(void *context, const listed *o);

static void each_option(const char *help, option_visitor visit, void *context) {
    for (const char *line = help; line; line = next_line(line)) {
        if (strncmp(line, "  -", 3) != 0) continue;
        for (const char *at = line + 2; at;) {
            listed o;
            at = read_option(at, &o);
            visit(context, &o);
        }
    }
}

/* ---- which of them is meant ---- */

typedef struct search {
    char word[MOST_LETTERS + 1]; /* what was typed, to its '=' */
    listed exact, begun;         /* spelt the same; one begins with the other; a name of "" where there is none */
    listed near;
    size_t distance; /* of near */
} search;

static void look_at(void *context, const listed *o) {
    search *s = context;
    if (strcmp(o->name, s->word) == 0) s->exact = *o;
    size_t word = strlen(s->word), name = strlen(o->name), shorter = word < name ? word : name;
    if (shorter > 3 && strncmp(o->name, s->word, shorter) == 0) s->begun = *o;
    size_t distance = edit_distance(s->word, o->name);
    if (s->near.name[0] && distance >= s->distance) return;
    s->near = *o;
    s->distance = distance;
}

/* What users of Hugging Face, llama.cpp and GNU tools type. */
static const struct {
    const char *command, *option, *hint;
} foreign[] = {
    {"generate", "-m", "the model is the first argument"},
    {"generate", "--model", "the model is the first argument"},
    {"generate", "-p", "the prompt is the argument behind the model"},
    {"generate", "--prompt", "the prompt is the argument behind the model; --prompt-file FILE takes it from a file"},
    {"generate", "-f", "--prompt-file FILE takes the prompt from a file"},
    {"generate", "--file", "--prompt-file FILE takes the prompt from a file"},
    {"generate", "--n-predict", "--tokens N is how many new tokens there may be"},
    {"generate", "--max-tokens", "--tokens N is how many new tokens there may be"},
    {"generate", "--max-new-tokens", "--tokens N is how many new tokens there may be"},
    {"generate", "-c", "--context N is how much of a prompt is read"},
    {"generate", "--ctx-size", "--context N is how much of a prompt is read"},
    {"generate", "--samples", "-n N is how many texts are made"},
    {"generate", "--num-return-sequences", "-n N is how many texts are made"},
    {"eval", "--model", "the model is the first argument"},
    {"eval", "--batch-size", "moec eval takes as many windows at a time as are good for the machine"},
    {"pack", "--output", "-o FILE says where the artifact goes"},
    {"pack", "--out", "-o FILE says where the artifact goes"},
    {"data", "--output", "the folder to write is the first argument"},
    {"data", "--out", "the folder to write is the first argument"},
    {"data", "--input", "--domain NAME=PATH names a text; give it once for each"},
    {"data", "--vocab-size", "--vocab N is how many pieces the tokenizer gets"},
    {"data", "--val-split", "--heldout SHARE is the share that is kept from training"},
    {"data", "--force", "--overwrite replaces what an earlier run made"},
    {"train", "--force", "--overwrite begins the run anew"},
    {"train", "--config", "the preset is the first argument"},
    {"train", "--continue", "--resume goes on with the run"},
    {"train", "--help-all", "--keys shows every key"},
};

static const char *foreign_hint(const char *command, const char *option) {
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (strcmp(foreign[i].command, command) == 0 && strcmp(foreign[i].option, option) == 0) return foreign[i].hint;
    return NULL;
}

/* `--matrix-lr 0.02` where matrix_lr=0.02 was meant; NULL: there is no such key. A new string. */
static char *key_of(const command *c, const char *option) {
    if (!strstr(c->help, "key=value")) return NULL;
    char *key = xstrdup(option + strspn(option, "-"));
    for (char *at = key; *at; at++)
        if (*at == '-') *at = '_';
    if (schema_find(&run_schema, key) >= 0) return key;
    free(key);
    return NULL;
}

static status hint_key(const command *c, const char *key, const char *option, const char *value) {
    bool usable = value && value[0] != '-';
    return fail_usage("%s: %.60s: keys of the configuration are given without dashes: %s=%.40s", c->name, option, key,
                      usable ? value : "VALUE");
}

/* An option that the help lists was left over: its value is missing, or it has one that it does not take. */
static status hint_value(const command *c, const listed *o, const char *typed, const char *next) {
    if (!o->value) return fail_usage("%s: %s takes no value, found `%.60s`", c->name, o->name, typed);
    return next ? fail_usage("%s: %s: expected a value behind it, found `%.60s`", c->name, o->name, next)
                : fail_usage("%s: %s: expected a value behind it, found nothing", c->name, o->name);
}

static status hint_name(const command *c, const search *s, const char *typed) {
    const char *foreign_name = foreign_hint(c->name, s->word);
    if (foreign_name) return fail_usage("%s: unknown option %.60s; %s", c->name, typed, foreign_name);
    size_t letters = strlen(s->word);
    const listed *meant = s->begun.name[0]                                ? &s->begun
                          : letters > 2 && s->distance <= 1 + letters / 4 ? &s->near
                                                                          : NULL;
    if (meant && meant->name[0])
        return fail_usage("%s: unknown option %.60s; the nearest is %s", c->name, typed, meant->name);
    return fail_usage("%s: unknown option %.60s; moec %s --help lists what there is", c->name, typed, c->name);
}

status hint_option(const command *c, int argc, char **argv, int at) {
    const char *typed = argv[at], *equals = strchr(typed, '='), *next = at + 1 < argc ? argv[at + 1] : NULL;
    search s = {0};
    snprintf(s.word, sizeof s.word, "%.*s", equals ? (int)(equals - typed) : (int)strlen(typed), typed);
    each_option(c->help, look_at, &s);
    if (s.exact.name[0]) return hint_value(c, &s.exact, typed, next);
    char *key = key_of(c, s.word);
    if (!key) return hint_name(c, &s, typed);
    status result = hint_key(c, key, typed, equals ? equals + 1 : next);
    free(key);
    return result;
}
