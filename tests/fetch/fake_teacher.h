/* A server of OpenAI's API that answers a question with its own words, or as badly as a test tells it. */
#ifndef MOEC_TESTS_FETCH_FAKE_TEACHER_H
#define MOEC_TESTS_FETCH_FAKE_TEACHER_H

#include "server.h"
#include <cjson/cJSON.h>

typedef enum fault {
    WELL,
    CUT,
    CLOSES,
    STALLS,
    BUSY,
    BROKEN,
    HTML,
    JUNK,
    NO_CHOICES,
    NO_TEXT,
    SAYS_ERROR,
    HUGE,
    UNAUTHORIZED,
    ABSENT,
    BAD_REQUEST,
    REDIRECTS
} fault;

typedef struct fake_teacher {
    server s;
    fault faults[16];
    int fault_count, next;
    int asked;      /* questions that came, however they were answered */
    char path[128]; /* the last one's */
    char body[4096];
    char authorized[64];
    const char *models;
    char text[512]; /* the last one's prompt */
} fake_teacher;

static inline void teacher_go_wrong(fake_teacher *t, int count, const fault *faults) {
    memcpy(t->faults, faults, (size_t)count * sizeof *faults);
    t->fault_count = count;
    t->next = t->asked = 0;
}
#define teacher_go_wrong(t, ...)                                                                                       \
    teacher_go_wrong(t, sizeof((fault[]){__VA_ARGS__}) / sizeof(fault), (fault[]){__VA_ARGS__})

/* The answer of a server that is well: the prompt and the seed, in the text. */
static inline char *teacher_answer(fake_teacher *t, bool chat) {
    cJSON *question = cJSON_Parse(t->body);
    assert_non_null(question);
    const cJSON *messages = cJSON_GetObjectItem(question, "messages");
    const cJSON *prompt =
        chat ? cJSON_GetObjectItem(cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1), "content")
             : cJSON_GetObjectItem(question, "prompt");
    assert_non_null(prompt);
    snprintf(t->text, sizeof t->text, "%s", prompt->valuestring);
    cJSON *answer = cJSON_CreateObject(), *choices = cJSON_AddArrayToObject(answer, "choices"),
          *choice = cJSON_CreateObject(), *usage = cJSON_AddObjectToObject(answer, "usage");
    char *text =
        xasprintf("To \"%s\" with %d: \u00e9\n", prompt->valuestring, cJSON_GetObjectItem(question, "seed")->valueint);
    cJSON_AddStringToObject(answer, "model", "tiny-2026");
    cJSON_AddStringToObject(chat ? cJSON_AddObjectToObject(choice, "message") : choice, chat ? "content" : "text",
                            text);
    cJSON_AddStringToObject(choice, "finish_reason", "length");
    cJSON_AddItemToArray(choices, choice);
    cJSON_AddNumberToObject(usage, "prompt_tokens", 3);
    cJSON_AddNumberToObject(usage, "completion_tokens", 7);
    char *json = cJSON_PrintUnformatted(answer);
    free(text);
    cJSON_Delete(answer);
    cJSON_Delete(question);
    return json;
}

static inline void teacher_say_huge(fake_teacher *t, int fd) {
    char *piece = malloc(1 << 16);
    memset(piece, ' ', 1 << 16);
    say_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    for (int i = 0; i < 1500 && !t->s.stop; i++)
        if (send(fd, piece, 1 << 16, MSG_NOSIGNAL) < 0) break;
    free(piece);
}

static inline void teacher_say_well(fake_teacher *t, int fd, bool chat, fault what) {
    char *json = teacher_answer(t, chat);
    const size_t bytes = strlen(json);
    if (what == WELL) {
        say_whole(fd, "200 OK", "", json, bytes);
    } else {
        char *head = xasprintf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", bytes);
        say_text(fd, head);
        say(fd, json, bytes / 2);
        if (what == STALLS) stall(&t->s, fd);
        free(head);
    }
    free(json);
}

static inline void teacher_says(fake_teacher *t, int fd, const char *code, const char *headers, const char *body) {
    (void)t;
    say_whole(fd, code, headers, body, strlen(body));
}

static inline void teacher_answers(server *s, int fd, const char *request) {
    fake_teacher *t = s->context;
    asked_path(request, t->path, sizeof t->path);
    if (!asked_header(request, "authorization", t->authorized, sizeof t->authorized)) strcpy(t->authorized, "none");
    if (strstr(t->path, "/models")) return teacher_says(t, fd, "200 OK", "", t->models);
    snprintf(t->body, sizeof t->body, "%s", strstr(request, "\r\n\r\n") + 4);
    t->asked++;
    const fault what = t->next < t->fault_count ? t->faults[t->next++] : WELL;
    switch (what) {
    case WELL:
    case CUT:
    case STALLS:
        return teacher_say_well(t, fd, strstr(t->path, "/chat/") != NULL, what);
    case CLOSES:
        return;
    case BUSY:
        return teacher_says(t, fd, "429 Slow", "Retry-After: 1\r\n", "{}");
    case BROKEN:
        return teacher_says(t, fd, "503 Gone", "", "{\"error\": {\"message\": \"loading hf_secret\"}}");
    case HTML:
        return teacher_says(t, fd, "200 OK", "Content-Type: text/html\r\n", "<html><body>Welcome</body></html>");
    case JUNK:
        return teacher_says(t, fd, "200 OK", "", "{\"choices\": [{\"message\": {\"content\": \"half");
    case NO_CHOICES:
        return teacher_says(t, fd, "200 OK", "", "{\"choices\": []}");
    case NO_TEXT:
        return teacher_says(t, fd, "200 OK", "", "{\"choices\": [{\"message\": {\"content\": null}}]}");
    case SAYS_ERROR:
        return teacher_says(t, fd, "200 OK", "", "{\"error\": {\"message\": \"bad key hf_secret\\u001b[31m\"}}");
    case HUGE:
        return teacher_say_huge(t, fd);
    case UNAUTHORIZED:
        return teacher_says(t, fd, "401 No", "", "{\"error\": \"Incorrect API key: hf_secret\"}");
    case ABSENT:
        return teacher_says(t, fd, "404 No", "", "{\"error\": \"model not found\"}");
    case BAD_REQUEST:
        return teacher_says(t, fd, "400 Bad", "", "{\"error\": \"context is 100 tokens\"}");
    case REDIRECTS:
        return teacher_says(t, fd, "302 Found", "Location: http://127.0.0.1:1/v1\r\n", "");
    }
}

static inline fake_teacher *teacher_start(void) {
    fake_teacher *t = calloc(1, sizeof *t);
    t->models = "{\"object\": \"list\", \"data\": [{\"id\": \"tiny\", \"object\": \"model\"}]}";
    server_start(&t->s, teacher_answers, t);
    return t;
}

static inline void teacher_stop(fake_teacher *t) {
    server_stop(&t->s);
    free(t);
}

#endif
