/* Prompts, and the name of the model. */
#include "base/memory.h"
#include "serve/request.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

status model_name_read(const members *m, const char *served) {
    const char *name = served;
    TRY(member_text(m, "model", &name));
    if (strcmp(name, served) == 0) return STATUS_OK;
    (void)api_refuse(m->e, HTTP_NOT_FOUND, "model",
                     "expected \"%.100s\", which is what is served here, found \"%.60s\"", served, name);
    return api_refuse_code(m->e, "model_not_found");
}

static status read_ids(api_error *e, const char *key, const cJSON *list, int vocab, request_prompt *p) {
    const int count = cJSON_GetArraySize(list);
    const cJSON *item;
    *p = (request_prompt){.ids = xmalloc(((size_t)count + 1) * sizeof *p->ids)};
    cJSON_ArrayForEach(item, list) {
        if (!value_is_integer(item, 0, vocab - 1)) {
            char path[WAY_BYTES];
            (void)way_to(path, "%s[%zu]", key, p->id_count);
            free(p->ids);
            return value_refuse(e, path, item, "a token from 0 to %d", vocab - 1);
        }
        p->ids[p->id_count++] = (int32_t)item->valuedouble;
    }
    return STATUS_OK;
}

static status read_one(api_error *e, const char *key, const cJSON *value, int vocab, request_prompt *p) {
    *p = (request_prompt){.text = cJSON_IsString(value) ? value->valuestring : NULL};
    if (p->text) return STATUS_OK;
    if (cJSON_IsArray(value) && (!value->child || cJSON_IsNumber(value->child)))
        return read_ids(e, key, value, vocab, p);
    return value_refuse(e, key, value, "a text or a list of tokens");
}

status request_prompts_read(const members *m, const char *key, int vocab, request_prompt **prompts, int *count) {
    const cJSON *value = member(m, key), *item;
    const bool several = value && cJSON_IsArray(value) && value->child && !cJSON_IsNumber(value->child);
    const int wanted = several ? cJSON_GetArraySize(value) : 1;
    *prompts = NULL;
    *count = 0;
    if (!value) return api_refuse(m->e, HTTP_BAD_REQUEST, key, "expected a text or a list of tokens, found nothing");
    if (wanted > REQUEST_PROMPTS)
        return api_refuse(m->e, HTTP_BAD_REQUEST, key, "expected at most %d of them, found %d", REQUEST_PROMPTS,
                          wanted);
    request_prompt *list = xcalloc((size_t)wanted, sizeof *list);
    status s = STATUS_OK;
    int found = 0;
    if (!several) s = read_one(m->e, key, value, vocab, &list[found++]);
    if (several) cJSON_ArrayForEach(item, value) {
            char path[WAY_BYTES];
            (void)way_to(path, "%s[%d]", key, found);
            s = read_one(m->e, path, item, vocab, &list[found]);
            if (s != STATUS_OK) break;
            found++;
        }
    if (s != STATUS_OK) {
        request_prompts_free(list, several ? found : 0);
        return s;
    }
    *prompts = list;
    *count = found;
    return STATUS_OK;
}

void request_prompts_free(request_prompt *prompts, int count) {
    for (int i = 0; i < count; i++) free(prompts[i].ids);
    free(prompts);
}

/* ---- embeddings ---- */

status embedding_request_read(embedding_request *r, cJSON *body, const request_limits *limits, api_error *e) {
    const members m = {.object = body, .where = "", .e = e};
    const char *format = "float";
    int64_t dimensions = limits->config->model_dim;
    *r = (embedding_request){.body = body};
    TRY(model_name_read(&m, limits->model));
    TRY(member_text(&m, "encoding_format", &format));
    r->base64 = strcmp(format, "base64") == 0;
    if (!r->base64 && strcmp(format, "float") != 0)
        return value_refuse(e, "encoding_format", member(&m, "encoding_format"), "\"float\" or \"base64\"");
    TRY(member_integer(&m, "dimensions", dimensions, dimensions, &dimensions));
    return request_prompts_read(&m, "input", limits->vocab, &r->inputs, &r->input_count);
}

void embedding_request_free(embedding_request *r) {
    request_prompts_free(r->inputs, r->input_count);
    cJSON_Delete(r->body);
    *r = (embedding_request){0};
}
