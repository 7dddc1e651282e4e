/* A comparison as tables in Markdown. */
#include "study/compare.h"
#include "study/table.h"
#include <math.h>
#include <string.h>

static table begin(const comparison *c, const char *first) {
    table t = table_create(c->count + 1);
    table_put(&t, "%s", first);
    for (int i = 0; i < c->count; i++) table_put(&t, "%s", c->models[i].name);
    return t;
}

/* ---- what they are and cost ---- */

static void put_count(table *t, const comparison *c, const char *name, int64_t (*of)(const compare_model *)) {
    char text[32];
    table_put(t, "%s", name);
    for (int i = 0; i < c->count; i++) table_put(t, "%s", grouped(of(&c->models[i]), text));
}

static int64_t parameters_of(const compare_model *m) {
    return m->parameters;
}
static int64_t active_of(const compare_model *m) {
    return m->active;
}
static int64_t disk_of(const compare_model *m) {
    return m->disk_bytes;
}
static int64_t vocabulary_of(const compare_model *m) {
    return m->vocab_size;
}
static int64_t scored_of(const compare_model *m) {
    return m->total.tokens;
}

static void put_subjects(table *t, const comparison *c) {
    table_put(t, "what it is");
    for (int i = 0; i < c->count; i++) table_put(t, "%s", c->options->models[i].kind);
    table_put(t, "text held out from its training");
    for (int i = 0; i < c->count; i++) table_put(t, "%s", c->options->models[i].held_out ? "yes" : "not known");
}

static void put_speed(table *t, const compare_speed *s) {
    const int digits = s->median < 100;
    table_put(t, "%.*f (%.*f … %.*f)", digits, s->median, digits, s->least, digits, s->most);
}

static void put_speeds(table *t, const comparison *c) {
    table_put(t, "loading, s");
    for (int i = 0; i < c->count; i++) table_put(t, "%.3f", c->models[i].load_seconds);
    table_put(t, "reading %d tokens, tokens/s", COMPARE_PREFILL);
    for (int i = 0; i < c->count; i++) put_speed(t, &c->models[i].prefill);
    table_put(t, "writing %d tokens, tokens/s", COMPARE_DECODE);
    for (int i = 0; i < c->count; i++) put_speed(t, &c->models[i].decode);
    table_put(t, "peak memory of that, MiB");
    for (int i = 0; i < c->count; i++) table_put(t, "%.1f", (double)c->models[i].peak_bytes / (1 << 20));
    table_put(t, "and of scoring, MiB");
    for (int i = 0; i < c->count; i++) table_put(t, "%.1f", (double)c->models[i].scoring_bytes / (1 << 20));
}

static void print_costs(const comparison *c, FILE *out) {
    table t = begin(c, "");
    put_subjects(&t, c);
    put_count(&t, c, "parameters", parameters_of);
    put_count(&t, c, "of them a token uses", active_of);
    put_count(&t, c, "vocabulary", vocabulary_of);
    put_count(&t, c, "bytes on the disk", disk_of);
    put_speeds(&t, c);
    table_put(&t, "window, of it new tokens");
    for (int i = 0; i < c->count; i++)
        table_put(&t, "%lld, %lld", (long long)c->models[i].seq, (long long)c->models[i].stride);
    put_count(&t, c, "tokens scored", scored_of);
    table_print(&t, out);
    fprintf(out,
            "\nSpeeds are of one sequence on %d threads (%s), medians of %d (least … most); loading has its files in "
            "the page cache. "
            "Memory is the peak of the model's own process.\n",
            kernels_threads(), c->options->k->name, COMPARE_REPEATS);
}

/* ---- what they are worth ---- */

static const char *domain_name(const comparison *c, int domain) {
    return domain < c->domain_count ? c->domain_name[domain] : c->pieces.whole ? "all" : "all (sample)";
}

static const piece_score *score_of(const comparison *c, const compare_model *m, int domain) {
    return domain < c->domain_count ? &m->domain[domain] : &m->total;
}

static int64_t bytes_of(const comparison *c, int domain) {
    return domain < c->domain_count ? c->domain_bytes[domain] : c->pieces.bytes;
}

static void put_difference(table *t, const comparison *c, const compare_model *m, int domain) {
    const paired_difference *d = domain < c->domain_count ? &m->difference[domain] : &m->in_all;
    if (isnan(d->error))
        table_put(t, "%+.4f", d->mean);
    else
        table_put(t, "%+.4f ± %.4f %s", d->mean, d->error, paired_verdict(d));
}

static void print_bits(const comparison *c, FILE *out) {
    char text[32];
    table t = table_create(3 + c->count + c->count - 1);
    table_put(&t, "bits per byte");
    table_put(&t, "bytes");
    for (int i = 0; i < c->count; i++) table_put(&t, "%s", c->models[i].name);
    for (int i = 1; i < c->count; i++) table_put(&t, "%s − %s", c->models[i].name, c->models[0].name);
    table_put(&t, "units");
    for (int d = 0; d <= c->domain_count; d++) {
        if (bytes_of(c, d) == 0) continue;
        const int64_t units = d < c->domain_count ? c->models[0].difference[d].units : c->models[0].in_all.units;
        table_put(&t, "%s", domain_name(c, d));
        table_put(&t, "%s", grouped(bytes_of(c, d), text));
        for (int i = 0; i < c->count; i++)
            table_put(&t, "%.4f", compare_bpb(score_of(c, &c->models[i], d), bytes_of(c, d)));
        for (int i = 1; i < c->count; i++) put_difference(&t, c, &c->models[i], d);
        table_put(&t, "%lld%s", (long long)units,
                  d == c->domain_count ? ""
                  : c->by_document[d]  ? " documents"
                                       : " pieces");
    }
    table_print(&t, out);
    fprintf(out,
            "\nDifferences are paired, with their standard error over the units (a piece has up to %d bytes); "
            "\"even\" is less than two errors.\n",
            PIECE_BYTES);
}

static void print_perplexity(const comparison *c, FILE *out) {
    table t = begin(c, "perplexity per token");
    bool same = true;
    for (int d = 0; d <= c->domain_count; d++) {
        if (bytes_of(c, d) == 0) continue;
        table_put(&t, "%s", domain_name(c, d));
        for (int i = 0; i < c->count; i++) table_put(&t, "%.2f", compare_perplexity(score_of(c, &c->models[i], d)));
    }
    for (int i = 1; i < c->count; i++) same &= c->models[i].total.tokens == c->models[0].total.tokens;
    table_print(&t, out);
    if (!same)
        fputs("\nThe models' tokens are not the same: bits per byte can be compared, perplexities cannot.\n", out);
}

/* ---- what they write ---- */

static void print_sanity(const comparison *c, FILE *out) {
    table t = begin(c, "what they write");
    table_put(&t, "texts");
    for (int i = 0; i < c->count; i++) table_put(&t, "%d", c->models[i].sample_count);
    table_put(&t, "ended by themselves within %lld tokens", (long long)c->options->new_tokens);
    for (int i = 0; i < c->count; i++) table_put(&t, "%lld", (long long)c->models[i].ended);
    table_put(&t, "mean length, tokens");
    for (int i = 0; i < c->count; i++) table_put(&t, "%.1f", c->models[i].mean_tokens);
    table_put(&t, "mean length, bytes");
    for (int i = 0; i < c->count; i++) table_put(&t, "%.1f", c->models[i].mean_bytes);
    table_put(&t, "repeated 4-grams of words");
    for (int i = 0; i < c->count; i++) {
        const compare_model *m = &c->models[i];
        if (m->grams > 0)
            table_put(&t, "%.1f %%", 100.0 * (double)m->repeated / (double)m->grams);
        else
            table_put(&t, "–");
    }
    table_print(&t, out);
    fprintf(out, "\nThe same prompts and seeds for each, temperature %g, top-p %g.\n", c->options->sampler.temperature,
            c->options->sampler.top_p);
}

/* As a quotation: what a model writes is not to be taken for Markdown. */
static void print_text(const char *text, FILE *out) {
    const char *fence = strstr(text, "```") ? "~~~~~~" : "```";
    fprintf(out, "%stext\n%s\n%s\n\n", fence, text, fence);
}

static void print_samples(const comparison *c, FILE *out) {
    fputs("\n## Samples\n\n", out);
    for (int s = 0; s < c->models[0].sample_count; s++) {
        const compare_sample *first = &c->models[0].samples[s];
        fprintf(out, "### Prompt %d, seed %llu\n\n", 1 + s / c->options->samples, (unsigned long long)first->seed);
        print_text(first->prompt, out);
        for (int i = 0; i < c->count; i++) {
            const compare_sample *sample = &c->models[i].samples[s];
            fprintf(out, "%s, %lld tokens%s:\n\n", c->models[i].name, (long long)sample->tokens,
                    sample->ended ? ", ended by itself" : "");
            print_text(sample->text, out);
        }
    }
}

/* ---- all ---- */

static void print_head(const comparison *c, FILE *out) {
    char text[32];
    const compare_options *o = c->options;
    fprintf(out, "# %d models on %s%s bytes of ", c->count, c->pieces.whole ? "" : "a sample of ",
            grouped(c->pieces.bytes, text));
    if (o->data)
        fprintf(out, "%s\n\n", o->data);
    else if (o->file_count == 1)
        fprintf(out, "%s\n\n", o->files[0]);
    else
        fprintf(out, "%d files\n\n", o->file_count);
}

void compare_print(const comparison *c, bool samples, const char *plot, FILE *out) {
    print_head(c, out);
    print_costs(c, out);
    fputc('\n', out);
    print_bits(c, out);
    if (plot) fprintf(out, "\n![bits per byte by domain, and against the speed of writing](%s)\n", plot);
    fputc('\n', out);
    print_perplexity(c, out);
    if (c->models[0].sample_count == 0) return;
    fputc('\n', out);
    print_sanity(c, out);
    if (samples) print_samples(c, out);
}
