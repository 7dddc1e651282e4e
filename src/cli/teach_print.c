#include "cli/teach_print.h"

#include "cli/cli.h"
#include <stdio.h>

static double a_token(double of_all, const teach_totals *t) {
    return t->sum.taught > 0 ? of_all / (double)t->sum.taught : 0;
}

static double speed(const teach_totals *t) {
    return t->sum.seconds > 0 ? (double)t->sum.taught / t->sum.seconds : 0;
}

void teach_print(const teach_request *q, const teach_totals *t) {
    const teaching_result *r = &t->sum;
    printf("\n%-12s %s\n", "teacher", q->path);
    printf("%-12s %s: %lld tokens in %d shard%s\n", "text", q->data, (long long)r->tokens, t->shards,
           t->shards == 1 ? "" : "s");
    printf("%-12s %lld tokens, %lld of them new in each\n", "windows", (long long)t->facts.seq,
           (long long)t->facts.stride);
    printf("%-12s %.1f MB, %.2f bytes a token\n", "cache", (double)r->bytes / 1e6,
           (double)r->bytes / (double)(r->tokens > 0 ? r->tokens : 1));
    if (r->taught == 0) {
        printf("%-12s nothing: all of it was there\n", "taught now");
        return;
    }
    printf("%-12s %lld tokens, %.0f a second\n", "taught now", (long long)r->taught, speed(t));
    printf("%-12s have %.1f %% of the probability, and the text's own token %.1f %% of the time\n", "the top",
           100 * a_token(r->covered, t), 100 * a_token((double)r->among, t));
}

void teach_print_json(const teach_request *q, const teach_totals *t) {
    const teaching_result *r = &t->sum;
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "teacher", q->path);
    cJSON_AddStringToObject(root, "data", q->data);
    cJSON_AddStringToObject(root, "cache", q->out);
    cJSON_AddNumberToObject(root, "top", t->facts.k);
    cJSON_AddNumberToObject(root, "seq", (double)t->facts.seq);
    cJSON_AddNumberToObject(root, "stride", (double)t->facts.stride);
    cJSON_AddNumberToObject(root, "batch", (double)t->batch);
    cJSON_AddNumberToObject(root, "shards", t->shards);
    cJSON_AddNumberToObject(root, "tokens", (double)r->tokens);
    cJSON_AddNumberToObject(root, "taught", (double)r->taught);
    cJSON_AddNumberToObject(root, "bytes", (double)r->bytes);
    cJSON_AddNumberToObject(root, "seconds", r->seconds);
    cJSON_AddNumberToObject(root, "tokens_per_second", speed(t));
    cJSON_AddNumberToObject(root, "covered", a_token(r->covered, t));
    cJSON_AddNumberToObject(root, "among_top", a_token((double)r->among, t));
    cli_print_json(root);
}
