/* What a conversation's answers are made with: set by options before it, by commands within it. */
#include "base/memory.h"
#include "base/nearest.h"
#include "cli/chat_commands.h"
#include "cli/cli.h"
#include "cli/eval_chunks.h"
#include "nn/expert_names.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one function a setting: `name` is how the user calls it, text the value ---- */

static status set_float(const char *name, const char *text, double most, float *value) {
    double parsed;
    TRY(cli_number(name, text, 0, most, &parsed));
    *value = (float)parsed;
    return STATUS_OK;
}

static status set_temperature(chat *c, const char *name, const char *text) {
    return set_float(name, text, 100, &c->set.s.temperature);
}

static status set_top_p(chat *c, const char *name, const char *text) {
    return set_float(name, text, 1, &c->set.s.top_p);
}

static status set_top_k(chat *c, const char *name, const char *text) {
    long long value;
    TRY(cli_integer(name, text, 0, 1 << 20, &value));
    c->set.s.top_k = (int)value;
    return STATUS_OK;
}

static status set_seed(chat *c, const char *name, const char *text) {
    long long value;
    TRY(cli_integer(name, text, 0, INT64_MAX, &value));
    c->set.s.seed = (uint64_t)value;
    return STATUS_OK;
}

static status set_tokens(chat *c, const char *name, const char *text) {
    return cli_integer(name, text, 1, 1 << 20, &c->set.tokens);
}

static status set_system(chat *c, const char *name, const char *text) {
    (void)name;
    free(c->set.system);
    c->set.system = text[0] ? xstrdup(text) : NULL;
    return STATUS_OK;
}

static status need_experts(const chat *c, const char *name) {
    if (c->routing) return STATUS_OK;
    return fail_usage("%s: expected a model with experts, found one without: %s", name, c->path);
}

static status set_experts(chat *c, const char *name, const char *text) {
    long long value;
    TRY(need_experts(c, name));
    TRY(cli_integer(name, text, 1, c->m->config.moe.experts, &value));
    TRY(eval_set_top_k(c->m, name, (int)value));
    c->set.top_k = (int)value;
    conversation_forget(c->talk);
    return STATUS_OK;
}

static status set_omit(chat *c, const char *name, const char *text) {
    const moe_config *moe = &c->m->config.moe;
    bool off[MODEL_MAX_EXPERTS] = {false}, allowed[MODEL_MAX_EXPERTS];
    int left = moe->experts;
    TRY(need_experts(c, name));
    if (text[0]) TRY(experts_read(moe, name, text, off));
    for (int e = 0; e < moe->experts; e++) {
        allowed[e] = !off[e];
        left -= off[e];
    }
    if (left == 0) return fail_usage("%s: expected at least one expert that stays, found none", name);
    TRY(pass_allow_experts(c->p, left < moe->experts ? allowed : NULL, 1));
    memcpy(c->set.off, off, sizeof off);
    conversation_forget(c->talk);
    return STATUS_OK;
}

static status set_routing(chat *c, const char *name, const char *text) {
    long long layer = ROUTING_ALL_LAYERS;
    TRY(need_experts(c, name));
    if (strcmp(text, "off") == 0)
        layer = ROUTING_OFF;
    else if (text[0] && strcmp(text, "all") != 0)
        TRY(cli_integer(name, text, 0, c->m->config.num_layers - 1, &layer));
    if (layer >= 0 && !model_config_is_moe(&c->m->config, (int)layer))
        return fail_usage("%s: expected a layer with experts, found %lld, which has none", name, layer);
    chat_routing_show(c->routing, (int)layer);
    chat_routing_legend(c->routing);
    return STATUS_OK;
}

/* ---- saying what they are ---- */

static void say_temperature(const chat *c) {
    fprintf(stderr, "%g", (double)c->set.s.temperature);
}

static void say_top_p(const chat *c) {
    fprintf(stderr, "%g", (double)c->set.s.top_p);
}

static void say_top_k(const chat *c) {
    fprintf(stderr, "%d", c->set.s.top_k);
}

static void say_seed(const chat *c) {
    fprintf(stderr, "%" PRIu64, c->set.s.seed);
}

static void say_tokens(const chat *c) {
    fprintf(stderr, "%lld", c->set.tokens);
}

static void say_system(const chat *c) {
    fputs(c->set.system ? c->set.system : "none", stderr);
}

static void say_experts(const chat *c) {
    fprintf(stderr, "%d of %d", c->set.top_k, c->m->config.moe.experts);
}

static void say_omit(const chat *c) {
    char list[512];
    expert_list(&c->m->config.moe, c->set.off, list, sizeof list);
    fputs(list[0] ? list : "none", stderr);
}

static void say_routing(const chat *c) {
    const int layer = chat_routing_shown(c->routing);
    if (layer >= 0)
        fprintf(stderr, "layer %d", layer);
    else
        fputs(layer == ROUTING_OFF ? "off" : "all", stderr);
}

/* ---- the table ---- */

typedef struct setting {
    const char *name, *option;
    const char *argument, *meaning; /* for /help */
    bool of_experts;                /* the model must be open, and have experts */
    status (*set)(chat *c, const char *name, const char *text);
    void (*say)(const chat *c);
} setting;

static const setting settings[CHAT_SETTINGS] = {
    {"temperature", "--temperature", "X", "0: always the likeliest token", false, set_temperature, say_temperature},
    {"top_p", "--top-p", "X", "only the likeliest tokens that together have probability X", false, set_top_p,
     say_top_p},
    {"top_k", "--top-k", "N", "only the N likeliest tokens (0: all)", false, set_top_k, say_top_k},
    {"seed", "--seed", "N", "the same seed gives the same answer", false, set_seed, say_seed},
    {"tokens", "--tokens", "N", "of an answer, at most", false, set_tokens, say_tokens},
    {"system", "--system", "[TEXT]", "a system message; without TEXT: none", false, set_system, say_system},
    {"experts", "--experts", "N", "experts a token goes to", true, set_experts, say_experts},
    {"omit", "--omit", "[NAME,NAME]", "experts that are off, by name or number; without NAME: none", true, set_omit,
     say_omit},
    {"routing", "--routing-layer", "[all|off|N]", "colour the answer by its experts, those of layer N or of all", true,
     set_routing, say_routing},
};

static const char all_layers[] = "all"; /* what --routing says */

void chat_take_options(int *argc, char **argv, const char *values[CHAT_SETTINGS]) {
    const bool routing = cli_flag(argc, argv, "--routing");
    for (int i = 0; i < CHAT_SETTINGS; i++) {
        values[i] = cli_option(argc, argv, settings[i].option);
        if (routing && settings[i].set == set_routing && !values[i]) values[i] = all_layers;
    }
}

status chat_set_options(chat *c, const char *const values[CHAT_SETTINGS], bool with_model) {
    for (int i = 0; i < CHAT_SETTINGS; i++) {
        const char *given = values[i] == all_layers ? "--routing" : settings[i].option;
        if (values[i] && settings[i].of_experts == with_model) TRY(settings[i].set(c, given, values[i]));
    }
    return STATUS_OK;
}

bool chat_setting(chat *c, const char *name, const char *text, status *outcome) {
    for (int i = 0; i < CHAT_SETTINGS; i++) {
        if (strcmp(settings[i].name, name) != 0) continue;
        char called[32];
        snprintf(called, sizeof called, "/%s", name);
        *outcome = settings[i].set(c, called, text);
        return true;
    }
    return false;
}

void chat_settings_offer(nearest *n) {
    for (int i = 0; i < CHAT_SETTINGS; i++) nearest_offer(n, settings[i].name);
}

void chat_settings_help(const chat *c) {
    for (int i = 0; i < CHAT_SETTINGS; i++) {
        if (settings[i].of_experts && !c->routing) continue;
        fprintf(stderr, "  /%s %-*s %s (now ", settings[i].name, 24 - (int)strlen(settings[i].name),
                settings[i].argument, settings[i].meaning);
        settings[i].say(c);
        fputs(")\n", stderr);
    }
}
