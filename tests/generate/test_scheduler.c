/* Many texts over one model: each as if it were alone, whatever it has in common with others. */
#include "scheduled.h"

#include "generate/generate.h"
#include <stdio.h>

enum { TEXTS = 13 };
static text_request request_of(int i, prompt_ids *p) {
    char text[256];
    snprintf(text, sizeof text, "%.*s", i % 4 == 3 ? i / 4 : 3 + 13 * i, poem);
    *p = prompt_of(text);
    return (text_request){.prompt = p->ids,
                          .prompt_count = p->count,
                          .how = {.sampler = {.temperature = i % 3 ? 0.7f : 0,
                                              .top_p = 0.95f,
                                              .top_k = i % 2 ? 50 : 0,
                                              .presence_penalty = i % 5 ? 0 : 0.3f,
                                              .seed = (uint64_t)i},
                                  .max_tokens = 20 + 5 * i}};
}

static bool collect(void *context, const char *text, size_t bytes) {
    asked *a = context;
    memcpy(a->text + a->bytes, text, bytes);
    a->bytes += bytes;
    return true;
}

/* The caller's thread, one text behind one prompt. */
static asked *generated(const texts_fixture *f, const text_request *r) {
    asked *a = xcalloc(1, sizeof *a);
    generation *g;
    pass *p;
    generate_result result;
    assert_ok(pass_create(&p, f->m));
    assert_ok(generation_open_ids(&g, p, f->t, r->prompt, r->prompt_count, &(prompt_options){0}, r->how.max_tokens));
    assert_ok(generation_continue(g, &r->how.sampler, collect, a, &result));
    a->tokens = (int)result.new_tokens;
    generation_close(g);
    pass_destroy(p);
    return a;
}

static void many_texts_are_each_as_alone(const texts_fixture *f, scheduler_options o) {
    asked *all = xcalloc(TEXTS, sizeof *all);
    scheduler *s = start(f, o);
    prompt_ids prompts[TEXTS];
    for (int i = 0; i < TEXTS; i++) assert_int_equal(ask(s, &all[i], request_of(i, &prompts[i])), SUBMIT_ACCEPTED);
    for (int i = 0; i < TEXTS; i++) asked_wait(&all[i]);
    scheduler_statistics figures;
    scheduler_read(s, &figures);
    assert_int_equal(figures.accepted, TEXTS);
    assert_int_equal(figures.ended[END_STOP] + figures.ended[END_LENGTH], TEXTS);
    assert_int_equal(figures.running + figures.waiting, 0);
    scheduler_destroy(s);
    int64_t tokens = 0, begun = 0;
    for (int i = 0; i < TEXTS; i++) {
        const text_request r = request_of(i, &prompts[i]);
        asked *alone = answer(f, r, (scheduler_options){.slots = 1}), *plain = generated(f, &r);
        tokens += all[i].tokens;
        begun += all[i].tokens > 0;
        assert_int_equal(all[i].ends, 1);
        assert_int_equal(all[i].tokens, alone->tokens);
        assert_int_equal(all[i].tokens, plain->tokens);
        assert_memory_equal(all[i].ids, alone->ids, (size_t)alone->tokens * sizeof(int32_t));
        assert_string_equal(all[i].text, alone->text);
        assert_string_equal(all[i].text, plain->text);
        assert_int_equal(all[i].end.completion_tokens, all[i].tokens);
        assert_int_equal(all[i].end.prompt_tokens, prompts[i].count);
        assert_int_equal(all[i].end.first_token_seconds > 0, all[i].tokens > 0);
        free(alone);
        free(plain);
    }
    assert_int_equal(figures.completion_tokens, tokens);
    assert_int_equal(figures.first_token.total, begun);
    assert_int_equal(figures.between_tokens.total, tokens - begun);
    assert_true(tokens > TEXTS * 15);
    free(all);
}

static void a_text_does_not_depend_on_others(void **state) {
    many_texts_are_each_as_alone(*state, (scheduler_options){.slots = 4});
    many_texts_are_each_as_alone(*state, (scheduler_options){.slots = TEXTS, .chunk = 16});
    many_texts_are_each_as_alone(*state,
                                 (scheduler_options){.slots = 3, .chunk = 37, .chunk_beside = 21, .no_reuse = true});
}

static void nor_in_bf16(void **state) {
    (void)state;
    if (!kernels_for(DTYPE_BF16)) skip();
    texts_fixture f = {texts_model(DTYPE_BF16, 0.3f), texts_tokenizer()};
    many_texts_are_each_as_alone(&f, (scheduler_options){.slots = 5});
    model_destroy(f.m);
    tokenizer_close(f.t);
}

static void a_shared_prompt_is_read_once(void **state) {
    const texts_fixture *f = *state;
    enum { ASKERS = 6 };
    scheduler *s = start(f, (scheduler_options){.slots = 3, .chunk = 32});
    asked *a = xcalloc(ASKERS, sizeof *a);
    prompt_ids prompts[ASKERS];
    text_request r[ASKERS];
    for (int i = 0; i < ASKERS; i++) {
        char text[400];
        snprintf(text, sizeof text, "%s And %d?", poem, i * 7);
        prompts[i] = prompt_of(text);
        r[i] = (text_request){.prompt = prompts[i].ids,
                              .prompt_count = prompts[i].count,
                              .how = {.sampler = {.temperature = 1, .top_p = 1, .seed = 5}, .max_tokens = 30}};
        assert_int_equal(ask(s, &a[i], r[i]), SUBMIT_ACCEPTED);
    }
    for (int i = 0; i < ASKERS; i++) asked_wait(&a[i]);
    const int64_t whole = (int64_t)strlen(poem);
    scheduler_statistics figures;
    scheduler_read(s, &figures);
    assert_int_equal(a[0].end.cached_tokens, 0);
    for (int i = 1; i < ASKERS; i++) assert_in_range(a[i].end.cached_tokens, whole - 6, whole + 10);
    assert_int_equal(figures.prefix_hits, ASKERS - 1);
    assert_true(figures.cached_tokens > (ASKERS - 1) * (whole - 6));
    /* Other experts make other keys: nothing is taken over. */
    asked *other = xcalloc(1, sizeof *other);
    text_request controlled = r[0];
    controlled.experts.top_k = 1;
    assert_int_equal(ask(s, other, controlled), SUBMIT_ACCEPTED);
    asked_wait(other);
    assert_int_equal(other->end.cached_tokens, 0);
    assert_string_not_equal(other->text, a[0].text);
    scheduler_destroy(s);
    for (int i = 0; i < ASKERS; i++) {
        asked *alone = answer(f, r[i], (scheduler_options){.slots = 1, .no_reuse = true});
        assert_string_equal(a[i].text, alone->text);
        free(alone);
    }
    asked *alone = answer(f, controlled, (scheduler_options){.slots = 1, .no_reuse = true});
    assert_string_equal(other->text, alone->text);
    free(alone);
    free(other);
    free(a);
}

/* A conversation goes on: what was read of it before is not read again, however it is cut off. */
static void a_longer_prompt_goes_on_from_a_shorter_one(void **state) {
    const texts_fixture *f = *state;
    scheduler *s = start(f, (scheduler_options){.slots = 2});
    for (size_t count = 20; count < 170; count += 11) {
        prompt_ids p = prompt_of(poem);
        const text_request r = {.prompt = p.ids,
                                .prompt_count = count,
                                .how = {.sampler = {.temperature = 1, .top_p = 1, .seed = count}, .max_tokens = 10}};
        asked *a = xcalloc(1, sizeof *a), *alone = answer(f, r, (scheduler_options){.slots = 1});
        assert_int_equal(ask(s, a, r), SUBMIT_ACCEPTED);
        asked_wait(a);
        assert_string_equal(a->text, alone->text);
        assert_int_equal(a->end.cached_tokens, count == 20 ? 0 : count - 11);
        free(a);
        free(alone);
    }
    scheduler_destroy(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_does_not_depend_on_others),
        cmocka_unit_test(nor_in_bf16),
        cmocka_unit_test(a_shared_prompt_is_read_once),
        cmocka_unit_test(a_longer_prompt_goes_on_from_a_shorter_one),
    };
    return cmocka_run_group_tests(tests, texts_setup, texts_teardown);
}
