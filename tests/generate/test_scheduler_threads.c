/* Many threads that submit, cancel, look at figures and stop, at once. */
#include "test.h"

#include "asked.h"

enum { THREADS = 6, ROUNDS = 5 };

typedef struct client {
    scheduler *s;
    pthread_t thread;
    uint64_t seed;
    int accepted, ended, wrong;
    int64_t tokens;
} client;

static void look(scheduler *s) {
    scheduler_statistics figures;
    scheduler_traffic traffic;
    scheduler_read(s, &figures);
    scheduler_traffic_read(s, &traffic);
    free(traffic.counts);
}

/* Every third of its requests is cancelled from this thread, every fourth from its own callback. */
static void *run_client(void *context) {
    client *c = context;
    rng r = rng_seed(c->seed);
    for (int i = 0; i < ROUNDS; i++) {
        asked *a = xcalloc(1, sizeof *a);
        prompt_ids p =
            prompt_of(i % 2 ? "in the beginning there was a question" : "in the beginning there was nothing");
        a->cancel_at = i % 4 == 3 ? 2 : 0;
        const text_request request = {.prompt = p.ids,
                                      .prompt_count = p.count - rng_below(&r, 8),
                                      .how = {.sampler = {.temperature = 1, .top_p = 1, .seed = rng_next(&r)},
                                              .max_tokens = 12,
                                              .ignore_end = true},
                                      .routing = i % 2,
                                      .experts = {.top_k = i % 3}};
        const submit_answer answer = ask(c->s, a, request);
        look(c->s);
        if (answer == SUBMIT_ACCEPTED) {
            c->accepted++;
            if (i % 3 == 2) scheduler_cancel(c->s, a->t);
            asked_wait(a);
            c->ended += a->ends;
            c->tokens += a->tokens;
            const end_reason reason = a->end.reason;
            c->wrong += a->tokens > 12 || (reason == END_LENGTH && a->tokens != 12) || reason == END_ERROR;
        }
        free(a);
    }
    return NULL;
}

/* blocks: of keys and values, 0: for all slots */
static void run_clients(model *m, tokenizer *t, int64_t blocks, bool stop_early) {
    scheduler *s;
    client clients[THREADS];
    int accepted = 0;
    int64_t tokens = 0;
    scheduler_options o = {.slots = 3, .context = 80, .queue = 4, .chunk = 16};
    if (blocks > 0) o.cache_bytes = blocks_bytes(m, t, o.context, blocks);
    assert_ok(scheduler_start(&s, m, t, &o));
    for (int i = 0; i < THREADS; i++) {
        clients[i] = (client){.s = s, .seed = (uint64_t)i + 1};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, run_client, &clients[i]), 0);
    }
    if (stop_early) scheduler_stop(s, false);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(clients[i].thread, NULL);
        assert_int_equal(clients[i].ended, clients[i].accepted);
        assert_int_equal(clients[i].wrong, 0);
        accepted += clients[i].accepted;
        tokens += clients[i].tokens;
    }
    scheduler_stop(s, true);
    scheduler_statistics figures;
    scheduler_read(s, &figures);
    assert_int_equal(figures.accepted, accepted);
    assert_int_equal(figures.completion_tokens, tokens);
    int64_t ended = 0;
    for (int i = 0; i < END_REASONS; i++) ended += figures.ended[i];
    assert_int_equal(ended, accepted);
    assert_int_equal(figures.running + figures.waiting, 0);
    assert_int_equal(figures.cache.used, 0);
    if (!stop_early) assert_true(accepted > THREADS * ROUNDS / 2);
    scheduler_destroy(s);
}

static void clients_come_and_go(void **state) {
    (void)state;
    model *m = texts_model(DTYPE_F32, 0.3f);
    tokenizer *t = texts_tokenizer();
    run_clients(m, t, 0, false);
    run_clients(m, t, 0, true);
    run_clients(m, t, 3, false);
    run_clients(m, t, 2, true);
    tokenizer_close(t);
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(clients_come_and_go)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
