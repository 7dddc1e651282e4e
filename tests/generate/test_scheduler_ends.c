/* Whatever ends a text: stop strings, the context, cancelling, a full queue, stopping, no memory, a model of nonsense. */
#include "scheduled.h"

#include "nn/roles.h"
#include <math.h>
#include <stdio.h>

static void stop_strings_end_a_text_over_tokens(void **state) {
    const texts_fixture *f = *state;
    prompt_ids p = prompt_of("the ");
    text_request r = {
        .prompt = p.ids,
        .prompt_count = p.count,
        .how = {.sampler = {.temperature = 1, .top_p = 1, .seed = 3}, .max_tokens = 60, .ignore_end = true}};
    asked *whole = answer(f, r, (scheduler_options){.slots = 1});
    assert_int_equal(whole->end.reason, END_LENGTH);
    assert_int_equal(whole->tokens, 60);
    int tried = 0;
    for (size_t at = 5; at + 6 < whole->bytes; at += 4) {
        char stop[8] = {0};
        snprintf(stop, sizeof stop, "%.6s", whole->text + at);
        if (strstr(stop, "\xef\xbf\xbd") || (stop[0] & 0x80) || (stop[5] & 0x80)) continue;
        const char *stops[] = {"never to be found", stop};
        r.how.stops = stops;
        r.how.stop_count = 2;
        asked *cut = answer(f, r, (scheduler_options){.slots = 1});
        const size_t before = (size_t)(strstr(whole->text, stop) - whole->text);
        assert_int_equal(cut->end.reason, END_STOP);
        assert_string_equal(cut->stopped, stop);
        assert_int_equal(cut->bytes, before);
        assert_memory_equal(cut->text, whole->text, before);
        tried++;
        free(cut);
    }
    assert_true(tried > 0);
    /* a token ends it, too, and is not part of it */
    r.how.stop_count = 0;
    r.how.stop_tokens = &whole->ids[20];
    r.how.stop_token_count = 1;
    asked *cut = answer(f, r, (scheduler_options){.slots = 1});
    int first = 0;
    while (whole->ids[first] != whole->ids[20]) first++;
    assert_int_equal(cut->tokens, first);
    assert_int_equal(cut->end.reason, END_STOP);
    free(cut);
    free(whole);
}

static void the_context_ends_a_text(void **state) {
    const texts_fixture *f = *state;
    prompt_ids p = prompt_of("abcdefgh");
    text_request r = {.prompt = p.ids,
                      .prompt_count = p.count,
                      .how = {.sampler = {.temperature = 1, .top_p = 1}, .ignore_end = true}};
    for (int64_t context = 10; context < 60; context += 17) {
        asked *a = answer(f, r, (scheduler_options){.slots = 2, .context = context});
        assert_int_equal(a->end.reason, END_LENGTH);
        assert_int_equal(a->tokens, context - 9);
        free(a);
    }
}

static void a_cancelled_text_ends(void **state) {
    const texts_fixture *f = *state;
    prompt_ids p = prompt_of("abc");
    const text_request r = {.prompt = p.ids, .prompt_count = p.count, .how = {.ignore_end = true}};
    scheduler *s = start(f, (scheduler_options){.slots = 1, .context = 400});
    sem_t hold, began;
    sem_init(&hold, 0, 0);
    sem_init(&began, 0, 0);
    asked *a = xcalloc(3, sizeof *a);
    a[0] = (asked){.cancel_at = 3, .hold = &hold, .began = &began};
    for (int i = 0; i < 3; i++) assert_int_equal(ask(s, &a[i], r), SUBMIT_ACCEPTED);
    sem_wait(&began);
    scheduler_cancel(s, a[1].t); /* still in the queue */
    scheduler_cancel(s, 12345);
    sem_post(&hold);
    for (int i = 0; i < 3; i++) asked_wait(&a[i]);
    assert_int_equal(a[0].end.reason, END_CANCELLED);
    assert_int_equal(a[0].tokens, 3);
    assert_int_equal(a[1].end.reason, END_CANCELLED);
    assert_int_equal(a[1].tokens, 0);
    assert_int_equal(a[2].end.reason, END_LENGTH);
    scheduler_cancel(s, a[2].t); /* it is over */
    scheduler_destroy(s);
    free(a);
}

static void a_full_queue_says_so(void **state) {
    const texts_fixture *f = *state;
    prompt_ids p = prompt_of("abc");
    const text_request r = {.prompt = p.ids, .prompt_count = p.count, .how = {.max_tokens = 4, .ignore_end = true}};
    scheduler *s = start(f, (scheduler_options){.slots = 1, .queue = 2});
    sem_t hold, began;
    sem_init(&hold, 0, 0);
    sem_init(&began, 0, 0);
    asked *a = xcalloc(5, sizeof *a);
    a[0] = (asked){.hold = &hold, .began = &began};
    assert_int_equal(ask(s, &a[0], r), SUBMIT_ACCEPTED);
    sem_wait(&began);
    assert_int_equal(ask(s, &a[1], r), SUBMIT_ACCEPTED);
    assert_int_equal(ask(s, &a[2], r), SUBMIT_ACCEPTED);
    assert_int_equal(ask(s, &a[3], r), SUBMIT_FULL);
    scheduler_statistics figures;
    scheduler_read(s, &figures);
    assert_int_equal(figures.waiting, 2);
    assert_int_equal(figures.running, 1);
    assert_int_equal(figures.full, 1);
    sem_post(&hold);
    for (int i = 0; i < 3; i++) asked_wait(&a[i]);
    assert_int_equal(ask(s, &a[4], r), SUBMIT_ACCEPTED);
    scheduler_stop(s, true);
    assert_int_equal(a[4].end.reason, END_LENGTH);
    assert_int_equal(ask(s, &a[3], r), SUBMIT_CLOSED);
    assert_int_equal(a[3].ends, 0);
    scheduler_destroy(s);
    free(a);
}

static void stopping_cuts_or_finishes(void **state) {
    const texts_fixture *f = *state;
    prompt_ids p = prompt_of("abc");
    const text_request r = {.prompt = p.ids, .prompt_count = p.count, .how = {.max_tokens = 100, .ignore_end = true}};
    for (int finish = 0; finish < 2; finish++) {
        scheduler *s = start(f, (scheduler_options){.slots = 2, .queue = 10});
        sem_t hold, began;
        sem_init(&hold, 0, 0);
        sem_init(&began, 0, 0);
        asked *a = xcalloc(6, sizeof *a);
        a[0] = (asked){.hold = &hold, .began = &began};
        for (int i = 0; i < 6; i++) assert_int_equal(ask(s, &a[i], r), SUBMIT_ACCEPTED);
        sem_wait(&began);
        scheduler_close(s);
        sem_post(&hold);
        scheduler_stop(s, finish);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(a[i].ends, 1);
            if (finish) assert_int_equal(a[i].tokens, 100);
        }
        if (!finish) assert_int_equal(a[5].end.reason, END_CANCELLED);
        scheduler_destroy(s);
        free(a);
    }
}

/* Memory runs out while one of several cancelled requests is told of its end, and again for the next: all are told, once. */
typedef struct forgetful {
    asked a;
    int *told;
} forgetful;

static void end_without_memory(void *context, const text_end *end) {
    forgetful *f = context;
    const int before = (*f->told)++;
    asked_end(&f->a, end);
    memory_fail_after(0);
    if (before < 2) free(xmalloc(16));
    memory_fail_after(-1);
}

static void nobody_is_forgotten_where_memory_is_out(void **state) {
    enum { REQUESTS = 5 };
    const texts_fixture *f = *state;
    prompt_ids p = prompt_of("abc");
    scheduler *s = start(f, (scheduler_options){.slots = 1, .queue = REQUESTS});
    sem_t hold, began;
    int told = 0;
    sem_init(&hold, 0, 0);
    sem_init(&began, 0, 0);
    forgetful *a = xcalloc(REQUESTS, sizeof *a);
    for (int i = 0; i < REQUESTS; i++) {
        a[i] = (forgetful){.told = &told, .a = {.s = s}};
        if (i == 0) a[i].a.hold = &hold, a[i].a.began = &began;
        sem_init(&a[i].a.done, 0, 0);
        const text_request r = {.prompt = p.ids,
                                .prompt_count = p.count,
                                .how = {.ignore_end = true},
                                .on_token = asked_token,
                                .on_end = end_without_memory,
                                .context = &a[i]};
        assert_int_equal(scheduler_submit(s, &r, &a[i].a.t), SUBMIT_ACCEPTED);
        if (i == 0) sem_wait(&began);
    }
    for (int i = 1; i < REQUESTS; i++) scheduler_cancel(s, a[i].a.t);
    sem_post(&hold);
    for (int i = 0; i < REQUESTS; i++) asked_wait(&a[i].a);
    const text_request late = {.prompt = p.ids, .prompt_count = p.count};
    ticket t;
    assert_true(scheduler_failed(s));
    assert_int_equal(scheduler_submit(s, &late, &t), SUBMIT_CLOSED);
    scheduler_destroy(s);
    for (int i = 0; i < REQUESTS; i++) assert_int_equal(a[i].a.ends, 1);
    assert_int_equal(told, REQUESTS);
    assert_int_equal(a[0].a.end.reason, END_ERROR); /* it was being written */
    assert_non_null(strstr(a[0].a.error, "out of memory"));
    free(a);
}

static void a_model_of_nonsense_is_an_error_of_the_text(void **state) {
    (void)state;
    texts_fixture f = {texts_model(DTYPE_F32, 0.3f), texts_tokenizer()};
    param *head = model_param(f.m, ROLE_TOK_EMB, -1, -1);
    assert_non_null(head);
    const size_t count = (size_t)tensor_count(&head->value);
    float *values = xmalloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++) values[i] = NAN;
    tensor_write(f.m->k, &head->value, values);
    free(values);
    assert_ok(model_refresh(f.m));
    prompt_ids p = prompt_of("abc");
    asked *a = answer(&f, (text_request){.prompt = p.ids, .prompt_count = p.count}, (scheduler_options){.slots = 2});
    assert_int_equal(a->end.reason, END_ERROR);
    assert_string_equal(a->error, "the model's logits behind token 0 are not finite");
    free(a);
    model_destroy(f.m);
    tokenizer_close(f.t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stop_strings_end_a_text_over_tokens),
        cmocka_unit_test(the_context_ends_a_text),
        cmocka_unit_test(a_cancelled_text_ends),
        cmocka_unit_test(a_full_queue_says_so),
        cmocka_unit_test(stopping_cuts_or_finishes),
        cmocka_unit_test(nobody_is_forgotten_where_memory_is_out),
        cmocka_unit_test(a_model_of_nonsense_is_an_error_of_the_text),
    };
    return cmocka_run_group_tests(tests, texts_setup, texts_teardown);
}
