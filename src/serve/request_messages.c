/* The messages of a conversation. Tools are not called here: what a history has of them (an assistant's calls without a
 * text, a tool's answers) is passed over, as is `tools` itself. */
#include "base/memory.h"
#include "serve/request_parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_tools(const char *role) {
    return strcmp(role, "tool") == 0 || strcmp(role, "function") == 0;
}

/* What templates know of roles; NULL: none of them. */
static const char *known_role(const char *role) {
    static const char *const roles[] = {"system", "user", "assistant"};
    for (int i = 0; i < 3; i++)
        if (strcmp(role, roles[i]) == 0) return roles[i];
    return strcmp(role, "developer") == 0 ? "system" : NULL; /* OpenAI's newer name */
}

/* A part of a content that is a list: {"type": "text", "text": …} */
static status read_part(api_error *e, const char *where, const cJSON *part, const char **text) {
    const members m = {.object = part, .where = where, .e = e};
    const char *type = "text";
    if (!cJSON_IsObject(part)) return value_refuse(e, where, part, "an object");
    TRY(member_text(&m, "type", &type));
    if (strcmp(type, "text") != 0) {
        char path[WAY_BYTES];
        (void)way_to(path, "%s.type", where);
        return value_refuse(e, path, member(&m, "type"), "\"text\"");
    }
    *text = "";
    return member_text(&m, "text", text);
}

/* The parts one after another, as a text of the tree's own, in the place of the list. */
static status join_parts(api_error *e, const char *where, cJSON *message, cJSON *list, const char **content) {
    char *whole = xcalloc(1, 1);
    size_t bytes = 0;
    int i = 0;
    const cJSON *part;
    cJSON_ArrayForEach(part, list) {
        char path[WAY_BYTES];
        const char *text;
        (void)way_to(path, "%s.content[%d]", where, i++);
        const status s = read_part(e, path, part, &text);
        if (s != STATUS_OK) {
            free(whole);
            return s;
        }
        const size_t more = strlen(text);
        whole = xrealloc(whole, bytes + more + 1);
        memcpy(whole + bytes, text, more + 1);
        bytes += more;
    }
    cJSON_ReplaceItemInObjectCaseSensitive(message, "content", cJSON_CreateString(whole));
    free(whole);
    *content = cJSON_GetObjectItemCaseSensitive(message, "content")->valuestring;
    return STATUS_OK;
}

/* content NULL: there is none. */
static status read_content(api_error *e, const char *where, cJSON *message, const char **content) {
    cJSON *value = cJSON_GetObjectItemCaseSensitive(message, "content");
    *content = NULL;
    if (!value || cJSON_IsNull(value)) return STATUS_OK;
    if (cJSON_IsArray(value)) return join_parts(e, where, message, value, content);
    if (!cJSON_IsString(value)) {
        char path[WAY_BYTES];
        (void)way_to(path, "%s.content", where);
        return value_refuse(e, path, value, "a text or a list of texts");
    }
    *content = value->valuestring;
    return STATUS_OK;
}

static status read_message(completion_request *r, api_error *e, const char *where, cJSON *message) {
    const members m = {.object = message, .where = where, .e = e};
    const char *role = "", *content;
    char path[WAY_BYTES];
    if (!cJSON_IsObject(message)) return value_refuse(e, where, message, "an object");
    TRY(member_text(&m, "role", &role));
    if (is_tools(role)) return STATUS_OK;
    (void)way_to(path, "%s.role", where);
    if (!member(&m, "role")) return api_refuse(e, HTTP_BAD_REQUEST, path, "expected a role, found nothing");
    if (!known_role(role))
        return value_refuse(e, path, member(&m, "role"), "\"system\", \"user\", \"assistant\" or \"tool\"");
    TRY(read_content(e, where, message, &content));
    if (!content && strcmp(role, "assistant") == 0) return STATUS_OK; /* calls of tools, and nothing else */
    (void)way_to(path, "%s.content", where);
    if (!content) return api_refuse(e, HTTP_BAD_REQUEST, path, "expected a text, found nothing");
    r->messages[r->message_count++] = (chat_message){.role = known_role(role), .content = content};
    return STATUS_OK;
}

status messages_read(completion_request *r, const members *m) {
    const cJSON *list = NULL;
    cJSON *message;
    int i = 0;
    TRY(member_array(m, "messages", &list));
    const int count = cJSON_GetArraySize(list);
    if (!list)
        return api_refuse(m->e, HTTP_BAD_REQUEST, "messages", "expected a list of 1 to %d messages, found nothing",
                          REQUEST_MESSAGES);
    if (count < 1 || count > REQUEST_MESSAGES)
        return api_refuse(m->e, HTTP_BAD_REQUEST, "messages", "expected 1 to %d messages, found %d", REQUEST_MESSAGES,
                          count);
    r->messages = xcalloc((size_t)count, sizeof *r->messages);
    cJSON_ArrayForEach(message, list) {
        char where[WAY_BYTES];
        (void)way_to(where, "messages[%d]", i++);
        TRY(read_message(r, m->e, where, message));
    }
    if (r->message_count == 0)
        return api_refuse(m->e, HTTP_BAD_REQUEST, "messages", "expected one that is not a tool's, found none");
    return STATUS_OK;
}
