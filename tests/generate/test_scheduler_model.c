/* A real model, MOEC_TEST_MODEL names it (any that moec opens): its greedy and seeded texts in a batch are those of each
 * alone. */
#include "test.h"

#include "asked.h"
#include "store/open.h"
#include <stdio.h>

enum { TEXTS = 16, CONTEXT = 320 };

static const char *const beginnings[TEXTS] = {
    "The capital of France is",
    "Once upon a time there was",
    "def fibonacci(n):\n",
    "Water boils at",
    "In the year 1815, the battle of",
    "A recipe for bread: take",
    "The three laws of motion are",
    "Dear Sir or Madam,\n\nI am writing to you because of the matter that we spoke about last week at the town hall, "
    "where",
    "1 + 1 = 2\n2 + 2 = 4\n3 + 3 =",
    "She opened the door and saw",
    "The largest planet is",
    "for (int i = 0; i < n; i++)",
    "It was a dark and stormy night; the rain fell in torrents, except at occasional intervals,",
    "A",
    "To be, or not to be, that is",
    "SELECT name, age FROM people WHERE"};

typedef struct prompts {
    int32_t *ids[TEXTS];
    size_t count[TEXTS];
} prompts;

static text_request request_of(const prompts *p, int i, int kind) {
    return (text_request){
        .prompt = p->ids[i],
        .prompt_count = p->count[i],
        .how = {.sampler = {.temperature = kind ? 0.8f : 0, .top_p = 0.95f, .seed = (uint64_t)i}, .max_tokens = 40}};
}

static void answer_all(model *m, const tokenizer *t, const prompts *p, int kind, int slots, asked *all) {
    scheduler *s;
    const scheduler_options o = {.slots = slots, .context = CONTEXT, .no_reuse = slots == 1};
    assert_ok(scheduler_start(&s, m, t, &o));
    for (int i = 0; i < TEXTS; i++) assert_int_equal(ask(s, &all[i], request_of(p, i, kind)), SUBMIT_ACCEPTED);
    for (int i = 0; i < TEXTS; i++) asked_wait(&all[i]);
    scheduler_destroy(s);
}

static void texts_in_a_batch_are_those_of_each_alone(void **state) {
    const char *path = getenv("MOEC_TEST_MODEL");
    (void)state;
    skip_without(path ? path : "MOEC_TEST_MODEL");
    model *m;
    tokenizer *t;
    prompts p;
    assert_ok(open_model(path, kernels_for(kernels_for(DTYPE_BF16) ? DTYPE_BF16 : DTYPE_F32), "chosen", MODEL_RUN, &m,
                         &t, NULL));
    for (int i = 0; i < TEXTS; i++)
        assert_ok(tokenizer_encode_text(t, beginnings[i], strlen(beginnings[i]), &p.ids[i], &p.count[i]));
    for (int kind = 0; kind < 2; kind++) {
        asked *together = xcalloc(TEXTS, sizeof *together), *alone = xcalloc(TEXTS, sizeof *alone);
        answer_all(m, t, &p, kind, TEXTS, together);
        answer_all(m, t, &p, kind, 1, alone);
        int different = 0;
        for (int i = 0; i < TEXTS; i++) {
            if (strcmp(together[i].text, alone[i].text) == 0) continue;
            printf("%s, text %d:\n  %s\n  %s\n", kind ? "seeded" : "greedy", i, together[i].text, alone[i].text);
            different++;
        }
        free(together);
        free(alone);
        assert_int_equal(different, 0);
    }
    for (int i = 0; i < TEXTS; i++) free(p.ids[i]);
    tokenizer_close(t);
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_in_a_batch_are_those_of_each_alone)};
    return run_skippable_tests(tests, NULL, NULL);
}
