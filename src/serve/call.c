#include "serve/call.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

void call_free(call *c) {
    event_stream_free(c->stream);
    free(c->text);
    free(c->body);
}

static bool is_wanted(void *context) {
    const call *c = context;
    return !atomic_load(c->house->cut) && !c->client_left(c->client);
}

still_wanted call_wanted(call *c) {
    return (still_wanted){is_wanted, c};
}

void reply_text(call *c, int http, const char *type, char *text) {
    free(c->text);
    c->http = http;
    c->type = type;
    c->text = text;
    c->bytes = strlen(text);
}

void reply_json(call *c, int http, cJSON *json) {
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (!text) memory_out(0);
    reply_text(c, http, "application/json", text);
}

void reply_error(call *c, const api_error *e) {
    c->error_code = e->code ? e->code : "";
    memcpy(c->param, e->param, sizeof c->param);
    reply_json(c, e->http, api_error_json(e));
}

status call_json(call *c, cJSON **body) {
    api_error e = {0};
    const status s = body_parse(body, c->body, c->body_bytes, &e);
    if (s != STATUS_OK) reply_error(c, &e);
    return s;
}
