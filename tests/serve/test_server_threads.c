/* moec serve with many clients at once, with those that leave, are slow or too many, and as it stops. */
#include "spoken.h"

#include "serve/routes.h"

/* An untrained model says anything; without its end tokens it says as much as it is asked for. */
#define ENDLESS "\"logit_bias\": {\"0\": -100, \"1\": -100}, \"seed\": 7"

/* ---- texts ---- */

static void test_streams_say_the_same(void **state) {
    spoken s = spoken_start(&(served_options){.slots = 2}, &(server_options){0});
    (void)state;
    char *whole =
        ask_post(s.port, "/v1/completions", "{\"prompt\": \"abc\", \"max_tokens\": 5, \"routing\": true, " ENDLESS "}");
    char *stream =
        ask_post(s.port, "/v1/completions",
                 "{\"prompt\": \"abc\", \"max_tokens\": 5, \"routing\": true, \"stream\": true, " ENDLESS "}");
    assert_status(whole, 200);
    assert_status(stream, 200);
    assert_says(whole, "\"completion_tokens\":5");
    assert_says(stream, "data: [DONE]");
    for (const char *at = whole; (at = strstr(at, "{\"id\":")) && strchr("0123456789", at[6]);
         at++) { /* each token's routes */
        char *token = strndup(at, strcspn(at, "}"));
        assert_says(stream, token);
        free(token);
    }
    free(whole);
    free(stream);
    spoken_stop(&s);
}

static void test_embeddings(void **state) {
    spoken s = spoken_start(&(served_options){0}, &(server_options){0});
    (void)state;
    char *answer = ask_post(s.port, "/v1/embeddings", "{\"input\": [\"abc\", [5, 6]]}");
    assert_status(answer, 200);
    assert_says(answer, "\"index\":1,\"embedding\":[");
    assert_says(answer, "\"prompt_tokens\":6");
    free(answer);
    answer = ask_post(s.port, "/v1/completions",
                      "{\"prompt\": \"abc\", \"max_tokens\": 2, \"moec\": {\"secretary\": true}}");
    assert_says(answer, "\"secretary\":{\"expert\":");
    free(answer);
    spoken_stop(&s);
}

/* ---- many at once ---- */

typedef struct visitor {
    pthread_t thread;
    int port, number, wrong;
} visitor;

static const char *const bodies[] = {
    "{\"prompt\": \"abc\", \"max_tokens\": 9, " ENDLESS "}",
    "{\"prompt\": \"abc\", \"max_tokens\": 9, \"stream\": true, \"routing\": true, \"n\": 2, " ENDLESS "}",
    "{\"prompt\": [[1, 2], [3]], \"max_tokens\": 3, \"logprobs\": 2}",
    "{\"prompt\": \"abc\", \"max_tokens\": -1}",
    "{\"prompt\": \"abc\", \"moec\": {\"top_k\": 1, \"omit_experts\": [0], \"secretary\": true}, \"max_tokens\": 3}",
    "{\"input\": \"abc\"}",
    "{\"content\": \"abc\"}",
    "{",
};
static const char *const paths[] = {"/v1/completions", "/v1/completions", "/v1/completions", "/v1/completions",
                                    "/v1/completions", "/v1/embeddings",  "/tokenize",       "/v1/chat/completions"};

static void *visit(void *context) {
    visitor *v = context;
    for (int i = 0; i < 16; i++) {
        const int kind = (v->number + i) % 8;
        const int fd = dial(v->port);
        post(fd, paths[kind], bodies[kind]);
        char some[64];
        if (i % 5 == 4) { /* leaves, with some of the answer or without */
            if (i % 2) (void)recv(fd, some, sizeof some, 0);
        } else {
            char *answer = hear(fd);
            const int status = status_of(answer), expected = kind == 3 || kind == 7 ? 400 : 200;
            v->wrong += status != expected && status != 429;
            v->wrong += kind == 1 && status == 200 && !strstr(answer, "[DONE]");
            free(answer);
        }
        close(fd);
    }
    return NULL;
}

static void wait_until_quiet(const spoken *s) {
    scheduler_statistics figures;
    do {
        usleep(1000);
        scheduler_read(s->served->scheduler, &figures);
    } while (figures.running + figures.waiting > 0 || !server_is_idle(s->server));
}

static void test_many_clients(void **state) {
    spoken s = spoken_start(&(served_options){.slots = 3, .queue = 8}, &(server_options){.connections = 64});
    visitor visitors[8];
    (void)state;
    for (int i = 0; i < 8; i++) {
        visitors[i] = (visitor){.port = s.port, .number = i};
        assert_int_equal(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(visitors[i].thread, NULL);
        assert_int_equal(visitors[i].wrong, 0);
    }
    wait_until_quiet(&s);
    spoken_stop(&s);
}

static void wait_for(const spoken *s, int running, int waiting) {
    scheduler_statistics figures;
    do {
        usleep(1000);
        scheduler_read(s->served->scheduler, &figures);
    } while (figures.running != running || figures.waiting != waiting);
}

static bool nobody_left(void *client) {
    (void)client;
    return false;
}

/* A text is written; while it is sent, there is no memory for an event. */
static void test_memory_runs_out_in_a_stream(void **state) {
    static const char body[] = "{\"prompt\": \"abc\", \"max_tokens\": 5, \"stream\": true, " ENDLESS "}";
    spoken s = spoken_start(&(served_options){0}, &(server_options){0});
    const atomic_bool no = false;
    const call_house house = {.s = s.served, .stopping = &no, .cut = &no};
    call c = {.house = &house, .client_left = nobody_left, .body = xstrdup(body), .body_bytes = sizeof body - 1};
    char text[16384];
    (void)state;
    route_completions(&c);
    wait_until_quiet(&s);
    assert_int_equal(c.http, 200);
    assert_true(event_stream_read(c.stream, text, sizeof text) > 0);
    assert_memory_equal(text, "data: {\"id\"", 11);
    memory_fail_after(0);
    const int64_t last = event_stream_read(c.stream, text, sizeof text);
    memory_fail_after(-1);
    assert_in_range(last, 1, sizeof text - 1);
    text[last] = '\0';
    assert_says(text, "data: {\"error\":{\"message\":\"out of memory\"");
    assert_int_equal(event_stream_read(c.stream, text, sizeof text), 0);
    assert_int_equal(c.tally.worst, END_ERROR);
    call_free(&c);
    char *answer = ask_post(s.port, "/v1/completions", body);
    assert_says(answer, "data: [DONE]");
    free(answer);
    spoken_stop(&s);
}

static void count_choice(void *context, int layer, int at_pass, const moe_choice *choice) {
    (void)layer, (void)at_pass, (void)choice;
    ++*(int *)context;
}

static status watch_and_run_out(pass *p, void *context) {
    pass_watch_routing(p, count_choice, context);
    memory_out(8);
}

static status observe(pass *p, void *context) {
    const int32_t ids[] = {3, 4, 5};
    const batch b = {.batch = 1, .length = 3, .input_ids = ids};
    ++*(int *)context;
    return pass_observe(p, &b, -1);
}

static bool wanted_while(void *context) {
    return *(const bool *)context;
}

/* Whoever watched a pass when memory ran out is gone when the next one asks. */
static void test_memory_runs_out_beside(void **state) {
    model *m = texts_model(DTYPE_F32, 0.3F);
    side_pass *s;
    bool wanted = true;
    const still_wanted w = {wanted_while, &wanted};
    int seen = 0, runs = 0;
    (void)state;
    assert_ok(side_pass_start(&s, m));
    assert_fails(side_pass_run(s, watch_and_run_out, &seen, &w), "out of memory (8 bytes were asked for)");
    assert_ok(side_pass_run(s, observe, &runs, &w));
    assert_int_equal(runs, 1);
    assert_int_equal(seen, 0);
    wanted = false;
    assert_int_equal(side_pass_run(s, observe, &runs, &w), STATUS_INTERRUPTED);
    assert_int_equal(runs, 1);
    side_pass_stop(s);
    model_destroy(m);
}

/* The text that runs goes on; the one that waits goes with its client, and so does the running one at last. */
static void test_clients_leave(void **state) {
    const served_options what = {.slots = 1, .queue = 1, .context = 100000};
    spoken s = spoken_start(&what, &(server_options){0});
    const int running = dial(s.port), waiting = dial(s.port);
    (void)state;
    post(running, "/v1/completions", "{\"prompt\": \"a\", \"max_tokens\": 99990, \"stream\": true, " ENDLESS "}");
    wait_for(&s, 1, 0);
    post(waiting, "/v1/completions", "{\"prompt\": \"b\", \"max_tokens\": 99990, " ENDLESS "}");
    wait_for(&s, 1, 1);
    char *answer = ask_post(s.port, "/v1/completions", "{\"prompt\": \"c\"}");
    assert_status(answer, 429);
    assert_says(answer, "Retry-After: ");
    assert_says(answer, "\"type\":\"rate_limit_error\"");
    free(answer);
    close(waiting);
    wait_for(&s, 1, 0);
    close(running);
    wait_until_quiet(&s);
    scheduler_statistics figures;
    scheduler_read(s.served->scheduler, &figures);
    assert_int_equal(figures.ended[END_CANCELLED], 2);
    spoken_stop(&s);
}

/* ---- deadlines ---- */

static void test_slow_bodies(void **state) {
    spoken s = spoken_start(&(served_options){0}, &(server_options){.request_seconds = 1, .idle_seconds = 3});
    static const char head[] =
        "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    (void)state;
    const int body = dial(s.port), silent = dial(s.port);
    say_bytes(body, head, strlen(head));
    char *answer = hear(body);
    assert_status(answer, 408);
    const char *json = strstr(answer, "\r\n\r\n");
    assert_int_equal(strlen(json + 4), atoi(strstr(answer, "Content-Length: ") + 16));
    cJSON *parsed = cJSON_Parse(json + 4);
    assert_non_null(cJSON_GetObjectItemCaseSensitive(parsed, "error"));
    cJSON_Delete(parsed);
    free(answer);
    answer = hear(silent);
    assert_string_equal(answer, "");
    free(answer);
    close(body);
    close(silent);
    spoken_stop(&s);
}

/* Waiting for an answer is not silence, however short idle_seconds are. */
static void test_long_answers_come(void **state) {
    const served_options what = {.slots = 1, .context = 3000};
    spoken s = spoken_start(&what, &(server_options){.idle_seconds = 1});
    (void)state;
    char *answer =
        ask_post(s.port, "/v1/completions", "{\"prompt\": \"a\", \"max_tokens\": 2900, \"n\": 3, " ENDLESS "}");
    assert_status(answer, 200);
    assert_says(answer, "\"completion_tokens\":8700");
    free(answer);
    spoken_stop(&s);
}

/* ---- stopping ---- */

typedef struct asker {
    pthread_t thread;
    int port;
    const char *body;
    char *answer;
} asker;

static void *ask_thread(void *context) {
    asker *a = context;
    a->answer = ask_post(a->port, "/v1/completions", a->body);
    return NULL;
}

static void check_stop(bool cut, const char *whole_says, int whole_status, const char *stream_says) {
    const served_options what = {.slots = 2, .context = cut ? 100000 : 2000};
    spoken s = spoken_start(&what, &(server_options){0});
    asker askers[2] = {{.body = "{\"prompt\": \"a\", \"max_tokens\": 1500, \"n\": 2, " ENDLESS "}"},
                       {.body = "{\"prompt\": \"b\", \"max_tokens\": 1500, \"stream\": true, " ENDLESS "}"}};
    if (cut) {
        askers[0].body = "{\"prompt\": \"a\", \"max_tokens\": 99000, " ENDLESS "}";
        askers[1].body = "{\"prompt\": \"b\", \"max_tokens\": 99000, \"stream\": true, " ENDLESS "}";
    }
    for (int i = 0; i < 2; i++) {
        askers[i].port = s.port;
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_thread, &askers[i]), 0);
    }
    wait_for(&s, 2, cut ? 0 : 1);
    server_drain(s.server);
    if (cut) server_cut(s.server);
    assert_ok(server_stop(s.server));
    s.server = NULL;
    for (int i = 0; i < 2; i++) pthread_join(askers[i].thread, NULL);
    assert_status(askers[0].answer, whole_status);
    assert_says(askers[0].answer, whole_says);
    assert_status(askers[1].answer, 200);
    assert_says(askers[1].answer, stream_says);
    for (int i = 0; i < 2; i++) free(askers[i].answer);
    spoken_stop(&s);
}

static void test_draining_loses_nothing(void **state) {
    (void)state;
    check_stop(false, "\"completion_tokens\":3000", 200, "data: [DONE]");
}

static void test_cutting_says_so(void **state) {
    (void)state;
    check_stop(true, "the server stopped before the text was whole", 503,
               "data: {\"error\":{\"message\":\"the server stopped before the text was whole\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_say_the_same),
        cmocka_unit_test(test_embeddings),
        cmocka_unit_test(test_many_clients),
        cmocka_unit_test(test_memory_runs_out_in_a_stream),
        cmocka_unit_test(test_memory_runs_out_beside),
        cmocka_unit_test(test_clients_leave),
        cmocka_unit_test(test_slow_bodies),
        cmocka_unit_test(test_long_answers_come),
        cmocka_unit_test(test_draining_loses_nothing),
        cmocka_unit_test(test_cutting_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
