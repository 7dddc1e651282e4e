#include "cli/cli.h"
#include "base/byte_count.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/hints.h"
#include "store/open.h"
#include "text/utf8.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const command *running; /* whose options they are */

status cli_run(const command *c, int argc, char **argv) {
    running = c;
    return c->run(argc, argv);
}

/* Take `count` arguments out of argv, whose end stays NULL. */
static void remove_arguments(int *argc, char **argv, int at, int count) {
    memmove(argv + at, argv + at + count, (size_t)(*argc - at - count + 1) * sizeof *argv);
    *argc -= count;
}

/* The first one's value, which is taken out with it; NULL when there is none. */
static const char *take_option(int *argc, char **argv, const char *name) {
    size_t length = strlen(name);
    for (int i = 1; i < *argc; i++) {
        bool joined = strncmp(argv[i], name, length) == 0 && argv[i][length] == '=';
        /* Without a value it stays, and cli_rest speaks of it. */
        bool apart = strcmp(argv[i], name) == 0 && i + 1 < *argc && strncmp(argv[i + 1], "--", 2) != 0;
        if (!joined && !apart) continue;
        const char *value = joined ? argv[i] + length + 1 : argv[i + 1];
        remove_arguments(argc, argv, i, joined ? 1 : 2);
        return value;
    }
    return NULL;
}

const char *cli_option(int *argc, char **argv, const char *name) {
    const char *last = NULL;
    for (const char *value; (value = take_option(argc, argv, name));) last = value;
    return last;
}

int cli_options(int *argc, char **argv, const char *name, const char ***values) {
    int count = 0;
    *values = NULL;
    for (const char *value; (value = take_option(argc, argv, name));) {
        *values = xrealloc(*values, (size_t)(count + 1) * sizeof **values);
        (*values)[count++] = value;
    }
    return count;
}

bool cli_flag(int *argc, char **argv, const char *name) {
    bool found = false;
    for (int i = 1; i < *argc;) {
        if (strcmp(argv[i], name) != 0) {
            i++;
            continue;
        }
        found = true;
        remove_arguments(argc, argv, i, 1);
    }
    return found;
}

/* "-" is stdin, and "-5 degrees" a prompt. */
static bool looks_like_option(const char *text) {
    return text[0] == '-' && (text[1] == '-' || isalpha((unsigned char)text[1]));
}

status cli_rest(int argc, char **argv, int at_least, int at_most, const char *usage) {
    for (int i = 1; i < argc; i++)
        if (looks_like_option(argv[i])) return hint_option(running, argc, argv, i);
    int found = argc - 1;
    if (found < at_least)
        return fail_usage("%s: expected at least %d argument%s, found %d; usage: %s", argv[0], at_least,
                          at_least == 1 ? "" : "s", found, usage);
    if (found > at_most)
        return fail_usage("%s: expected at most %d argument%s, found `%s` too; usage: %s", argv[0], at_most,
                          at_most == 1 ? "" : "s", argv[at_most + 1], usage);
    if (found == 0) return STATUS_OK;
    return kind_expect(argv[0], argv[1], found > 1 ? argv[2] : NULL, running->takes, running->takes_noun);
}

status cli_device(int *argc, char **argv, const char *type, const kernels **k) {
    const char *device = cli_option(argc, argv, "--device"), *wanted = cli_option(argc, argv, "--dtype");
    return device_open(device ? device : "cpu", wanted ? wanted : type ? type : "auto", k);
}

static status run_bits(const char *wanted, model_use *use) {
    static const struct {
        const char *name;
        model_use use;
    } uses[] = {{"stored", MODEL_RUN_STORED}, {"8", MODEL_RUN_8}, {"4", MODEL_RUN_4}, {"exact", MODEL_RUN}};
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        if (strcmp(wanted, uses[i].name) == 0) {
            *use = uses[i].use;
            return STATUS_OK;
        }
    return fail_usage("--run-bits: expected stored, 8, 4 or exact, found `%.60s`", wanted);
}

status cli_run_bits(int *argc, char **argv, model_use *use) {
    const char *bits = cli_option(argc, argv, "--run-bits"), *inputs = cli_option(argc, argv, "--run-inputs");
    if (bits) TRY(run_bits(bits, use));
    if (!inputs) return STATUS_OK;
    if (!model_use_packs(*use))
        return fail_usage("--run-inputs: expected --run-bits stored, 8 or 4 beside it, found exact");
    if (strcmp(inputs, "8") == 0)
        *use |= MODEL_RUN_INPUTS_8;
    else if (strcmp(inputs, "16") != 0)
        return fail_usage("--run-inputs: expected 16 or 8, found `%.60s`", inputs);
    return STATUS_OK;
}

status cli_weights(int *argc, char **argv, const char **which) {
    const bool live = cli_flag(argc, argv, "--live"), average = cli_flag(argc, argv, "--ema");
    if (live && average) return fail_usage("--live and --ema exclude each other");
    *which = live ? "live" : average ? "ema" : "chosen";
    return STATUS_OK;
}

status cli_hold(checkpoint **saved, const char *path, const char *which) {
    TRY(checkpoint_open(saved, path));
    return *saved ? STATUS_OK : open_check_weights(path, which);
}

/* *value stays as it is, a default, when the option is absent (text NULL). */
status cli_integer(const char *option, const char *text, long long least, long long most, long long *value) {
    if (!text) return STATUS_OK;
    char *end;
    errno = 0;
    long long parsed = strtoll(text, &end, 10);
    if (end == text || *end || errno || parsed < least || parsed > most)
        return fail_usage("%s: expected an integer from %lld to %lld, found `%s`", option, least, most, text);
    *value = parsed;
    return STATUS_OK;
}

status cli_bytes(const char *option, const char *text, long long least, long long most, long long *value) {
    int64_t parsed;
    if (!text) return STATUS_OK;
    if (!byte_count_parse(text, &parsed) || parsed < least || parsed > most)
        return fail_usage("%s: expected bytes from %lld to %lld, such as " BYTE_COUNT_EXAMPLES ", found `%s`", option,
                          least, most, text);
    *value = parsed;
    return STATUS_OK;
}

status cli_number(const char *option, const char *text, double least, double most, double *value) {
    if (!text) return STATUS_OK;
    char *end;
    double parsed = strtod(text, &end);
    if (end == text || *end || !isfinite(parsed) || parsed < least || parsed > most)
        return fail_usage("%s: expected a number from %g to %g, found `%s`", option, least, most, text);
    *value = parsed;
    return STATUS_OK;
}

void cli_print_json(cJSON *json) {
    char *text = cJSON_Print(json), *mended = utf8_mended(text); /* paths may be any bytes */
    puts(mended);
    free(mended);
    cJSON_free(text);
    cJSON_Delete(json);
}

void cli_results(const char *format, ...) {
    va_list arguments;
    fflush(stdout);
    fputs("results in ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}
