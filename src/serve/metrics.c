#include "serve/metrics.h"

#include "base/memory.h"
#include "base/text_stream.h"
#include "nn/expert_names.h"
#include "nn/hot_experts.h"
#include "serve/api_error.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const int statuses[] = {
    HTTP_OK,        HTTP_NO_CONTENT,       HTTP_BAD_REQUEST,        HTTP_UNAUTHORIZED,
    HTTP_FORBIDDEN, HTTP_NOT_FOUND,        HTTP_METHOD_NOT_ALLOWED, HTTP_REQUEST_TIMEOUT,
    HTTP_TOO_LARGE, HTTP_UNSUPPORTED_TYPE, HTTP_MISDIRECTED,        HTTP_TOO_MANY,
    HTTP_INTERNAL,  HTTP_NOT_IMPLEMENTED,  HTTP_UNAVAILABLE,        0 /* others: the client left */};
enum { STATUSES = sizeof statuses / sizeof *statuses };

struct metrics {
    const char *const *routes;
    int count;
    atomic_llong *requests;     /* [count, STATUSES] */
    atomic_llong *microseconds; /* [count] */
    atomic_int connections;
};

metrics *metrics_create(const char *const *routes, int count) {
    metrics *m = xcalloc(1, sizeof *m);
    *m = (metrics){.routes = routes, .count = count};
    m->requests = xcalloc((size_t)count * STATUSES, sizeof *m->requests);
    m->microseconds = xcalloc((size_t)count, sizeof *m->microseconds);
    return m;
}

void metrics_free(metrics *m) {
    if (!m) return;
    free(m->requests);
    free(m->microseconds);
    free(m);
}

void metrics_count(metrics *m, int route, int http, double seconds) {
    int i = 0;
    while (i < STATUSES - 1 && statuses[i] != http) i++;
    atomic_fetch_add(&m->requests[route * STATUSES + i], 1);
    atomic_fetch_add(&m->microseconds[route], (long long)(seconds * 1e6));
}

void metrics_connections(metrics *m, int open) {
    atomic_store(&m->connections, open);
}

/* ---- text ---- */

static void head(FILE *out, const char *name, const char *type, const char *help) {
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(FILE *out, const char *name, const char *type, const char *help, double value) {
    head(out, name, type, help);
    fprintf(out, "%s %.15g\n", name, value);
}

/* A label's value: names of experts may have any bytes. */
static void put_label(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '\\' || *text == '"') fputc('\\', out);
        if (*text == '\n')
            fputs("\\n", out);
        else
            fputc(*text, out);
    }
}

static void put_requests(FILE *out, metrics *m) {
    head(out, "moec_requests_total", "counter", "Requests that were answered; status 0: the client left before.");
    for (int r = 0; r < m->count; r++)
        for (int i = 0; i < STATUSES; i++) {
            const long long n = atomic_load(&m->requests[r * STATUSES + i]);
            if (n > 0)
                fprintf(out, "moec_requests_total{route=\"%s\",status=\"%d\"} %lld\n", m->routes[r], statuses[i], n);
        }
    head(out, "moec_request_seconds_total", "counter", "Time from a request's head to the last byte of its answer.");
    for (int r = 0; r < m->count; r++)
        fprintf(out, "moec_request_seconds_total{route=\"%s\"} %.6f\n", m->routes[r],
                (double)atomic_load(&m->microseconds[r]) / 1e6);
    one(out, "moec_connections", "gauge", "Open connections.", atomic_load(&m->connections));
}

static void put_histogram(FILE *out, const char *name, const char *help, const latency_histogram *h) {
    int64_t sum = 0;
    head(out, name, "histogram", help);
    for (int i = 0; i < LATENCY_BUCKETS; i++) {
        sum += h->counts[i];
        if (i < LATENCY_BUCKETS - 1)
            fprintf(out, "%s_bucket{le=\"%g\"} %" PRId64 "\n", name, latency_bounds[i], sum);
        else
            fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRId64 "\n", name, sum);
    }
    fprintf(out, "%s_sum %.6f\n%s_count %" PRId64 "\n", name, h->sum, name, sum);
}

static void put_scheduler(FILE *out, const scheduler_statistics *s) {
    one(out, "moec_slots", "gauge", "Texts that can run at a time.", s->slots);
    one(out, "moec_running", "gauge", "Texts that run.", s->running);
    one(out, "moec_waiting", "gauge", "Texts that wait for a slot.", s->waiting);
    one(out, "moec_queue_size", "gauge", "Texts that may wait.", s->queue);
    one(out, "moec_texts_accepted_total", "counter", "Texts that were begun or wait.", (double)s->accepted);
    one(out, "moec_texts_refused_total", "counter", "Texts that the queue had no room for.", (double)s->full);
    head(out, "moec_texts_ended_total", "counter", "Texts that ended, by reason.");
    for (int r = 0; r < END_REASONS; r++)
        fprintf(out, "moec_texts_ended_total{reason=\"%s\"} %" PRId64 "\n", end_reason_name((end_reason)r),
                s->ended[r]);
    one(out, "moec_prompt_tokens_total", "counter", "Tokens of prompts, the cached ones too.",
        (double)s->prompt_tokens);
    one(out, "moec_cached_tokens_total", "counter", "Tokens of prompts that were read before.",
        (double)s->cached_tokens);
    one(out, "moec_completion_tokens_total", "counter", "Tokens that were drawn.", (double)s->completion_tokens);
    one(out, "moec_proposed_tokens_total", "counter", "Tokens that were read because somebody proposed them.",
        (double)s->drafts.proposed);
    one(out, "moec_accepted_tokens_total", "counter", "Of these, those that were drawn.", (double)s->drafts.accepted);
    one(out, "moec_steps_total", "counter", "Passes of the model.", (double)s->steps);
    one(out, "moec_busy_seconds_total", "counter", "Time in passes.", s->busy_seconds);
    put_histogram(out, "moec_first_token_seconds", "Time from a request to its first token.", &s->first_token);
    put_histogram(out, "moec_between_tokens_seconds", "Time between two tokens of a text.", &s->between_tokens);
}

static void put_cache(FILE *out, const cache_figures *c) {
    const struct {
        const char *state;
        int64_t blocks;
    } states[] = {{"used", c->used}, {"kept", c->kept}, {"free", c->free}};
    one(out, "moec_cache_token_bytes", "gauge", "Keys and values of a token.", (double)c->token_bytes);
    one(out, "moec_cache_room_bytes", "gauge", "The same of all blocks.",
        (double)(c->token_bytes * c->block_tokens * c->blocks));
    one(out, "moec_cache_block_tokens", "gauge", "Tokens of a block of keys and values.", (double)c->block_tokens);
    head(out, "moec_cache_blocks", "gauge", "Blocks of texts that run, of prompts kept from others, and free ones.");
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        fprintf(out, "moec_cache_blocks{state=\"%s\"} %" PRId64 "\n", states[i].state, states[i].blocks);
    one(out, "moec_cache_shared_blocks", "gauge", "Blocks that several texts or kept prompts hold.", (double)c->shared);
    one(out, "moec_texts_put_back_total", "counter", "Texts that left their blocks to others, to be read again later.",
        (double)c->put_back);
}

static void put_experts(FILE *out, const served *s) {
    const moe_config *c = &s->m->config.moe;
    scheduler_traffic n;
    char name[EXPERT_NAME_BYTES];
    scheduler_traffic_read(s->scheduler, &n);
    if (n.layers > 0) head(out, "moec_expert_tokens_total", "counter", "Tokens that an expert was asked about.");
    for (int i = 0; i < n.layers; i++)
        for (int e = 0; e < n.experts; e++) {
            fprintf(out, "moec_expert_tokens_total{layer=\"%d\",expert=\"", n.layer[i]);
            put_label(out, expert_name(c, e, name));
            fprintf(out, "\"} %" PRId64 "\n", n.counts[i * n.experts + e]);
        }
    free(n.counts);
}

static void put_hot_experts(FILE *out, const model *m) {
    hot_experts_statistics n;
    hot_experts_read(m, &n);
    if (n.most == 0) return;
    one(out, "moec_hot_experts", "gauge", "Experts of a layer that are in memory at most.", n.most);
    one(out, "moec_hot_expert_hits_total", "counter", "Experts that were in memory when tokens came to them.",
        (double)n.hits);
    one(out, "moec_hot_expert_misses_total", "counter", "Experts that were read from the files for that.",
        (double)n.misses);
}

char *metrics_text(metrics *m, const served *s) {
    text_stream t;
    scheduler_statistics figures;
    FILE *out = text_stream_begin(&t);
    scheduler_read(s->scheduler, &figures);
    put_requests(out, m);
    one(out, "moec_side_waiting", "gauge", "Embeddings and questions to routers that run or wait.",
        atomic_load(&s->waiting));
    put_scheduler(out, &figures);
    put_experts(out, s);
    put_hot_experts(out, s->m);
    put_cache(out, &figures.cache);
    one(out, "moec_resident_bytes", "gauge", "Memory of the process.", (double)memory_resident());
    return text_stream_end(&t);
}
