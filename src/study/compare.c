#include "study/compare.h"

#include "base/child.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/progress.h"
#include "study/compare_child.h"
#include "study/order.h"
#include "study/repetition.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

double compare_bpb(const piece_score *s, int64_t bytes) {
    return bytes > 0 ? s->nll / M_LN2 / (double)bytes : NAN;
}

double compare_perplexity(const piece_score *s) {
    return s->tokens > 0 ? exp(s->nll / (double)s->tokens) : NAN;
}

/* ---- processes ---- */

static status run_child(const compare_task *task, child_work work, cJSON **json) {
    uint8_t *bytes;
    size_t count;
    TRY(child_run(task->name, work, (void *)task, &bytes, &count));
    *json = cJSON_Parse((char *)bytes);
    free(bytes);
    return *json ? STATUS_OK : fail("%s: its process gave no answer that can be read", task->name);
}

static double number(const cJSON *json, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

/* Every model and its text once. *bytes: of the text, those that the first model has `tokens` of. */
static status look_at_all(const compare_options *o, comparison *c, int64_t *bytes) {
    progress shown = progress_start("look at models");
    status s = STATUS_OK;
    *bytes = 0;
    for (int i = 0; i < o->count && s == STATUS_OK; i++) {
        cJSON *json;
        progress_show(&shown, (double)i / o->count, c->models[i].name);
        s = run_child(&(compare_task){o, &o->models[i], c->models[i].name, 0}, compare_look, &json);
        if (s != STATUS_OK) break;
        const double all = number(json, "bytes"), tokens = number(json, "tokens");
        if (i == 0 && o->tokens > 0 && (double)o->tokens < tokens)
            *bytes = llround(fmax(1, all * (double)o->tokens / tokens));
        cJSON_Delete(json);
    }
    progress_clear(&shown);
    return s;
}

/* ---- what a process found ---- */

static status read_pieces(const cJSON *json, text_pieces *p) {
    const cJSON *places = cJSON_GetObjectItemCaseSensitive(json, "pieces"), *place;
    p->items = xcalloc((size_t)cJSON_GetArraySize(places) + 1, sizeof *p->items);
    p->whole = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "whole"));
    cJSON_ArrayForEach(place, places) {
        const cJSON *v = place->child;
        text_piece *piece = &p->items[p->count++];
        piece->first = (int64_t)v->valuedouble;
        piece->end = (int64_t)(v = v->next)->valuedouble;
        piece->document = (int64_t)(v = v->next)->valuedouble;
        piece->domain = (int64_t)v->next->valuedouble;
        p->bytes += piece->end - piece->first;
    }
    return STATUS_OK;
}

/* A unit of a domain's error is a document where there are enough of them. */
static void count_documents(comparison *c) {
    int64_t documents[EVAL_MAX_DOMAINS] = {0};
    for (int64_t i = 0; i < c->pieces.count; i++) {
        const text_piece *p = &c->pieces.items[i];
        c->domain_bytes[p->domain] += p->end - p->first;
        documents[p->domain] += i == 0 || p[-1].document != p->document;
    }
    for (int i = 0; i < c->domain_count; i++) c->by_document[i] = documents[i] >= COMPARE_DOCUMENTS;
}

/* The text, from the first model; every other one must have been scored on the same. */
static status take_text(comparison *c, const cJSON *json, const compare_model *m) {
    const cJSON *domain;
    if (m == c->models) {
        TRY(read_pieces(json, &c->pieces));
        cJSON_ArrayForEach(domain, cJSON_GetObjectItemCaseSensitive(json, "domains"))
            c->domain_name[c->domain_count++] = xstrdup(domain->valuestring);
        count_documents(c);
    }
    const int found = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "nll"));
    if (found == c->pieces.count) return STATUS_OK;
    return fail("%s: expected the same text as for %s, %lld pieces, found %d: did it change?", m->name,
                c->models[0].name, (long long)c->pieces.count, found);
}

static void take_scores(const comparison *c, const cJSON *json, compare_model *m) {
    const cJSON *nll = cJSON_GetObjectItemCaseSensitive(json, "nll")->child;
    const cJSON *tokens = cJSON_GetObjectItemCaseSensitive(json, "tokens")->child;
    m->pieces = xcalloc((size_t)c->pieces.count + 1, sizeof *m->pieces);
    for (int64_t i = 0; i < c->pieces.count; i++, nll = nll->next, tokens = tokens->next) {
        piece_score *domain = &m->domain[c->pieces.items[i].domain];
        m->pieces[i] = (piece_score){nll->valuedouble, (int64_t)tokens->valuedouble};
        domain->nll += m->pieces[i].nll;
        domain->tokens += m->pieces[i].tokens;
        m->total.nll += m->pieces[i].nll;
        m->total.tokens += m->pieces[i].tokens;
    }
}

static void take_samples(const cJSON *json, compare_model *m) {
    const cJSON *samples = cJSON_GetObjectItemCaseSensitive(json, "samples"), *item;
    double tokens = 0, bytes = 0;
    m->samples = xcalloc((size_t)cJSON_GetArraySize(samples) + 1, sizeof *m->samples);
    cJSON_ArrayForEach(item, samples) {
        compare_sample *s = &m->samples[m->sample_count++];
        s->prompt = xstrdup(cJSON_GetObjectItemCaseSensitive(item, "prompt")->valuestring);
        s->text = xstrdup(cJSON_GetObjectItemCaseSensitive(item, "text")->valuestring);
        s->seed = (uint64_t)number(item, "seed");
        s->tokens = (int64_t)number(item, "tokens");
        s->ended = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "ended"));
        const repetition r = repetition_of(s->text, strlen(s->text));
        m->grams += r.grams;
        m->repeated += r.repeated;
        m->ended += s->ended;
        tokens += (double)s->tokens;
        bytes += (double)strlen(s->text);
    }
    m->mean_tokens = m->sample_count ? tokens / m->sample_count : NAN;
    m->mean_bytes = m->sample_count ? bytes / m->sample_count : NAN;
}

static compare_speed speed_of(const cJSON *json, const char *key) {
    const cJSON *runs = cJSON_GetObjectItemCaseSensitive(json, key);
    const int count = cJSON_GetArraySize(runs);
    double values[COMPARE_REPEATS] = {NAN};
    for (int i = 0; i < count && i < COMPARE_REPEATS; i++) values[i] = cJSON_GetArrayItem(runs, i)->valuedouble;
    const double middle = median(values, COMPARE_REPEATS);
    return (compare_speed){middle, values[0], values[COMPARE_REPEATS - 1]};
}

static status take(comparison *c, const cJSON *json, compare_model *m) {
    m->vocab_size = (int)number(json, "vocab_size");
    m->parameters = (int64_t)number(json, "parameters");
    m->active = (int64_t)number(json, "active_parameters");
    m->disk_bytes = (int64_t)number(json, "disk_bytes");
    m->load_seconds = number(json, "load_seconds");
    m->prefill = speed_of(json, "prefill");
    m->decode = speed_of(json, "decode");
    m->peak_bytes = (int64_t)number(json, "peak_bytes");
    m->scoring_bytes = (int64_t)number(json, "scoring_peak_bytes");
    m->seq = (int64_t)number(json, "seq");
    m->stride = (int64_t)number(json, "stride");
    TRY(take_text(c, json, m));
    take_scores(c, json, m);
    take_samples(json, m);
    return STATUS_OK;
}

/* ---- differences ---- */

/* The pieces, or of a domain that has enough of them the documents: bits of m less those of the first model. */
static int64_t units_of(const comparison *c, const compare_model *m, paired_unit *units) {
    int64_t count = 0;
    for (int64_t i = 0; i < c->pieces.count; i++) {
        const text_piece *p = &c->pieces.items[i];
        const bool goes_on = i > 0 && c->by_document[p->domain] && p[-1].document == p->document;
        if (!goes_on) units[count++] = (paired_unit){.domain = (int)p->domain};
        units[count - 1].bits += (m->pieces[i].nll - c->models[0].pieces[i].nll) / M_LN2;
        units[count - 1].bytes += p->end - p->first;
    }
    return count;
}

static void find_difference(const comparison *c, compare_model *m) {
    paired_unit *units = xmalloc((size_t)(c->pieces.count + 1) * sizeof *units);
    const int64_t count = units_of(c, m, units);
    for (int i = 0; i < c->domain_count; i++) m->difference[i] = paired_in_domain(units, count, i);
    m->in_all = paired_in_all(units, count, c->domain_count);
    free(units);
}

/* ---- all ---- */

/* The last part of its path, unless another model has the same. */
static void name_models(comparison *c) {
    const compare_subject *all = c->options->models;
    for (int i = 0; i < c->count; i++) {
        const char *own = path_last(all[i].path);
        c->models[i].name = own;
        for (int j = 0; j < c->count; j++)
            if (j != i && strcmp(path_last(all[j].path), own) == 0) c->models[i].name = all[i].path;
    }
}

static status measure_all(const compare_options *o, comparison *c, int64_t bytes) {
    for (int i = 0; i < o->count; i++) {
        cJSON *json;
        compare_model *m = &c->models[i];
        fprintf(stderr, "compare: model %d of %d: %s\n", i + 1, o->count, m->name);
        TRY(run_child(&(compare_task){o, &o->models[i], m->name, bytes}, compare_measure, &json));
        status s = take(c, json, m);
        cJSON_Delete(json);
        TRY(s);
        find_difference(c, m);
    }
    return STATUS_OK;
}

status compare_run(const compare_options *options, comparison *c) {
    int64_t bytes;
    *c = (comparison){.options = options, .count = options->count};
    if (options->count < 2 || options->count > COMPARE_MAX_MODELS)
        return fail_usage("compare: expected 2 to %d models, found %d", COMPARE_MAX_MODELS, options->count);
    name_models(c);
    TRY(look_at_all(options, c, &bytes));
    return measure_all(options, c, bytes);
}

void comparison_free(comparison *c) {
    for (int i = 0; i < c->count; i++) {
        for (int s = 0; s < c->models[i].sample_count; s++) {
            free(c->models[i].samples[s].prompt);
            free(c->models[i].samples[s].text);
        }
        free(c->models[i].samples);
        free(c->models[i].pieces);
    }
    for (int i = 0; i < c->domain_count; i++) free(c->domain_name[i]);
    text_pieces_free(&c->pieces);
    *c = (comparison){0};
}
