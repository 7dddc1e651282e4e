/* Many texts over one model: each as if it were alone, whatever ends it, whatever it has in common with others. */
#include "test.h"

#include "asked.h"
#include "generate/generate.h"
#include "generate/scheduler.h"
#include "nn/roles.h"
#include "texts.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

static const char poem[] =
    "Tyger Tyger, burning bright, in the forests of the night; what immortal hand or eye, could frame thy "
    "fearful symmetry? In what distant deeps or skies burnt the fire of thine eyes?";

static scheduler *start(const texts_fixture *f, scheduler_options o) {
    scheduler *s;
    if (o.context == 0) o.context = 400;
    assert_ok(scheduler_start(&s, f->m, f->t, &o));
    return s;
}

/* The answer of a scheduler that has nothing else to do. */
static asked *answer(const texts_fixture *f, text_request r, scheduler_options o) {
    asked *a = xcalloc(1, sizeof *a);
    scheduler *s = start(f, o);
    assert_int_equal(ask(s, a, r), SUBMIT_ACCEPTED);
    asked_wait(a);
    scheduler_destroy(s);
    return a;
}

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

/* ---- ends ---- */

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
    scheduler_destroy(s);
    for (int i = 0; i < REQUESTS; i++) assert_int_equal(a[i].a.ends, 1);
    assert_int_equal(told, REQUESTS);
    assert_int_equal(a[0].a.end.reason, END_ERROR); /* it was being written */
    assert_non_null(strstr(a[0].a.error, "out of memory"));
    free(a);
}

static void nonsense_is_refused(void **state) {
    const texts_fixture *f = *state;
    scheduler *s = start(f, (scheduler_options){.context = 40}), *none;
    prompt_ids p = prompt_of("abc"), far = p, long_one = prompt_of(poem);
    far.ids[2] = TEXTS_VOCAB;
    asked *a = xcalloc(1, sizeof *a);
    const bool nobody[TEXTS_EXPERTS] = {false};
    const int dense_layer[TEXTS_LAYERS] = {1};
    const text_request good = {.prompt = p.ids, .prompt_count = p.count};
    const struct {
        text_request r;
        const char *says;
    } cases[] = {
        {{.prompt = p.ids}, "prompt: expected at least one token, found none"},
        {{.prompt = long_one.ids, .prompt_count = long_one.count},
         "expected fewer tokens than the context of 40, found 1"},
        {{.prompt = far.ids, .prompt_count = far.count}, "expected ids below the vocabulary of 304, found 304"},
        {{.prompt = p.ids, .prompt_count = 1, .how = {.max_tokens = -1}}, "max_tokens: expected 1 or more, found -1"},
        {{.prompt = p.ids, .prompt_count = 1, .how = {.sampler = {.min_p = 2}}}, "min_p"},
        {{.prompt = p.ids, .prompt_count = 1, .how = {.stops = (const char *[]){""}, .stop_count = 1}},
         "stop: expected strings of 1 to"},
        {{.prompt = p.ids, .prompt_count = 1, .how = {.stops = (const char *[]){"\xff"}, .stop_count = 1}},
         "stop: expected UTF-8"},
        {{.prompt = p.ids, .prompt_count = 1, .how = {.log_probs = true, .top_log_probs = 21}},
         "top_logprobs: expected 0 to 20, found 21"},
        {{.prompt = p.ids, .prompt_count = 1, .experts = {.top_k = 5}}, "top_k: expected 1 to 4 experts, found 5"},
        {{.prompt = p.ids, .prompt_count = 1, .experts = {.allowed = nobody}},
         "expected at least one that may be chosen"},
        {{.prompt = p.ids, .prompt_count = 1, .experts = {.layer_top_k = dense_layer}}, "top_k of layer 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(ask(s, a, cases[i].r), SUBMIT_REFUSED);
        if (!strstr(error_message(), cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", error_message(), cases[i].says);
    }
    assert_int_equal(a->ends, 0);
    assert_int_equal(ask(s, a, good), SUBMIT_ACCEPTED);
    asked_wait(a);
    scheduler_destroy(s);
    assert_fails(scheduler_start(&none, f->m, f->t, &(scheduler_options){0}), "context: expected 2 to");
    assert_fails(scheduler_start(&none, f->m, f->t, &(scheduler_options){.context = 10, .chunk = 3}),
                 "chunk: expected 16 to");
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

/* ---- what prompts have in common ---- */

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

/* ---- what is said of tokens ---- */

static void routing_is_shown_and_steered(void **state) {
    const texts_fixture *f = *state;
    prompt_ids p = prompt_of(poem);
    static const bool two[TEXTS_EXPERTS] = {true, false, false, true};
    static const int by_layer[TEXTS_LAYERS] = {0, 1, 3};
    const struct {
        expert_control c;
        int most[2]; /* of layer 1 and of layer 2 */
    } cases[] = {{{0}, {2, 2}},
                 {{.top_k = 1}, {1, 1}},
                 {{.top_k = 4}, {4, 4}},
                 {{.allowed = two}, {2, 2}},
                 {{.layer_top_k = by_layer}, {1, 3}}};
    char texts[5][ASKED_BYTES];
    for (int i = 0; i < 5; i++) {
        const text_request r = {.prompt = p.ids,
                                .prompt_count = p.count,
                                .how = {.max_tokens = 60, .ignore_end = true},
                                .routing = true,
                                .experts = cases[i].c};
        asked *a = answer(f, r, (scheduler_options){.slots = 1});
        assert_int_equal(a->entries, 3);
        for (int e = 0; e < 3; e++) assert_int_equal(a->most[e], cases[i].most[e == 2]);
        for (int e = 0; e < TEXTS_EXPERTS && cases[i].c.allowed; e++)
            if (!cases[i].c.allowed[e]) assert_false(a->used[e]);
        strcpy(texts[i], a->text);
        for (int j = 0; j < i; j++) assert_string_not_equal(texts[i], texts[j]);
        free(a);
    }
}

static void traffic_is_counted_and_kept(void **state) {
    const texts_fixture *f = *state;
    scheduler *s = start(f, (scheduler_options){.slots = 2});
    prompt_ids p = prompt_of(poem);
    asked *a = xcalloc(1, sizeof *a);
    assert_int_equal(
        ask(s, a,
            (text_request){.prompt = p.ids, .prompt_count = p.count, .how = {.max_tokens = 11, .ignore_end = true}}),
        SUBMIT_ACCEPTED);
    asked_wait(a);
    assert_int_equal(a->entries, 0); /* routes were not asked for */
    scheduler_traffic t, twice;
    scheduler_traffic_read(s, &t);
    assert_int_equal(t.layers, 2);
    assert_int_equal(t.experts, TEXTS_EXPERTS);
    assert_int_equal(t.tokens, p.count + 10);
    int64_t sums[2] = {0};
    for (int i = 0; i < 2 * TEXTS_EXPERTS; i++) sums[i / TEXTS_EXPERTS] += t.counts[i];
    assert_int_equal(t.layer[0], 1);
    assert_int_equal(t.layer[1], 2);
    assert_int_equal(sums[0], 2 * 2 * t.tokens); /* the layer runs twice */
    assert_int_equal(sums[1], 2 * t.tokens);
    assert_ok(scheduler_traffic_add(s, &t));
    scheduler_traffic_read(s, &twice);
    assert_int_equal(twice.tokens, 2 * t.tokens);
    assert_int_equal(twice.counts[3], 2 * t.counts[3]);
    free(twice.counts);
    scheduler_traffic_reset(s);
    scheduler_traffic_read(s, &twice);
    assert_int_equal(twice.tokens, 0);
    t.experts = 3;
    assert_fails(scheduler_traffic_add(s, &t), "expected counts of 2 layers with 4 experts, found 2 with 3");
    free(twice.counts);
    free(t.counts);
    scheduler_destroy(s);
    free(a);
}

static void log_probabilities_are_said(void **state) {
    const texts_fixture *f = *state;
    prompt_ids p = prompt_of("abc");
    const text_request r = {.prompt = p.ids,
                            .prompt_count = p.count,
                            .how = {.max_tokens = 15, .ignore_end = true, .log_probs = true, .top_log_probs = 2}};
    asked *a = answer(f, r, (scheduler_options){.slots = 1});
    /* greedy: the last token is the likeliest but for end tokens, which are barred, and ids without a piece */
    for (int i = 0; i < a->tokens; i++) assert_true(a->log_probs[i] < 0 && a->log_probs[i] > -20);
    assert_true(a->top[0] >= a->top[1] && a->top[1] < 0);
    assert_true(a->log_probs[a->tokens - 1] <= a->top[0]);
    free(a);
}

static void an_untrained_model_writes_json(void **state) {
    const texts_fixture *f = *state;
    enum { ASKERS = 24 };
    scheduler *s = start(f, (scheduler_options){.slots = 6, .context = 500});
    prompt_ids p = prompt_of("As JSON: ");
    asked *a = xcalloc(ASKERS, sizeof *a);
    int whole = 0;
    static const logit_bias closing[] = {{TEXTS_BYTES + '"', 2}, {TEXTS_BYTES + '}', 3}, {TEXTS_BYTES + ']', 2}};
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(ask(s, &a[i],
                             (text_request){.prompt = p.ids,
                                            .prompt_count = p.count,
                                            .how = {.sampler = {.temperature = 1,
                                                                .top_p = 1,
                                                                .seed = (uint64_t)i,
                                                                .json = true,
                                                                .biases = closing,
                                                                .bias_count = 3}}}),
                         SUBMIT_ACCEPTED);
    for (int i = 0; i < ASKERS; i++) {
        asked_wait(&a[i]);
        cJSON *parsed = cJSON_Parse(a[i].text);
        if (a[i].end.reason == END_STOP && !cJSON_IsObject(parsed)) fail_msg("not an object: %s", a[i].text);
        assert_true(a[i].end.reason == END_STOP || a[i].end.reason == END_LENGTH);
        whole += a[i].end.reason == END_STOP;
        cJSON_Delete(parsed);
    }
    assert_true(whole > ASKERS / 3);
    scheduler_destroy(s);
    free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_does_not_depend_on_others),
        cmocka_unit_test(nor_in_bf16),
        cmocka_unit_test(stop_strings_end_a_text_over_tokens),
        cmocka_unit_test(the_context_ends_a_text),
        cmocka_unit_test(a_cancelled_text_ends),
        cmocka_unit_test(a_full_queue_says_so),
        cmocka_unit_test(stopping_cuts_or_finishes),
        cmocka_unit_test(nobody_is_forgotten_where_memory_is_out),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(a_model_of_nonsense_is_an_error_of_the_text),
        cmocka_unit_test(a_shared_prompt_is_read_once),
        cmocka_unit_test(a_longer_prompt_goes_on_from_a_shorter_one),
        cmocka_unit_test(routing_is_shown_and_steered),
        cmocka_unit_test(traffic_is_counted_and_kept),
        cmocka_unit_test(log_probabilities_are_said),
        cmocka_unit_test(an_untrained_model_writes_json),
    };
    return cmocka_run_group_tests(tests, texts_setup, texts_teardown);
}
