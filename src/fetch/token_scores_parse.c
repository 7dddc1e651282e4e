/* The answers (token_scores.h). */
#include "base/memory.h"
#include "fetch/completion.h"
#include "fetch/json_members.h"
#include "fetch/mend.h"
#include "fetch/token_scores.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CANDIDATES = 4096 /* that a server may send for a place */ };
static const double ROUNDING = 1e-3, /* of log-probabilities, and of their sum */
    NOTHING = -9999;                 /* what servers write for −∞, or less */

/* ---- the candidates of one place ---- */

typedef struct candidate {
    int64_t id;
    double log_prob;
} candidate;

typedef struct candidates {
    candidate list[MOST_CANDIDATES];
    int count;
} candidates;

static int by_probability(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->log_prob != y->log_prob) return x->log_prob > y->log_prob ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static int by_id(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static status check_twice(candidates *of, const char *where) {
    qsort(of->list, (size_t)of->count, sizeof *of->list, by_id);
    for (int i = 1; i < of->count; i++)
        if (of->list[i].id == of->list[i - 1].id)
            return fail("%s: expected each token once, found token %" PRId64 " twice", where, of->list[i].id);
    return STATUS_OK;
}

/* The k best into place `at` of s. */
static status choose(token_scores *s, int64_t at, candidates *of, const char *where) {
    int32_t *ids = s->ids + at * s->k;
    float *log_probs = s->log_probs + at * s->k;
    double sum = 0;
    int taken = 0;
    TRY(check_twice(of, where));
    qsort(of->list, (size_t)of->count, sizeof *of->list, by_probability);
    for (int i = 0; i < of->count && taken < s->k; i++) {
        const candidate *next = &of->list[i];
        if (next->log_prob > ROUNDING) return fail("%s: expected a log-probability, found %g", where, next->log_prob);
        if (next->log_prob <= NOTHING) break;
        if (next->id >= s->vocab_size) continue;
        ids[taken] = (int32_t)next->id;
        log_probs[taken++] = (float)fmin(next->log_prob, 0);
        sum += exp(fmin(next->log_prob, 0));
    }
    if (sum > 1 + ROUNDING) return fail("%s: expected probabilities, found %g as their sum", where, sum);
    s->rest[at] = sum < 1 ? (float)log1p(-sum) : -INFINITY;
    return taken ? STATUS_OK : fail("%s: expected the most probable tokens, found none", where);
}

/* ---- answers ---- */

typedef struct answer {
    token_scores *s;
    scores_dialect dialect;
    const int32_t *ids;
    int64_t sent;
    int64_t echoed, places; /* of SCORES_ECHO: tokens, and lists of candidates, that were found */
    int64_t evaluated;      /* of SCORES_LLAMA_CPP: tokens; −1: it does not say */
    bool found;             /* there */
    candidates *of;
    int64_t id; /* of a candidate object; −1: not said */
    double log_prob;
    char *error;
} answer;

static status add_candidate(json_members *p, answer *x, int64_t id, double log_prob) {
    if (x->of->count == MOST_CANDIDATES) return json_malformed(p, "fewer candidates for a token");
    x->of->list[x->of->count++] = (candidate){id, log_prob};
    return STATUS_OK;
}

static status take_log_prob(json_members *p, double *value) {
    json_scan number = p->scan;
    if (json_scan_number(&number, value)) {
        p->scan = number;
        return STATUS_OK;
    }
    return json_malformed(p, "a finite log-probability");
}

/* "token_id:N" */
static status token_of(json_members *p, int64_t *id) {
    static const char begin[] = "token_id:";
    char *end = p->text;
    *id = -1;
    if (strncmp(p->text, begin, sizeof begin - 1) == 0) *id = strtoll(p->text + sizeof begin - 1, &end, 10);
    if (*id >= 0 && *id <= INT32_MAX && *end == '\0' && end != p->text + sizeof begin - 1) return STATUS_OK;
    return fail(
        "%s: expected tokens by their numbers, \"token_id:N\", found others: this server does not say which tokens it "
        "means",
        p->where);
}

static status take_echoed(json_members *p, answer *x) {
    int64_t id;
    if (!json_scan_string(&p->scan, p->text)) return json_malformed(p, "a token");
    TRY(token_of(p, &id));
    const int64_t at = x->echoed++;
    if (at >= x->sent || id == x->ids[at]) return STATUS_OK;
    return fail_usage("%s: token %" PRId64 ": expected %" PRId32 ", which was sent, found %" PRId64
                      ": the tokens of another model",
                      p->where, at, x->ids[at], id);
}

static status take_candidate_key(json_members *p, void *context, bool *taken) {
    (void)taken;
    int64_t id;
    double log_prob;
    TRY(token_of(p, &id));
    TRY(take_log_prob(p, &log_prob));
    return add_candidate(p, context, id, log_prob);
}

static status take_place(json_members *p, answer *x) {
    const int64_t at = x->places++;
    const bool wanted = at >= x->s->first && at < x->s->first + x->s->count && at > 0;
    if (!wanted) return json_scan_skip(&p->scan) ? STATUS_OK : json_malformed(p, "a value");
    x->of->count = 0;
    TRY(json_take_members(p, "a token's candidates", take_candidate_key, x));
    char *where = xasprintf("%s: token %" PRId64, p->where, at);
    status s = choose(x->s, at - x->s->first, x->of, where);
    free(where);
    return s;
}

static status take_list(json_members *p, answer *x, const char *what, status (*take)(json_members *p, answer *x)) {
    if (!json_scan_take(&p->scan, '[')) return json_malformed(p, what);
    if (json_scan_take(&p->scan, ']')) return STATUS_OK;
    do TRY(take(p, x));
    while (json_scan_take(&p->scan, ','));
    return json_scan_take(&p->scan, ']') ? STATUS_OK : json_malformed(p, "']'");
}

static status take_logprobs(json_members *p, void *context, bool *taken) {
    answer *x = context;
    if (strcmp(p->text, "tokens") == 0 && !x->echoed) return take_list(p, x, "a list of tokens", take_echoed);
    if (strcmp(p->text, "top_logprobs") == 0 && !x->places && !json_take_null(p))
        return take_list(p, x, "a list of candidates", take_place);
    *taken = false;
    return STATUS_OK;
}

static status take_choice_member(json_members *p, void *context, bool *taken) {
    answer *x = context;
    *taken =
        x->dialect == SCORES_ECHO && strcmp(p->text, "logprobs") == 0 && json_scan_peek(&p->scan) == '{' && !x->found;
    if (!*taken) return STATUS_OK;
    x->found = true;
    return json_take_members(p, "logprobs", take_logprobs, context);
}

static status take_choice(json_members *p, answer *x) {
    return json_take_members(p, "a choice", take_choice_member, x);
}

static status take_candidate_member(json_members *p, void *context, bool *taken) {
    answer *x = context;
    uint64_t id;
    if (strcmp(p->text, "logprob") == 0) return take_log_prob(p, &x->log_prob);
    *taken = strcmp(p->text, "id") == 0;
    if (!*taken) return STATUS_OK;
    if (!json_scan_size(&p->scan, &id)) return json_malformed(p, "a token's number");
    x->id = (int64_t)id;
    return STATUS_OK;
}

static status take_candidate(json_members *p, answer *x) {
    x->id = -1;
    x->log_prob = NAN;
    TRY(json_take_members(p, "a candidate", take_candidate_member, x));
    if (x->id < 0 || isnan(x->log_prob)) return json_malformed(p, "a candidate's id and logprob");
    return add_candidate(p, x, x->id, x->log_prob);
}

static status take_probability_member(json_members *p, void *context, bool *taken) {
    answer *x = context;
    *taken = x->dialect == SCORES_LLAMA_CPP && strcmp(p->text, "top_logprobs") == 0 && !x->found;
    if (!*taken) return STATUS_OK;
    x->found = true;
    x->of->count = 0;
    TRY(take_list(p, x, "a list of candidates", take_candidate));
    return choose(x->s, 0, x->of, p->where);
}

static status take_probability(json_members *p, answer *x) {
    return json_take_members(p, "a token's probabilities", take_probability_member, x);
}

static status take_answer(json_members *p, void *context, bool *taken) {
    answer *x = context;
    uint64_t evaluated;
    if (strcmp(p->text, "error") == 0) return json_take_excerpt(p, &x->error, "an error");
    if (strcmp(p->text, "choices") == 0) return take_list(p, x, "a list of choices", take_choice);
    if (strcmp(p->text, "completion_probabilities") == 0)
        return take_list(p, x, "a list of probabilities", take_probability);
    *taken = strcmp(p->text, "tokens_evaluated") == 0;
    if (!*taken) return STATUS_OK;
    if (!json_scan_size(&p->scan, &evaluated)) return json_malformed(p, "a number of tokens");
    x->evaluated = (int64_t)evaluated;
    return STATUS_OK;
}

/* Everything that was asked for is there. */
static status check_whole(const answer *x, scores_dialect dialect, const char *where) {
    if (!x->found)
        return fail_usage("%s: expected log-probabilities of the %s, found none: this server does not give them", where,
                          dialect == SCORES_ECHO ? "prompt's tokens (echo, logprobs)" : "next token (n_probs)");
    if (dialect == SCORES_LLAMA_CPP)
        return x->evaluated == x->sent
                   ? STATUS_OK
                   : fail_usage("%s: expected an answer behind %" PRId64 " tokens, found one behind %" PRId64, where,
                                x->sent, x->evaluated);
    if (x->echoed < x->sent || x->places < x->sent)
        return fail("%s: expected %" PRId64 " tokens with their candidates, found %" PRId64, where, x->sent,
                    x->echoed < x->places ? x->echoed : x->places);
    return STATUS_OK;
}

status scores_parse(token_scores *s, scores_dialect dialect, const int32_t *ids, int64_t sent, const http_client *c,
                    char *text, size_t bytes, const char *where) {
    mend_utf8(text, bytes);
    mend_escapes(text, bytes);
    scores_forget(s);
    answer x = {.s = s, .dialect = dialect, .ids = ids, .sent = sent, .evaluated = -1, .of = xmalloc(sizeof *x.of)};
    json_members p = {
        .scan = {text, text + bytes}, .where = where, .what = " in the answer", .text = xmalloc(bytes + 1)};
    status outcome = json_take_whole(&p, take_answer, &x);
    if (outcome == STATUS_OK)
        outcome = x.error ? completion_refused(c, x.error, where) : check_whole(&x, dialect, where);
    free(x.error);
    free(x.of);
    free(p.text);
    return outcome;
}

/* ---- the vocabulary ---- */

typedef struct tokens {
    const int32_t *ids;
    int64_t count, found;
    bool listed, others;
    char *error;
} tokens;

static status take_tokens(json_members *p, void *context, bool *taken) {
    tokens *x = context;
    uint64_t id;
    if (strcmp(p->text, "error") == 0) return json_take_excerpt(p, &x->error, "an error");
    *taken = strcmp(p->text, "tokens") == 0 && !x->listed;
    if (!*taken) return STATUS_OK;
    x->listed = true;
    if (!json_scan_take(&p->scan, '[')) return json_malformed(p, "a list of tokens");
    if (json_scan_take(&p->scan, ']')) return STATUS_OK;
    do {
        if (!json_scan_size(&p->scan, &id)) return json_malformed(p, "a token's number");
        const int64_t at = x->found++;
        x->others = x->others || at >= x->count || (uint64_t)x->ids[at] != id;
    } while (json_scan_take(&p->scan, ','));
    return json_scan_take(&p->scan, ']') ? STATUS_OK : json_malformed(p, "']'");
}

status scores_parse_tokens(const int32_t *ids, int64_t count, const http_client *c, char *text, size_t bytes,
                           const char *where) {
    tokens x = {.ids = ids, .count = count};
    json_members p = {
        .scan = {text, text + bytes}, .where = where, .what = " in the answer", .text = xmalloc(bytes + 1)};
    status s = json_take_whole(&p, take_tokens, &x);
    if (s == STATUS_OK && x.error)
        s = completion_refused(c, x.error, where);
    else if (s == STATUS_OK && (!x.listed || x.others || x.found != count))
        s = fail_usage("%s: the server's model has another vocabulary: a sample of %" PRId64 " tokens is %" PRId64
                       " others for it",
                       where, count, x.found);
    free(x.error);
    free(p.text);
    return s;
}
