/* Coarsening grids until the file is within a budget. */
#include "store/artifact_format.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Steps that are tried are FIRST_STEP to PACK_MOST_STEP of a row's σ, and EMBED_STEP of that for embeddings, which every token
 * reads and every logit depends on. */
static const double FIRST_STEP = 0.02, EMBED_STEP = 0.2;
enum { FIT_TRIES = 7 };

static void set_step(pack_options *options, double step) {
    options->quant.least_step = step;
    options->quant.embed_least_step = fmax(options->quant.embed_least_step, EMBED_STEP * step);
}

/* ---- what else would bring bytes ---- */

/* What an option that coarsens more would bring: the first of its values that reaches the budget, else its last one. */
typedef struct remedy {
    const char *option;
    const double *values;
    int count;
    double value;
    int64_t bytes; /* of the file with it, about; 0: the option has no value beyond the one given */
} remedy;

static void apply(pack_options *options, const remedy *r, double value) {
    if (strcmp(r->option, "--prune") == 0)
        options->quant.prune_fraction = value;
    else
        options->quant.embed_bits = (int)value;
}

/* Whether the value asks for less than what was given. */
static bool is_beyond(const pack_options *given, const remedy *r, double value) {
    return strcmp(r->option, "--prune") == 0 ? value > given->quant.prune_fraction
                                             : value < quant_embed_bits(&given->quant);
}

/* By rounding: GPTQ needs many times as long, and changes the size by little. */
static status measure(const pack_options *options, const model *m, const tokenizer *tok, int64_t *bytes) {
    pack_options rounded = *options;
    byte_buffer file = {0};
    pack_report report;
    rounded.quant.gptq = false;
    status s = artifact_build(&file, m, tok, NULL, &rounded, &report);
    free(file.bytes);
    *bytes = report.artifact_bytes;
    return s;
}

static status try_remedy(remedy *r, const pack_options *coarsest, const model *m, const tokenizer *tok) {
    for (int i = 0; i < r->count; i++) {
        if (!is_beyond(coarsest, r, r->values[i])) continue;
        pack_options options = *coarsest;
        apply(&options, r, r->values[i]);
        r->value = r->values[i];
        TRY(measure(&options, m, tok, &r->bytes));
        if (r->bytes <= coarsest->budget_bytes) break;
    }
    return STATUS_OK;
}

static void describe(FILE *out, const remedy *r) {
    if (r->bytes > 0) fprintf(out, "; %s %g would make it about %lld", r->option, r->value, (long long)r->bytes);
}

/* Says what is left to do where the coarsest steps do not reach the budget. */
static status too_large(const char *path, const pack_options *coarsest, const model *m, const tokenizer *tok,
                        int64_t bytes) {
    static const double embed_bits[] = {4, 3, 2}, fractions[] = {0.3, 0.6, 0.9};
    remedy embed = {.option = "--embed-bits", .values = embed_bits, .count = 3};
    remedy prune = {.option = "--prune", .values = fractions, .count = 3};
    int64_t both = 0;
    TRY(try_remedy(&embed, coarsest, m, tok));
    TRY(try_remedy(&prune, coarsest, m, tok));
    if (embed.bytes > coarsest->budget_bytes && prune.bytes > coarsest->budget_bytes) {
        pack_options options = *coarsest;
        apply(&options, &embed, embed.value);
        apply(&options, &prune, prune.value);
        TRY(measure(&options, m, tok, &both));
    }
    char *advice = NULL;
    size_t size;
    FILE *out = open_memstream(&advice, &size);
    if (!out) return fail("%s: out of memory", path);
    describe(out, &embed);
    describe(out, &prune);
    if (both) fprintf(out, ", both %lld", (long long)both);
    fclose(out);
    status s = fail("%s: expected at most %lld bytes (the budget), found %lld with the coarsest steps%s", path,
                    (long long)coarsest->budget_bytes, (long long)bytes, advice);
    free(advice);
    return s;
}

/* ---- fitting ---- */

status artifact_fit(byte_buffer *file, const model *m, const tokenizer *tok, hessians *h, pack_options options,
                    pack_report *report, const char *path) {
    const pack_options asked = options;
    double low = log(fmax(options.quant.least_step, FIRST_STEP)), high = log(PACK_MOST_STEP);
    set_step(&options, PACK_MOST_STEP);
    TRY(artifact_build(file, m, tok, h, &options, report));
    if (report->artifact_bytes > options.budget_bytes) return too_large(path, &options, m, tok, report->artifact_bytes);
    for (int i = 0; i < FIT_TRIES; i++) {
        const double middle = 0.5 * (low + high);
        byte_buffer next = {0};
        pack_report next_report;
        options = asked;
        set_step(&options, exp(middle));
        status s = artifact_build(&next, m, tok, h, &options, &next_report);
        const bool fits = s == STATUS_OK && next_report.artifact_bytes <= options.budget_bytes;
        if (fits) {
            free(file->bytes);
            *file = next;
            *report = next_report;
            high = middle;
        } else {
            free(next.bytes);
            low = middle;
        }
        TRY(s);
    }
    return STATUS_OK;
}
