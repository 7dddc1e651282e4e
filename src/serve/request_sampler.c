/* How the next token is chosen. */
#include "base/memory.h"
#include "serve/request_parts.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static status read_float(const members *m, const char *key, double least, double most, float *value) {
    double number = (double)*value;
    TRY(member_number(m, key, least, most, &number));
    *value = (float)number;
    return STATUS_OK;
}

/* {"50256": -100, …}: a member is named by its token. */
static status read_bias(const members *m, const cJSON *item, int vocab, logit_bias *b) {
    char path[WAY_BYTES], *end;
    errno = 0;
    const long id = strtol(item->string, &end, 10);
    if (end == item->string || *end || errno || id < 0 || id >= vocab)
        return api_refuse(m->e, HTTP_BAD_REQUEST, "logit_bias", "expected tokens from 0 to %d, found \"%.40s\"",
                          vocab - 1, item->string);
    (void)way_to(path, "logit_bias.%ld", id);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= -100 && item->valuedouble <= 100))
        return value_refuse(m->e, path, item, "a number from -100 to 100");
    *b = (logit_bias){.id = (int32_t)id, .bias = (float)item->valuedouble};
    return STATUS_OK;
}

static int by_id(const void *a, const void *b) {
    const logit_bias *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static status read_biases(completion_request *r, const members *m, int vocab) {
    const cJSON *list = NULL, *item;
    TRY(member_object(m, "logit_bias", &list));
    if (!list) return STATUS_OK;
    const int count = cJSON_GetArraySize(list);
    if (count > REQUEST_BIASES)
        return api_refuse(m->e, HTTP_BAD_REQUEST, "logit_bias", "expected at most %d tokens, found %d", REQUEST_BIASES,
                          count);
    r->biases = xcalloc((size_t)count + 1, sizeof *r->biases);
    r->sampler.biases = r->biases;
    cJSON_ArrayForEach(item, list) TRY(read_bias(m, item, vocab, &r->biases[r->sampler.bias_count++]));
    qsort(r->biases, (size_t)count, sizeof *r->biases, by_id);
    for (int i = 1; i < count; i++)
        if (r->biases[i].id == r->biases[i - 1].id)
            return api_refuse(m->e, HTTP_BAD_REQUEST, "logit_bias", "expected each token once, found %d twice",
                              (int)r->biases[i].id);
    return STATUS_OK;
}

/* {"type": "text"} or {"type": "json_object"} */
static status read_format(completion_request *r, const members *m) {
    const cJSON *object = NULL;
    TRY(member_object(m, "response_format", &object));
    if (!object) return STATUS_OK;
    const members format = {.object = object, .where = "response_format", .e = m->e};
    const char *type = "";
    TRY(member_text(&format, "type", &type));
    r->sampler.json = strcmp(type, "json_object") == 0;
    if (r->sampler.json || strcmp(type, "text") == 0) return STATUS_OK;
    return api_refuse(m->e, HTTP_BAD_REQUEST, "response_format.type",
                      "expected \"text\" or \"json_object\", found \"%.40s\"", type);
}

/* OpenAI's are signed and of 64 bits; beyond 2^53 JSON's readers do not agree on digits. */
static status read_seed(completion_request *r, const members *m) {
    const int64_t most = INT64_C(1) << 53;
    int64_t seed = 0;
    TRY(member_integer(m, "seed", -most, most, &seed));
    r->has_seed = member(m, "seed") != NULL;
    r->sampler.seed = (uint64_t)seed;
    return STATUS_OK;
}

status sampler_read(completion_request *r, const members *m, int vocab) {
    sampler *s = &r->sampler;
    int64_t top_k = 0;
    *s = (sampler){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
    TRY(read_float(m, "temperature", 0, 100, &s->temperature));
    TRY(read_float(m, "top_p", 0, 1, &s->top_p));
    TRY(read_float(m, "min_p", 0, 1, &s->min_p));
    TRY(member_integer(m, "top_k", -1, 1 << 24, &top_k));
    s->top_k = top_k > 0 && top_k < vocab ? (int)top_k : 0; /* others write -1 for all of them */
    TRY(read_float(m, "repetition_penalty", 0.01, 100, &s->repetition_penalty));
    TRY(read_float(m, "presence_penalty", -2, 2, &s->presence_penalty));
    TRY(read_float(m, "frequency_penalty", -2, 2, &s->frequency_penalty));
    TRY(read_seed(r, m));
    TRY(read_format(r, m));
    return read_biases(r, m, vocab);
}
