/* Keys and values of many texts in few blocks: every text is the one that it is alone with room for all, whoever shares,
 * makes way or is put back; all are served, in order; and all blocks come back. */
#include "test.h"

#include "asked.h"
#include "nn/roles.h"
#include <stdio.h>

enum { BLOCK = CACHE_BLOCK };

/* blocks 0: room for all slots */
static scheduler *start(const texts_fixture *f, scheduler_options o, int64_t blocks) {
    scheduler *s;
    if (blocks > 0) o.cache_bytes = blocks_bytes(f->m, f->t, o.context, blocks);
    assert_ok(scheduler_start(&s, f->m, f->t, &o));
    return s;
}

static cache_figures figures_of(scheduler *s) {
    scheduler_statistics figures;
    scheduler_read(s, &figures);
    return figures.cache;
}

/* Alone, with all the room there is, nothing shared. */
static asked *alone(const texts_fixture *f, text_request r, int64_t context) {
    asked *a = xcalloc(1, sizeof *a);
    scheduler *s = start(f, (scheduler_options){.slots = 1, .context = context, .no_reuse = true}, 0);
    assert_int_equal(ask(s, a, r), SUBMIT_ACCEPTED);
    asked_wait(a);
    scheduler_destroy(s);
    return a;
}

static void assert_same_text(const asked *found, const asked *expected) {
    assert_int_equal(found->ends, 1);
    assert_int_equal(found->end.reason, expected->end.reason);
    assert_int_equal(found->tokens, expected->tokens);
    assert_memory_equal(found->ids, expected->ids, (size_t)expected->tokens * sizeof *expected->ids);
    assert_string_equal(found->text, expected->text);
}

/* `count` tokens, of which the first `common` are those of every text. */
static prompt_ids text_of(size_t count, size_t common, int which) {
    prompt_ids p = {.ids = {TEXTS_BOS}, .count = count};
    for (size_t i = 1; i < count; i++) {
        const size_t letter = i < common ? i * 7 % 26 : (i * 5 + (size_t)which * 11) % 26;
        p.ids[i] = TEXTS_BYTES + (i < common ? 'a' : 'A') + (int32_t)letter;
    }
    if (common < count) p.ids[common > 0 ? common : 1] = TEXTS_BYTES + 128 + which;
    return p;
}

static text_request request_of(const prompt_ids *p, int which, int64_t tokens) {
    return (text_request){.prompt = p->ids,
                          .prompt_count = p->count,
                          .how = {.sampler = {.temperature = which % 3 ? 1 : 0, .top_p = 1, .seed = (uint64_t)which},
                                  .max_tokens = tokens,
                                  .ignore_end = true}};
}

/* ---- sharing ---- */

/* Two go on from a beginning that ends before, at and behind a block's end, at the same time and one after the other. */
static void texts_that_begin_alike_share_blocks(void **state) {
    const texts_fixture *f = *state;
    for (size_t common = 2 * BLOCK - 1; common <= 2 * BLOCK + 1; common++)
        for (int together = 0; together < 2; together++) {
            enum { ASKERS = 4 };
            asked *a = xcalloc(ASKERS, sizeof *a);
            prompt_ids p[ASKERS];
            scheduler *s = start(f, (scheduler_options){.slots = ASKERS, .context = 4 * BLOCK}, 0);
            sem_t hold, began;
            sem_init(&hold, 0, 0);
            sem_init(&began, 0, 0);
            for (int i = 0; i < ASKERS; i++) {
                p[i] = text_of(common + 6 + (size_t)i, common, i);
                a[i].watch = true;
                if (i == 0 && together) a[i].hold = &hold, a[i].began = &began;
                assert_int_equal(ask(s, &a[i], request_of(&p[i], i, 20)), SUBMIT_ACCEPTED);
                if (!together) asked_wait(&a[i]);
            }
            if (together) sem_post(&hold);
            for (int i = 0; i < ASKERS && together; i++) asked_wait(&a[i]);
            for (int i = 0; i < ASKERS; i++) {
                asked *expected = alone(f, request_of(&p[i], i, 20), 4 * BLOCK);
                assert_same_text(&a[i], expected);
                assert_int_equal(a[i].end.cached_tokens, i > 0 ? common : 0);
                if (i > 0) assert_true(a[i].most_shared >= (int64_t)common / BLOCK);
                free(expected);
            }
            const cache_figures c = figures_of(s);
            assert_int_equal(c.used, 0);
            /* what all have in common is there once */
            assert_true(c.kept <= (int64_t)(common / BLOCK) + ASKERS * 2);
            assert_int_equal(c.shared, common / BLOCK);
            scheduler_destroy(s);
            free(a);
        }
}

/* A prompt that was read stays when other texts came and went in its slot. */
static void a_prompt_outlives_its_slot(void **state) {
    const texts_fixture *f = *state;
    scheduler *s = start(f, (scheduler_options){.slots = 1, .context = 4 * BLOCK}, 20);
    enum { PROMPTS = 6 };
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < PROMPTS; i++) {
            const prompt_ids p = text_of(100, 0, i);
            asked *a = xcalloc(1, sizeof *a);
            assert_int_equal(ask(s, a, request_of(&p, i + 10 * round, 5)), SUBMIT_ACCEPTED);
            asked_wait(a);
            assert_int_equal(a->end.cached_tokens, round ? 95 : 0);
            asked *expected = alone(f, request_of(&p, i + 10 * round, 5), 4 * BLOCK);
            assert_same_text(a, expected);
            free(expected);
            free(a);
        }
    const cache_figures c = figures_of(s);
    assert_int_equal(c.kept, PROMPTS * 2);
    assert_int_equal(c.used + c.shared, 0);
    scheduler_destroy(s);
}

/* Four blocks, prompts of one each. */
static void the_prompt_that_was_not_used_for_longest_makes_way(void **state) {
    const texts_fixture *f = *state;
    scheduler *s = start(f, (scheduler_options){.slots = 1, .context = 4 * BLOCK}, 4);
    static const struct {
        int prompt, cached;
    } asked_for[] = {
        {0, 0},  {1, 0},  {2, 0}, {3, 0}, /* all are used */
        {4, 0},                           /* in the place of 0 */
        {1, 55},                          /* is there; it writes to a copy, for which 2 makes way */
        {2, 0},                           /* takes that block when it is free */
        {0, 0},                           /* in the place of 3 */
        {4, 55},                          /* 1 makes way for the copy */
        {3, 0},  {0, 55},                 /* 2 makes way */
    };
    for (size_t i = 0; i < sizeof asked_for / sizeof *asked_for; i++) {
        const prompt_ids p = text_of(60, 0, asked_for[i].prompt);
        asked a = {.watch = true};
        assert_int_equal(ask(s, &a, request_of(&p, 1, 3)), SUBMIT_ACCEPTED);
        asked_wait(&a);
        if (a.end.cached_tokens != asked_for[i].cached)
            fail_msg("request %zu: %d tokens were cached, expected %d", i, (int)a.end.cached_tokens,
                     asked_for[i].cached);
    }
    scheduler_destroy(s);
}

/* ---- too few blocks ---- */

enum { TEXTS = 16, CONTEXT = 3 * BLOCK };

/* Texts of all lengths up to the context, every fourth of which begins as others do, some with experts of their own. */
static text_request long_request(int i, prompt_ids *p) {
    const size_t count = 2 + (size_t)(i * 37) % (CONTEXT - 60);
    *p = i % 4 ? text_of(count, 0, i) : text_of(count + 25, 30, i);
    text_request r = request_of(p, i, CONTEXT - (int64_t)p->count - i % 3);
    if (i % 5 == 2) r.experts = (expert_control){.top_k = 1};
    return r;
}

/* What each says alone. */
static asked *all_alone(const texts_fixture *f) {
    asked *all = xcalloc(TEXTS, sizeof *all);
    for (int i = 0; i < TEXTS; i++) {
        prompt_ids p;
        asked *one = alone(f, long_request(i, &p), CONTEXT);
        all[i] = *one;
        free(one);
    }
    return all;
}

static void few_blocks_serve_all(const texts_fixture *f, const asked *expected, scheduler_options o, int64_t blocks) {
    asked *all = xcalloc(TEXTS, sizeof *all);
    prompt_ids *prompts = xcalloc(TEXTS, sizeof *prompts);
    o.context = CONTEXT;
    scheduler *s = start(f, o, blocks);
    int64_t tokens = 0;
    for (int i = 0; i < TEXTS; i++) {
        all[i].watch = true;
        assert_int_equal(ask(s, &all[i], long_request(i, &prompts[i])), SUBMIT_ACCEPTED);
    }
    for (int i = 0; i < TEXTS; i++) asked_wait(&all[i]);
    scheduler_stop(s, true);
    scheduler_statistics figures;
    scheduler_traffic traffic;
    scheduler_read(s, &figures);
    scheduler_traffic_read(s, &traffic);
    for (int i = 0; i < TEXTS; i++) {
        assert_same_text(&all[i], &expected[i]);
        assert_int_equal(all[i].end.prompt_tokens, prompts[i].count);
        tokens += (int64_t)prompts[i].count - all[i].end.cached_tokens + all[i].tokens - 1;
    }
    assert_true(figures.cache.put_back > 0);
    assert_int_equal(figures.cache.blocks, blocks);
    assert_int_equal(figures.cache.used, 0);
    assert_int_equal(traffic.tokens, tokens); /* each token counts once, however often it was read */
    assert_int_equal(figures.prompt_tokens + figures.completion_tokens - figures.cached_tokens, tokens + TEXTS);
    if (o.no_reuse) assert_int_equal(figures.cache.free, blocks);
    free(traffic.counts);
    scheduler_destroy(s);
    free(prompts);
    free(all);
}

static void texts_that_were_put_back_are_the_same(void **state) {
    const texts_fixture *f = *state;
    asked *expected = all_alone(f);
    few_blocks_serve_all(f, expected, (scheduler_options){.slots = 4}, 5);
    few_blocks_serve_all(f, expected, (scheduler_options){.slots = 8, .chunk = 16}, 7);
    few_blocks_serve_all(f, expected,
                         (scheduler_options){.slots = 8, .no_reuse = true, .chunk = 40, .chunk_beside = 17}, 9);
    /* and where somebody proposes how they go on */
    few_blocks_serve_all(f, expected, (scheduler_options){.slots = 3, .drafts = {.small = f->m}}, 4);
    few_blocks_serve_all(f, expected, (scheduler_options){.slots = 6, .drafts = {.lookup = true}}, 7);
    free(expected);
}

static void so_they_are_with_few_bits(void **state) {
    const texts_fixture *f = *state;
    /* from codes: rounding makes much of the last bits of floats, which not every CPU gives alike (float_rows.h) */
    texts_fixture codes = {texts_model_of_codes(f->m), f->t};
    for (int type = CACHE_BF16; type <= CACHE_INT8; type++) {
        codes.m->cache = (cache_type)type;
        asked *expected = all_alone(&codes);
        few_blocks_serve_all(&codes, expected, (scheduler_options){.slots = 6}, 6);
        free(expected);
    }
    model_destroy(codes.m);
}

static void and_in_bf16(void **state) {
    const texts_fixture *f = *state;
    if (!kernels_for(DTYPE_BF16)) skip();
    texts_fixture other = {texts_model(DTYPE_BF16, 0.3f), f->t};
    asked *expected = all_alone(&other);
    few_blocks_serve_all(&other, expected, (scheduler_options){.slots = 6}, 6);
    free(expected);
    model_destroy(other.m);
}

/* A pool for one text at a time: nobody waits for ever, nobody overtakes. */
static void a_pool_for_one_text_serves_them_in_order(void **state) {
    const texts_fixture *f = *state;
    enum { ASKERS = 10 };
    scheduler *s = start(f, (scheduler_options){.slots = 5, .context = CONTEXT, .no_reuse = true}, 3);
    asked *a = xcalloc(ASKERS, sizeof *a);
    prompt_ids p[ASKERS];
    for (int i = 0; i < ASKERS; i++) {
        p[i] = text_of(i % 2 ? 20 : 150, 0, i);
        assert_int_equal(ask(s, &a[i], request_of(&p[i], i, CONTEXT - (int64_t)p[i].count)), SUBMIT_ACCEPTED);
    }
    for (int i = 0; i < ASKERS; i++) asked_wait(&a[i]);
    for (int i = 0; i < ASKERS; i++) {
        asked *expected = alone(f, request_of(&p[i], i, CONTEXT - (int64_t)p[i].count), CONTEXT);
        assert_same_text(&a[i], expected);
        if (i > 0) assert_true(a[i].first > a[i - 1].first);
        free(expected);
    }
    const cache_figures c = figures_of(s);
    assert_int_equal(c.free, 3);
    scheduler_destroy(s);
    free(a);
}

/* The second waits for what the first reads of its prompt, meanwhile the third takes the blocks, and a pass has no room for
 * its first piece: it is read all the same and ends, and then there are blocks for the second. */
static void who_waits_for_blocks_lets_those_go_on_that_have_them(void **state) {
    const texts_fixture *f = *state;
    enum { ASKERS = 4 };
    const prompt_ids p[ASKERS] = {text_of(20, 0, 9), text_of(120, 60, 1), text_of(150, 60, 2), text_of(130, 0, 3)};
    scheduler *s = start(f, (scheduler_options){.slots = ASKERS, .context = CONTEXT, .chunk = 128}, 6);
    asked *a = xcalloc(ASKERS, sizeof *a);
    sem_t hold, began;
    sem_init(&hold, 0, 0);
    sem_init(&began, 0, 0);
    a[0].hold = &hold, a[0].began = &began; /* until all are there */
    for (int i = 0; i < ASKERS; i++) {
        assert_int_equal(ask(s, &a[i], request_of(&p[i], i, i > 0 ? 20 : 1)), SUBMIT_ACCEPTED);
        if (i == 0) sem_wait(&began);
    }
    sem_post(&hold);
    for (int i = 0; i < ASKERS; i++) asked_wait(&a[i]);
    assert_true(a[2].first > a[3].first);
    for (int i = 0; i < ASKERS; i++) {
        asked *expected = alone(f, request_of(&p[i], i, i > 0 ? 20 : 1), CONTEXT);
        assert_same_text(&a[i], expected);
        free(expected);
    }
    scheduler_destroy(s);
    free(a);
}

static void a_pool_for_less_than_a_text_is_refused(void **state) {
    const texts_fixture *f = *state;
    scheduler *s;
    scheduler_options o = {.context = CONTEXT, .cache_bytes = blocks_bytes(f->m, f->t, CONTEXT, 3) - 1};
    assert_fails(scheduler_start(&s, f->m, f->t, &o), "cache memory: expected at least");
}

/* ---- ends ---- */

/* In the queue, while they are read, written, put back: whenever they are cancelled, all blocks are free at the end. */
static void cancelled_texts_leave_no_block(void **state) {
    const texts_fixture *f = *state;
    for (int round = 0; round < 6; round++) {
        scheduler_options o = {.slots = 6, .context = CONTEXT, .no_reuse = true, .chunk = 16};
        if (round % 2) o.drafts = (draft_source){.small = f->m};
        scheduler *s = start(f, o, 4 + round / 2);
        asked *a = xcalloc(TEXTS, sizeof *a);
        prompt_ids *prompts = xcalloc(TEXTS, sizeof *prompts);
        sem_t hold, began;
        sem_init(&hold, 0, 0);
        sem_init(&began, 0, 0);
        a[0].hold = &hold, a[0].began = &began;
        for (int i = 0; i < TEXTS; i++) {
            a[i].watch = true;
            a[i].cancel_at = i % 3 == round % 3 ? 1 + i * 5 % 80 : 0;
            assert_int_equal(ask(s, &a[i], long_request(i, &prompts[i])), SUBMIT_ACCEPTED);
        }
        sem_wait(&began);
        for (int i = 5; i < TEXTS; i += 4) scheduler_cancel(s, a[i].t);
        sem_post(&hold);
        if (round >= 4) scheduler_stop(s, false);
        int cancelled = 0;
        for (int i = 0; i < TEXTS; i++) {
            asked_wait(&a[i]);
            assert_int_equal(a[i].ends, 1);
            cancelled += a[i].end.reason == END_CANCELLED;
        }
        assert_true(cancelled >= TEXTS / 4);
        const cache_figures c = figures_of(s);
        assert_int_equal(c.used + c.kept + c.shared, 0);
        assert_int_equal(c.free, c.blocks);
        scheduler_destroy(s);
        free(prompts);
        free(a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_begin_alike_share_blocks),
        cmocka_unit_test(a_prompt_outlives_its_slot),
        cmocka_unit_test(the_prompt_that_was_not_used_for_longest_makes_way),
        cmocka_unit_test(texts_that_were_put_back_are_the_same),
        cmocka_unit_test(so_they_are_with_few_bits),
        cmocka_unit_test(and_in_bf16),
        cmocka_unit_test(a_pool_for_one_text_serves_them_in_order),
        cmocka_unit_test(who_waits_for_blocks_lets_those_go_on_that_have_them),
        cmocka_unit_test(a_pool_for_less_than_a_text_is_refused),
        cmocka_unit_test(cancelled_texts_leave_no_block),
    };
    return cmocka_run_group_tests(tests, texts_setup, texts_teardown);
}
