/* A server whose model says of every token something that follows from the one before it, in either dialect. */
#ifndef MOEC_TESTS_FETCH_FAKE_SCORER_H
#define MOEC_TESTS_FETCH_FAKE_SCORER_H

#include "server.h"
#include <cjson/cJSON.h>
#include <math.h>

enum { SCORER_TOP = 3 };

typedef enum scorer_fault {
    SCORES_WELL,
    SCORES_BUSY,
    SCORES_BREAKS,
    SCORES_NAN,
    SCORES_OTHERS,
    SCORES_STALLS,
    SCORES_401
} scorer_fault;

typedef struct fake_scorer {
    server s;
    bool llama;
    int vocab_size;
    scorer_fault faults[16];
    int fault_count, next, asked, sent_most;
    /* Its tokenizer: a new list of ids for a text. */
    int32_t *(*tokenize)(void *context, const char *text, size_t *count);
    void *context;
} fake_scorer;

/* Of the token behind `before`: its j-th best, and how probable that is. */
static inline int32_t scorer_id(const fake_scorer *f, int32_t before, int j) {
    return (before * 7 + 3 + j) % f->vocab_size;
}
static inline double scorer_log_prob(int32_t before, int j) {
    return log(0.5) - j - 0.001 * (before % 100);
}

static inline void scorer_put_echo(const fake_scorer *f, FILE *out, const int *ids, int count) {
    fprintf(out, "{\"choices\": [{\"text\": \"\", \"logprobs\": {\"tokens\": [");
    for (int i = 0; i < count; i++) fprintf(out, "%s\"token_id:%d\"", i ? "," : "", ids[i]);
    fprintf(out, "], \"top_logprobs\": [null");
    for (int i = 1; i < count; i++) {
        fprintf(out, ",{");
        for (int j = SCORER_TOP - 1; j >= 0; j--) /* not in order */
            fprintf(out, "\"token_id:%d\": %.9g%s", scorer_id(f, ids[i - 1], j), scorer_log_prob(ids[i - 1], j),
                    j ? "," : "");
        fprintf(out, "}");
    }
    fprintf(out, "]}}]}");
}

static inline void scorer_put_llama(const fake_scorer *f, FILE *out, const int *ids, int count) {
    fprintf(out, "{\"tokens_evaluated\": %d, \"completion_probabilities\": [{\"top_logprobs\": [", count);
    for (int j = 0; j < SCORER_TOP; j++)
        fprintf(out, "%s{\"id\": %d, \"logprob\": %.9g}", j ? "," : "", scorer_id(f, ids[count - 1], j),
                scorer_log_prob(ids[count - 1], j));
    fprintf(out, "]}]}");
}

static inline void scorer_say(int fd, const char *code, const char *text) {
    say_whole(fd, code, "", text, strlen(text));
}

static inline void scorer_say_scores(fake_scorer *f, int fd, const cJSON *question, scorer_fault what) {
    const cJSON *prompt = cJSON_GetObjectItem(question, "prompt"), *item;
    int ids[4096], count = 0;
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    cJSON_ArrayForEach(item, prompt) if (count < 4096) ids[count++] = item->valueint;
    if (count > f->sent_most) f->sent_most = count;
    if (what == SCORES_OTHERS) ids[count - 1]++;
    if (f->llama)
        scorer_put_llama(f, out, ids, count - (what == SCORES_OTHERS));
    else
        scorer_put_echo(f, out, ids, count);
    fclose(out);
    if (what == SCORES_NAN && strrchr(text, '-')) memcpy(strrchr(text, '-'), "NaN", 3);
    say_whole(fd, "200 OK", "", text, what == SCORES_BREAKS ? bytes / 2 : bytes);
    free(text);
}

static inline void scorer_say_tokens(fake_scorer *f, int fd, const cJSON *question) {
    size_t count;
    char *text;
    size_t bytes;
    int32_t *ids = f->tokenize(f->context, cJSON_GetObjectItem(question, "content")->valuestring, &count);
    FILE *out = open_memstream(&text, &bytes);
    fprintf(out, "{\"tokens\": [");
    for (size_t i = 0; i < count; i++) fprintf(out, "%s%d", i ? "," : "", ids[i]);
    fprintf(out, "]}");
    fclose(out);
    say_whole(fd, "200 OK", "", text, bytes);
    free(text);
    free(ids);
}

static inline void scorer_answers(server *s, int fd, const char *request) {
    fake_scorer *f = s->context;
    char path[256];
    asked_path(request, path, sizeof path);
    if (strcmp(path, "/v1/models") == 0) return scorer_say(fd, "200 OK", "{\"data\": [{\"id\": \"tiny\"}]}");
    if (strcmp(path, "/props") == 0) return f->llama ? scorer_say(fd, "200 OK", "{}") : scorer_say(fd, "404 No", "{}");
    cJSON *question = cJSON_Parse(strstr(request, "\r\n\r\n") + 4);
    if (!question) return scorer_say(fd, "400 Bad", "{}");
    if (strcmp(path, "/tokenize") == 0) {
        scorer_say_tokens(f, fd, question);
    } else if (strcmp(path, f->llama ? "/completion" : "/v1/completions") == 0) {
        f->asked++;
        const scorer_fault what = f->next < f->fault_count ? f->faults[f->next++] : SCORES_WELL;
        if (what == SCORES_BUSY)
            scorer_say(fd, "503 Busy", "{}");
        else if (what == SCORES_401)
            scorer_say(fd, "401 No", "{\"error\": \"hf_secret\"}");
        else if (what == SCORES_STALLS)
            stall(s, fd);
        else
            scorer_say_scores(f, fd, question, what);
    }
    cJSON_Delete(question);
}

static inline void scorer_go_wrong(fake_scorer *f, int count, const scorer_fault *faults) {
    memcpy(f->faults, faults, (size_t)count * sizeof *faults);
    f->fault_count = count;
    f->next = f->asked = 0;
}
#define scorer_go_wrong(f, ...)                                                                                        \
    scorer_go_wrong(f, sizeof((scorer_fault[]){__VA_ARGS__}) / sizeof(scorer_fault), (scorer_fault[]){__VA_ARGS__})

#endif
