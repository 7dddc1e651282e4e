/* Rows drawn by the weights of domains: what they are cut from, how many there are of each, and from any row on. */
#include "test.h"

#include "text/loader.h"
#include <math.h>

enum { T = 4, VOCAB = 1000, BOS = 999 };
enum { CODE, WEB, MATHS, DOMAINS };

/* Two shards with documents of three domains in a colourful order. Token 100·d + i is the i-th of domain d's stream. */
static int create(void **state) {
    static const struct {
        int domain, count;
    } documents[2][5] = {{{CODE, 7}, {WEB, 3}, {WEB, 9}, {CODE, 6}, {MATHS, 5}},
                         {{MATHS, 8}, {CODE, 20}, {WEB, 30}, {CODE, 1}, {MATHS, 2}}};
    static const char *const names[DOMAINS] = {"code", "web", "maths"};
    char *folder = scratch_create();
    int next[DOMAINS] = {0};
    for (int s = 0; s < 2; s++) {
        int32_t tokens[100];
        int count = 0;
        char *shard = xasprintf("%s/x_train_%06d.bin", folder, s);
        char *table = xasprintf("%s/x_train_%06d.docs.tsv", folder, s), *text = xstrdup("");
        for (int d = 0; d < 5; d++) {
            const int domain = documents[s][d].domain;
            char *longer = xasprintf("%s%d\t%d\t9\t%s\tfile\n", text, count, documents[s][d].count, names[domain]);
            free(text);
            text = longer;
            for (int i = 0; i < documents[s][d].count; i++) tokens[count++] = 100 * domain + next[domain]++;
        }
        assert_ok(shard_write(shard, tokens, count, VOCAB, NULL));
        assert_ok(file_write_whole(table, text, strlen(text)));
        free(text), free(table), free(shard);
    }
    *state = folder;
    return 0;
}

static const int stream_tokens[DOMAINS] = {34, 42, 15};

static weight_list weights_of(double code, double web, double maths) {
    static named_weight items[DOMAINS] = {{(char *)"code", 0}, {(char *)"web", 0}, {(char *)"maths", 0}};
    items[CODE].weight = code;
    items[WEB].weight = web;
    items[MATHS].weight = maths;
    return (weight_list){.items = items, .count = DOMAINS};
}

static loader *open_mixed(const char *folder, int64_t B, bool shuffle, uint64_t seed, weight_list weights) {
    loader *l;
    assert_ok(loader_open(&l, folder, VOCAB, BOS, B, T, shuffle, seed));
    assert_ok(loader_mix(l, &weights));
    return l;
}

/* The row is T + 1 tokens of one stream that follow one another, from a multiple of T on; *number: which. */
static int check_row(const batch *b, int64_t i, int *number) {
    const int32_t *ids = b->input_ids + i * T, *targets = b->target_ids + i * T;
    const int domain = ids[0] / 100;
    for (int t = 0; t < T; t++) {
        assert_int_equal(ids[t], ids[0] + t);
        assert_int_equal(targets[t], ids[t] + 1);
        assert_int_equal(b->domain[i * T + t], domain);
    }
    assert_int_equal(ids[0] % 100 % T, 0);
    assert_true(targets[T - 1] % 100 < stream_tokens[domain]);
    *number = ids[0] % 100 / T;
    return domain;
}

static void rows_are_cut_from_the_streams_of_domains(void **state) {
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        loader *l = open_mixed(*state, 1, shuffle, 3, weights_of(1, 1, 2));
        int seen[DOMAINS][16] = {{0}}, drawn[DOMAINS] = {0};
        for (int i = 0; i < 4 * 80; i++) {
            batch b;
            int number;
            assert_ok(loader_next(l, &b));
            const int domain = check_row(&b, 0, &number), rows = (stream_tokens[domain] - 1) / T;
            if (!shuffle) assert_int_equal(number, drawn[domain] % rows);
            drawn[domain]++;
            seen[domain][number]++;
            for (int r = 0; r < rows; r++) /* each once an epoch */
                assert_in_range(seen[domain][r], drawn[domain] / rows, (drawn[domain] + rows - 1) / rows);
        }
        assert_int_equal(drawn[CODE], 80);
        assert_int_equal(drawn[WEB], 80);
        assert_int_equal(drawn[MATHS], 160);
        assert_int_equal(mix_drawn(loader_mixture(l), MATHS), 160 * T);
        loader_close(l);
    }
}

static void every_beginning_has_the_shares(void **state) {
    static const double shares[DOMAINS] = {0.137, 0.0004, 0.8626};
    loader *l = open_mixed(*state, 1, true, 3, weights_of(137, 0.4, 862.6));
    int drawn[DOMAINS] = {0};
    for (int i = 0; i < 20000; i++) {
        batch b;
        int number;
        assert_ok(loader_next(l, &b));
        drawn[check_row(&b, 0, &number)]++;
        for (int d = 0; d < DOMAINS; d++) assert_true(fabs(drawn[d] - shares[d] * (i + 1)) < 1.05);
    }
    loader_close(l);
}

static void what_has_no_weight_is_not_drawn(void **state) {
    weight_list weights = weights_of(1, 0, 3);
    loader *l = open_mixed(*state, 2, true, 3, weights);
    weights.count = 1; /* the others are not named */
    loader *one = open_mixed(*state, 2, true, 3, weights);
    for (int i = 0; i < 100; i++) {
        batch b;
        int number;
        assert_ok(loader_next(l, &b));
        for (int r = 0; r < 2; r++) assert_int_not_equal(check_row(&b, r, &number), WEB);
        assert_ok(loader_next(one, &b));
        for (int r = 0; r < 2; r++) assert_int_equal(check_row(&b, r, &number), CODE);
    }
    assert_true(mix_share(loader_mixture(l), MATHS) == 0.75 && mix_share(loader_mixture(l), WEB) == 0);
    loader_close(one);
    loader_close(l);
}

static void seeking_gives_the_same_rows(void **state) {
    loader *l = open_mixed(*state, 3, true, 9, weights_of(0.5, 0.2, 0.3));
    loader *resumed = open_mixed(*state, 3, true, 9, weights_of(0.5, 0.2, 0.3));
    for (int i = 0; i < 50; i++) {
        loader_seek(resumed, loader_tell(l));
        batch a, b;
        assert_ok(loader_next(l, &a));
        assert_ok(loader_next(resumed, &b));
        assert_memory_equal(a.input_ids, b.input_ids, 3 * T * sizeof(int32_t));
        assert_memory_equal(a.domain, b.domain, 3 * T * sizeof(int32_t));
        for (int d = 0; d < DOMAINS; d++)
            assert_int_equal(mix_drawn(loader_mixture(l), d), mix_drawn(loader_mixture(resumed), d));
    }
    /* far beyond a round of shares */
    const uint64_t far = UINT64_C(3) * MIX_UNITS - 40;
    loader_seek(l, (loader_position){.window = far});
    assert_int_equal(loader_tell(l).window, far);
    assert_true(fabs((double)mix_drawn(loader_mixture(l), CODE) / T - 0.5 * (double)far) < 1.05);
    for (int i = 0; i < 30; i++) {
        batch a, b;
        assert_ok(loader_next(l, &a)); /* walks over the end of the round */
        loader_seek(resumed, (loader_position){.window = far + 3 * (uint64_t)i});
        assert_ok(loader_next(resumed, &b));
        assert_memory_equal(a.input_ids, b.input_ids, 3 * T * sizeof(int32_t));
    }
    loader_close(resumed);
    loader_close(l);
}

/* Two long domains; token 1000·d + i is the i-th of domain d. */
static void write_long(const char *folder, char **path) {
    enum { A = 1000, B = 600 };
    int32_t tokens[A + B];
    for (int i = 0; i < A + B; i++) tokens[i] = i < A ? i : 1000 + i - A;
    *path = path_join(folder, "long.bin");
    char *table = path_join(folder, "long.docs.tsv");
    static const char text[] = "0\t1000\t9\ta\tfile\n1000\t600\t9\tb\tfile\n";
    assert_ok(shard_write(*path, tokens, A + B, 2000, NULL));
    assert_ok(file_write_whole(table, text, strlen(text)));
    free(table);
}

static void rows_kept_aside_are_of_all_domains_and_never_drawn(void **state) {
    enum { ROWS_A = 999 / T, ROWS_B = 599 / T, KEPT_A = 4, KEPT_B = 2, EPOCHS = 3 };
    named_weight items[] = {{(char *)"a", 3}, {(char *)"b", 1}};
    const weight_list weights = {.items = items, .count = 2};
    char *path;
    write_long(*state, &path);
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        loader *l;
        batch b;
        int seen[2][ROWS_A] = {{0}}, kept[2][ROWS_A] = {{0}}, found = 0;
        assert_ok(loader_open(&l, path, 2000, BOS, 4, T, shuffle, 3));
        assert_ok(loader_mix(l, &weights));
        assert_int_equal(loader_keep(l, 8 * T), KEPT_A + KEPT_B); /* 6 and 2, but of 249 rows at most 4 */
        for (int64_t first = 0; loader_kept(l, first, &b) == STATUS_OK && b.batch > 0; first += b.batch) {
            for (int64_t i = 0; i < b.batch; i++) {
                const int32_t id = b.input_ids[i * T];
                assert_int_equal(b.domain[i * T + T - 1], id / 1000);
                assert_int_equal(b.target_ids[i * T + T - 1], id + T);
                kept[id / 1000][id % 1000 / T]++;
                found++;
            }
        }
        assert_int_equal(found, KEPT_A + KEPT_B);
        for (int i = 0; i < KEPT_A; i++) assert_int_equal(kept[0][(2 * i + 1) * ROWS_A / (2 * KEPT_A)], 1);
        for (int i = 0; i < KEPT_B; i++) assert_int_equal(kept[1][(2 * i + 1) * ROWS_B / (2 * KEPT_B)], 1);
        for (int i = 0; i < EPOCHS * (ROWS_A - KEPT_A) / 3; i++) { /* three of the four rows are of a */
            assert_ok(loader_next(l, &b));
            for (int r = 0; r < 4; r++) seen[b.domain[r * T]][b.input_ids[r * T] % 1000 / T]++;
        }
        for (int r = 0; r < ROWS_A; r++) assert_int_equal(seen[0][r], kept[0][r] ? 0 : EPOCHS);
        for (int r = 0; r < ROWS_B; r++) assert_true(kept[1][r] ? seen[1][r] == 0 : seen[1][r] > 0);
        loader_close(l);
    }
    free(path);
}

static void the_seed_decides(void **state) {
    loader *l[3];
    for (int i = 0; i < 3; i++) l[i] = open_mixed(*state, 4, true, i < 2 ? 5 : 6, weights_of(1, 1, 1));
    int different = 0;
    for (int i = 0; i < 20; i++) {
        batch b[3];
        for (int j = 0; j < 3; j++) assert_ok(loader_next(l[j], &b[j]));
        int32_t first[4 * T];
        memcpy(first, b[0].input_ids, sizeof first);
        assert_memory_equal(first, b[1].input_ids, sizeof first);
        different += memcmp(first, b[2].input_ids, sizeof first) != 0;
    }
    assert_true(different > 10);
    for (int i = 0; i < 3; i++) loader_close(l[i]);
}

static void refusals(void **state) {
    named_weight items[] = {{(char *)"code", 1}, {(char *)"wbe", 1}};
    weight_list weights = {.items = items, .count = 2};
    loader *l;
    assert_ok(loader_open(&l, *state, VOCAB, BOS, 1, T, true, 1));
    assert_fails(loader_mix(l, &weights), "mix: unknown domain wbe; the domains of ");
    assert_non_null(strstr(error_message(), "are code, web, maths"));
    items[1].name = (char *)"web";
    items[0].weight = 1e9;
    assert_fails(loader_mix(l, &weights), "mix: web: expected 0 or at least a millionth");
    items[0].weight = items[1].weight = 0;
    assert_fails(loader_mix(l, &weights), "mix: expected at least one weight above 0");
    loader_close(l);
    assert_ok(loader_open(&l, *state, VOCAB, BOS, 1, 20, true, 1));
    items[0] = (named_weight){(char *)"maths", 1};
    assert_fails(loader_mix(l, &weights), "mix: maths: expected at least 21 tokens");
    assert_non_null(strstr(error_message(), "found 15"));
    loader_close(l);
    for (int s = 0; s < 2; s++) {
        char *table = xasprintf("%s/x_train_%06d.docs.tsv", (const char *)*state, s);
        assert_int_equal(remove(table), 0);
        free(table);
    }
    assert_ok(loader_open(&l, *state, VOCAB, BOS, 1, T, true, 1));
    assert_fails(loader_mix(l, &weights), "documents' domains (.docs.tsv)");
    assert_null(loader_mixture(l));
    loader_close(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_cut_from_the_streams_of_domains),
        cmocka_unit_test(every_beginning_has_the_shares),
        cmocka_unit_test(what_has_no_weight_is_not_drawn),
        cmocka_unit_test(seeking_gives_the_same_rows),
        cmocka_unit_test(rows_kept_aside_are_of_all_domains_and_never_drawn),
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(refusals), /* last: the tables are gone then */
    };
    return cmocka_run_group_tests(tests, create, scratch_teardown);
}
