/* Which tokens a sample takes: the same part of every domain, spread evenly, each time the same. */
#include "test.h"

#include "base/random.h"
#include "eval/sample.h"

/* A text of documents with these lengths and domains. */
static document_table table_of(const int *lengths, const int *domains, int count, int domain_count) {
    document_table t = {.count = count, .domain_count = domain_count};
    t.documents = xcalloc((size_t)count, sizeof *t.documents);
    t.domains = xcalloc((size_t)domain_count, sizeof *t.domains);
    for (int i = 0; i < domain_count; i++) t.domains[i] = xasprintf("domain %d", i);
    int64_t start = 0;
    for (int i = 0; i < count; i++) {
        t.documents[i] = (document){.start = start, .count = lengths[i], .bytes = 3 * lengths[i], .domain = domains[i]};
        start += lengths[i];
    }
    return t;
}

static int64_t tokens_of(const document_table *t) {
    const document *last = &t->documents[t->count - 1];
    return last->start + last->count;
}

/* Spans ascend and do not touch; *by_domain: how many tokens of each domain. */
static void assert_sound(const token_sample *s, const document_table *t, int64_t *by_domain) {
    int64_t behind = 0, sum = 0;
    for (int64_t i = 0; i < s->count; i++) {
        assert_true(s->spans[i].first > behind && s->spans[i].first < s->spans[i].end);
        behind = s->spans[i].end;
        sum += s->spans[i].end - s->spans[i].first;
        for (int64_t p = s->spans[i].first; p < s->spans[i].end; p++)
            by_domain[t->documents[document_at(t, p)].domain]++;
    }
    assert_true(behind <= tokens_of(t));
    assert_int_equal(sum, s->tokens);
}

static void the_whole_is_one_span(void **state) {
    (void)state;
    static const int64_t asked[] = {0, -1, 999, 1000, 5000};
    for (int i = 0; i < 5; i++) {
        token_sample s = sample_take(1000, NULL, asked[i], 1);
        assert_true(s.whole && s.count == 1 && s.spans[0].first == 1 && s.spans[0].end == 1000 && s.tokens == 999);
        sample_free(&s);
    }
    token_sample s = sample_take(1000, NULL, 998, 1);
    assert_true(!s.whole && s.tokens == 998);
    sample_free(&s);
}

/* Ordered by domain, as moec data orders held-out text: the first tokens would all be of domain 0. */
static void every_domain_has_its_part(void **state) {
    (void)state;
    static const int lengths[] = {40000, 20000, 1, 30000, 9999, 100}, domains[] = {0, 0, 1, 1, 2, 3};
    static const int64_t available[] = {59999, 30001, 9999, 100};
    document_table t = table_of(lengths, domains, 6, 4);
    static const int64_t asked[] = {40, 1000, 32768, 99000};
    for (int i = 0; i < 4; i++) {
        int64_t found[4] = {0};
        token_sample s = sample_take(tokens_of(&t), &t, asked[i], 7);
        assert_sound(&s, &t, found);
        assert_in_range(s.tokens, asked[i], asked[i] + 4);
        for (int d = 0; d < 4; d++) {
            const double exact = (double)asked[i] * (double)available[d] / 100099;
            assert_true(found[d] >= 1 && (double)found[d] > exact - 1 && (double)found[d] < exact + 2);
        }
        sample_free(&s);
    }
    document_table_free(&t);
}

/* 32 pieces in 32,000 tokens: one in each 1,000. */
static void pieces_are_spread(void **state) {
    (void)state;
    static const int lengths[] = {32001}, domains[] = {0};
    document_table t = table_of(lengths, domains, 1, 1);
    token_sample s = sample_take(32001, &t, 32 * SAMPLE_LEAST_PIECE, 3);
    assert_in_range(s.count, 28, 32); /* two may touch */
    int64_t in_each[33] = {0};
    for (int64_t i = 0; i < s.count; i++)
        for (int64_t p = s.spans[i].first; p < s.spans[i].end; p++) in_each[(p - 1) / 1000]++;
    for (int i = 0; i < 32; i++) assert_int_equal(in_each[i], SAMPLE_LEAST_PIECE);
    sample_free(&s);
    document_table_free(&t);
}

static bool same(const token_sample *a, const token_sample *b) {
    return a->count == b->count && memcmp(a->spans, b->spans, (size_t)a->count * sizeof *a->spans) == 0;
}

/* Another domain beside it does not move a domain's pieces. */
static void the_seed_decides(void **state) {
    (void)state;
    static const int lengths[] = {50000, 50000}, domains[] = {0, 1};
    document_table t = table_of(lengths, domains, 2, 2);
    token_sample a = sample_take(100000, &t, 9000, 5), b = sample_take(100000, &t, 9000, 5);
    token_sample c = sample_take(100000, &t, 9000, 6);
    assert_true(same(&a, &b));
    assert_false(same(&a, &c));
    sample_free(&a), sample_free(&b), sample_free(&c);
    document_table_free(&t);
}

/* Documents of several domains in turn, and of one token: a piece goes on in the domain's next document. */
static void domains_in_turn(void **state) {
    (void)state;
    enum { COUNT = 3000 };
    int lengths[COUNT], domains[COUNT];
    int64_t available[3] = {0};
    rng r = rng_seed(1);
    for (int i = 0; i < COUNT; i++) {
        lengths[i] = 1 + (int)rng_below(&r, 60);
        domains[i] = i % 7 == 0 ? 2 : i % 2;
        available[domains[i]] += lengths[i] - (i == 0);
    }
    document_table t = table_of(lengths, domains, COUNT, 3);
    for (int64_t asked = 1; asked < tokens_of(&t); asked = asked * 3 / 2 + 1) {
        int64_t found[3] = {0};
        token_sample s = sample_take(tokens_of(&t), &t, asked, 9);
        assert_sound(&s, &t, found);
        for (int d = 0; d < 3; d++) {
            const double exact = (double)asked * (double)available[d] / (double)(tokens_of(&t) - 1);
            assert_true((double)found[d] > exact - 1 && (double)found[d] < exact + 2);
        }
        sample_free(&s);
    }
    document_table_free(&t);
}

/* A table may name a domain that has nothing but the text's first token. */
static void nothing_to_score_of_a_domain(void **state) {
    (void)state;
    static const int lengths[] = {1, 5000}, domains[] = {0, 1};
    document_table t = table_of(lengths, domains, 2, 2);
    int64_t found[2] = {0};
    token_sample s = sample_take(5001, &t, 600, 1);
    assert_sound(&s, &t, found);
    assert_true(found[0] == 0 && found[1] == 600);
    sample_free(&s);
    document_table_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_is_one_span), cmocka_unit_test(every_domain_has_its_part),
        cmocka_unit_test(pieces_are_spread),     cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(domains_in_turn),       cmocka_unit_test(nothing_to_score_of_a_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
