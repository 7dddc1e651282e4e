/* The stream of a packed model against the float model's, where each block reads it: by layer and pass of the loop. */
#include "base/memory.h"
#include "nn/plan.h"
#include "study/plot.h"
#include "study/quant_study.h"
#include "study/table.h"
#include "text/loader.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TOKENS = 2048, MOST_ENTRIES = MODEL_MAX_PATH + 1 };

/* What blocks read on one batch, as float32 in host memory. */
typedef struct stream {
    const kernels *k;
    int64_t tokens, d;
    int count;
    int layer[MOST_ENTRIES], pass[MOST_ENTRIES];
    float *x[MOST_ENTRIES]; /* [tokens, d] */
    status failed;
} stream;

static void stream_free(stream *s) {
    for (int i = 0; i < s->count; i++) free(s->x[i]);
}

static void see(void *context, int layer, int pass, const void *x, int64_t N) {
    stream *s = context;
    const size_t bytes = (size_t)(N * s->d) * sizeof(float);
    float *device;
    if (s->failed != STATUS_OK || s->count == MOST_ENTRIES) return;
    s->failed = s->k->alloc((void **)&device, bytes);
    if (s->failed != STATUS_OK) return;
    s->tokens = N;
    s->layer[s->count] = layer;
    s->pass[s->count] = pass;
    s->x[s->count] = xmalloc(bytes);
    s->k->to_float(device, x, N * s->d);
    s->k->download(s->x[s->count++], device, bytes);
    s->k->release(device);
}

static status run(stream *out, const quant_study *s, model *m, const batch *b) {
    pass *p;
    *out = (stream){.k = s->k, .d = m->config.model_dim};
    TRY(pass_create(&p, m));
    pass_watch_stream(p, see, out);
    status result = pass_observe(p, b, -1);
    pass_destroy(p);
    return result == STATUS_OK ? out->failed : result;
}

typedef struct entry_error {
    double cosine, relative; /* means over tokens; relative: √(Σ|x − y|² / Σ|x|²) */
} entry_error;

static entry_error compare(const float *x, const float *y, int64_t tokens, int64_t d) {
    double cosine = 0, off = 0, all = 0;
    for (int64_t n = 0; n < tokens; n++) {
        double xx = 0, yy = 0, xy = 0;
        for (int64_t c = n * d; c < (n + 1) * d; c++) {
            xx += (double)x[c] * x[c];
            yy += (double)y[c] * y[c];
            xy += (double)x[c] * y[c];
        }
        cosine += xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 1;
        off += xx + yy - 2 * xy;
        all += xx;
    }
    return (entry_error){cosine / (double)tokens, all > 0 ? sqrt(fmax(0, off) / all) : 0};
}

static cJSON *compare_all(const stream *x, const stream *y) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < x->count && i < y->count; i++) {
        const entry_error e = compare(x->x[i], y->x[i], x->tokens, x->d);
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "layer", x->layer[i]);
        cJSON_AddNumberToObject(one, "pass", x->pass[i]);
        cJSON_AddNumberToObject(one, "cosine", e.cosine);
        cJSON_AddNumberToObject(one, "relative", e.relative);
        cJSON_AddItemToArray(list, one);
    }
    return list;
}

/* The first tokens of the held-out text, as rows of the training's length. */
static batch first_tokens(const quant_study *s, int32_t **ids) {
    const int64_t length = s->windows.seq < MOST_TOKENS ? s->windows.seq : MOST_TOKENS;
    int64_t rows = MOST_TOKENS / length;
    while (rows > 1 && rows * length > s->text.s.count) rows--;
    const int64_t count = rows * length < s->text.s.count ? rows * length : s->text.s.count;
    *ids = xmalloc((size_t)count * sizeof **ids);
    for (int64_t i = 0; i < count; i++) (*ids)[i] = shard_token(&s->text.s, i);
    return (batch){.batch = rows, .length = count / rows, .input_ids = *ids};
}

status quant_study_stream(const quant_study *s, model *packed, cJSON **list) {
    int32_t *ids;
    stream x = {0}, y = {0};
    const batch b = first_tokens(s, &ids);
    status result = run(&x, s, s->m, &b);
    if (result == STATUS_OK) result = run(&y, s, packed, &b);
    if (result == STATUS_OK) *list = compare_all(&x, &y);
    stream_free(&x);
    stream_free(&y);
    free(ids);
    return result;
}

static char *key_of(double bits) {
    return xasprintf("gptq %g", bits);
}

static status measure(quant_study *s, double bits) {
    char *key = key_of(bits);
    if (quant_study_known(s, "layers", key)) {
        free(key);
        return STATUS_OK;
    }
    int64_t bytes;
    model *packed = NULL;
    pack_report report = {0};
    cJSON *list;
    status result = quant_study_pack(s, NULL, QUANTIZER_GPTQ, bits, &packed, &bytes, &report);
    if (result == STATUS_OK) result = quant_study_stream(s, packed, &list);
    if (result == STATUS_OK) result = quant_study_keep(s, "layers", key, list);
    model_destroy(packed);
    pack_report_free(&report);
    free(key);
    return result;
}

/* ---- table and plot ---- */

static const cJSON *entry_of(const quant_study *s, int rate, int i) {
    char *key = key_of(s->options->rates[rate]);
    const cJSON *list = quant_study_known(s, "layers", key);
    free(key);
    return cJSON_GetArrayItem(list, i);
}

/* What block `layer` gets in a pass, or at last what the head gets. */
void quant_study_reader(char text[32], const quant_study *s, const cJSON *entry) {
    const int layer = (int)quant_study_number(entry, "layer"), pass = (int)quant_study_number(entry, "pass");
    if (layer == s->m->config.num_layers)
        snprintf(text, 32, "head");
    else if (pass > 0)
        snprintf(text, 32, "block %d, pass %d", layer, pass + 1);
    else
        snprintf(text, 32, "block %d", layer);
}

static void put_table(const quant_study *s, FILE *out) {
    const int rates = s->options->rate_count;
    table t = table_create(1 + 2 * rates);
    table_put(&t, "read by");
    for (int j = 0; j < rates; j++) {
        table_put(&t, "%g bits: 1 - cosine", s->options->rates[j]);
        table_put(&t, "relative error");
    }
    for (int i = 0; entry_of(s, 0, i); i++) {
        char title[32];
        quant_study_reader(title, s, entry_of(s, 0, i));
        table_put(&t, "%s", title);
        for (int j = 0; j < rates; j++) {
            table_put(&t, "%.2e", 1 - quant_study_number(entry_of(s, j, i), "cosine"));
            table_put(&t, "%.4f", quant_study_number(entry_of(s, j, i), "relative"));
        }
    }
    fprintf(out, "\n## The hidden state against the float model's, where each block reads it\n\n");
    table_print(&t, out);
}

static status draw(const quant_study *s) {
    plot p;
    bool found;
    TRY(plot_begin(&p, "layers", 900, 460));
    for (int i = 0; entry_of(s, 0, i); i++) {
        char title[32];
        quant_study_reader(title, s, entry_of(s, 0, i));
        fputs(title, p.data);
        for (int j = 0; j < s->options->rate_count; j++)
            fprintf(p.data, "\t%.6g", quant_study_number(entry_of(s, j, i), "relative"));
        fputc('\n', p.data);
    }
    fprintf(p.script,
            "set title 'relative error of the hidden state, packed against float'\nset xtics rotate by -35 left\n"
            "set logscale y\nset key outside right top\nplot ");
    for (int j = 0; j < s->options->rate_count; j++)
        fprintf(p.script, "%s'layers.tsv' using 0:%d%s with linespoints lw 2 pt 7 title '%g bits'", j ? ", " : "",
                j + 2, j ? "" : ":xtic(1)", s->options->rates[j]);
    fputc('\n', p.script);
    return plot_end(&p, s->options->out, &found);
}

status quant_layers(quant_study *s, FILE *out) {
    for (int j = 0; j < s->options->rate_count; j++) TRY(measure(s, s->options->rates[j]));
    put_table(s, out);
    return draw(s);
}
