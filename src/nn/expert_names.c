#include "nn/expert_names.h"

#include <stdio.h>
#include <string.h>

const char *expert_name(const moe_config *c, int expert, char text[EXPERT_NAME_BYTES]) {
    if (expert < c->names.count) return c->names.label[expert];
    snprintf(text, EXPERT_NAME_BYTES, "expert %d", expert);
    return text;
}

const char *expert_list(const moe_config *c, const bool *chosen, char *text, size_t bytes) {
    char one[EXPERT_NAME_BYTES];
    size_t used = 0;
    text[0] = '\0';
    for (int e = 0; e < c->experts && used < bytes; e++)
        if (!chosen || chosen[e])
            used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? ", " : "", expert_name(c, e, one));
    if (used >= bytes && bytes > 3) strcpy(text + bytes - 4, "...");
    return text;
}

static bool is(const char *name, const char *text, size_t bytes) {
    return strlen(name) == bytes && memcmp(name, text, bytes) == 0;
}

int expert_find(const moe_config *c, const char *text, size_t bytes) {
    for (int e = 0; e < c->names.count; e++)
        if (is(c->names.label[e], text, bytes)) return e;
    for (int e = 0; e < c->experts; e++) {
        char number[16];
        snprintf(number, sizeof number, "%d", e);
        if (is(number, text, bytes)) return e;
    }
    return -1;
}

status experts_read(const moe_config *c, const char *option, const char *list, bool *chosen) {
    for (const char *at = list;; at++) {
        const size_t bytes = strcspn(at, ",");
        const int expert = expert_find(c, at, bytes);
        char known[512];
        if (expert < 0)
            return fail_usage("%s: expected names or numbers of experts, found `%.*s`: the experts are %s%s", option,
                              bytes < 60 ? (int)bytes : 60, at, expert_list(c, NULL, known, sizeof known),
                              c->names.count ? "" : ", by their numbers");
        chosen[expert] = true;
        at += bytes;
        if (!*at) return STATUS_OK;
    }
}
