/* Pieces of a text: the same bytes for every tokenizer, and every token in one of them. */
#include "test.h"

#include "eval/pieces.h"
#include "text/sentencepiece.h"
#include <math.h>

enum { VOCAB = 300, OTHER_VOCAB = 340, DOCUMENTS = 30 };

typedef struct fixture {
    char *folder, *paths[2];
    tokenizer *tok, *other;
    model *m;
    pass *p;
} fixture;

static bool next_line(void *context, const char **text, size_t *bytes) {
    static const char *const lines[] = {"some words of a text that tokens are made of, and numbers 1 2 3 4 5\n",
                                        "wholly other letters: xyzzy, quux, plugh, blorb and grault, again\n"};
    int *left = context;
    *text = lines[*left % 2];
    *bytes = strlen(*text);
    return (*left)-- > 0;
}

static void write_text(const char *path, int lines) {
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    for (int i = 0; i < lines; i++)
        fprintf(out, "line %d of a text: %d words – numbers, xyzzy and quux %d\n", i, i * 7 % 13, i * i % 101);
    fclose(out);
}

static int create(void **state) {
    fixture *f = xcalloc(1, sizeof *f);
    int lines = 40, more = 50;
    model_config c = model_config_default();
    f->folder = scratch_create();
    f->paths[0] = path_join(f->folder, "long.txt");
    f->paths[1] = path_join(f->folder, "short.txt");
    write_text(f->paths[0], 150);
    write_text(f->paths[1], 20);
    assert_ok(sentencepiece_train(&f->tok, VOCAB, next_line, &lines, 1));
    assert_ok(sentencepiece_train(&f->other, OTHER_VOCAB, next_line, &more, 1));
    c.vocab_size = OTHER_VOCAB;
    c.num_layers = 2;
    c.model_dim = 32;
    c.attention.heads = 2;
    c.attention.kv_heads = 1;
    c.rotary.dims = 8;
    c.stem.bigram_buckets = 0;
    c.loop.extra_passes = 0;
    c.residual.parallel_start_layer = 2;
    assert_ok(model_create(&f->m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN));
    assert_ok(model_init(f->m, 3));
    assert_ok(pass_create(&f->p, f->m));
    *state = f;
    return 0;
}

static int destroy(void **state) {
    fixture *f = *state;
    pass_destroy(f->p);
    model_destroy(f->m);
    tokenizer_close(f->tok);
    tokenizer_close(f->other);
    free(f->paths[0]);
    free(f->paths[1]);
    scratch_remove(f->folder);
    free(f);
    return 0;
}

static document_table table_of(const int *bytes, const int *domains, int count, int domain_count) {
    document_table t = {.count = count, .domain_count = domain_count};
    t.documents = xcalloc((size_t)count, sizeof *t.documents);
    t.domains = xcalloc((size_t)domain_count, sizeof *t.domains);
    for (int i = 0; i < domain_count; i++) t.domains[i] = xasprintf("domain %d", i);
    for (int i = 0; i < count; i++) t.documents[i] = (document){.bytes = bytes[i], .domain = domains[i]};
    return t;
}

/* Pieces ascend, stay within their documents, and are not too long; by_domain: bytes. */
static void assert_sound(const text_pieces *p, const document_table *t, int64_t *by_domain) {
    int64_t behind = 0, sum = 0;
    for (int64_t i = 0; i < p->count; i++) {
        const text_piece *piece = &p->items[i];
        int64_t start = 0;
        for (int64_t d = 0; d < piece->document; d++) start += t->documents[d].bytes;
        assert_true(piece->first >= behind && piece->first < piece->end);
        assert_true(piece->first >= start && piece->end <= start + t->documents[piece->document].bytes);
        assert_true(piece->end - piece->first <= PIECE_BYTES);
        assert_int_equal(piece->domain, t->documents[piece->document].domain);
        behind = piece->end;
        by_domain[piece->domain] += piece->end - piece->first;
        sum += piece->end - piece->first;
    }
    assert_int_equal(sum, p->bytes);
}

static void documents_are_cut(void **state) {
    (void)state;
    static const int bytes[] = {5000, 0, 2048, 10, 100000, 0}, domains[] = {0, 0, 1, 1, 2, 2};
    document_table t = table_of(bytes, domains, 6, 3);
    int64_t all[3] = {0}, some[3] = {0};
    text_pieces whole = text_pieces_take(&t, 0, 1), more = text_pieces_take(&t, 999999, 1);
    assert_sound(&whole, &t, all);
    assert_true(whole.whole && more.whole && whole.count == more.count);
    assert_true(all[0] == 5000 && all[1] == 2058 && all[2] == 100000);
    assert_int_equal(whole.items[0].end, 1666); /* three equal ones */
    text_pieces sample = text_pieces_take(&t, 20000, 1), again = text_pieces_take(&t, 20000, 1),
                other = text_pieces_take(&t, 20000, 2);
    assert_sound(&sample, &t, some);
    assert_false(sample.whole);
    assert_true(llabs(sample.bytes - 20000) <= 2 && llabs(some[0] - 20000 * 5000 / 107058) <= 2);
    assert_true(some[1] > 0 && sample.count == again.count);
    assert_memory_equal(sample.items, again.items, (size_t)sample.count * sizeof *sample.items);
    assert_true(sample.count != other.count ||
                memcmp(sample.items, other.items, (size_t)sample.count * sizeof *sample.items) != 0);
    text_pieces_free(&whole), text_pieces_free(&more), text_pieces_free(&sample), text_pieces_free(&again);
    text_pieces_free(&other);
    document_table_free(&t);
}

static void open_text(const fixture *f, const tokenizer *tok, scored_text *t) {
    assert_ok(scored_text_of_files(t, (const char *const *)f->paths, 2, tok));
}

static const bpb_options options = {.seq = 32, .stride = 16, .batch = 4};

/* The whole text by pieces is the whole text. */
static void pieces_add_up(void **state) {
    fixture *f = *state;
    scored_text t;
    bpb_result r;
    open_text(f, f->tok, &t);
    document_table d = text_pieces_documents(&t, f->tok);
    text_pieces p = text_pieces_take(&d, 0, 1);
    piece_score *scores = xcalloc((size_t)p.count, sizeof *scores), domain[2] = {{0}};
    assert_ok(text_pieces_score(f->p, f->tok, &t.s, &d, &p, &options, scores));
    assert_ok(bpb_evaluate(f->p, f->tok, &t.s, &t.documents, &options, &r));
    for (int64_t i = 0; i < p.count; i++) {
        domain[p.items[i].domain].nll += scores[i].nll;
        domain[p.items[i].domain].tokens += scores[i].tokens;
        assert_true(scores[i].tokens > 50);
    }
    assert_int_equal(p.bytes, t.bytes);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(domain[i].tokens, r.domain[i].tokens);
        assert_float_equal(domain[i].nll, r.domain[i].nll, 1e-6 * r.domain[i].nll);
    }
    bpb_result_free(&r);
    free(scores);
    text_pieces_free(&p);
    document_table_free(&d);
    scored_text_close(&t);
}

/* Another tokenizer has the same pieces and other tokens in them; each of a sample's pieces has tokens of about its bytes. */
static void tokenizers_share_pieces(void **state) {
    fixture *f = *state;
    const tokenizer *toks[] = {f->tok, f->other};
    text_pieces p[2];
    for (int i = 0; i < 2; i++) {
        scored_text t;
        open_text(f, toks[i], &t);
        document_table d = text_pieces_documents(&t, toks[i]);
        p[i] = text_pieces_take(&d, 3000, 5);
        piece_score *scores = xcalloc((size_t)p[i].count, sizeof *scores);
        assert_ok(text_pieces_score(f->p, toks[i], &t.s, &d, &p[i], &options, scores));
        for (int64_t n = 0; n < p[i].count; n++) {
            const int64_t bytes = p[i].items[n].end - p[i].items[n].first;
            assert_true(scores[n].tokens <= bytes + 1 && scores[n].tokens >= bytes / 16);
            assert_true(isfinite(scores[n].nll));
        }
        free(scores);
        document_table_free(&d);
        scored_text_close(&t);
    }
    assert_int_equal(p[0].count, p[1].count);
    assert_memory_equal(p[0].items, p[1].items, (size_t)p[0].count * sizeof *p[0].items);
    text_pieces_free(&p[0]);
    text_pieces_free(&p[1]);
}

/* Tokens alone: one document of the bytes that they have. */
static void tokens_without_a_table(void **state) {
    fixture *f = *state;
    scored_text t, bare = {0};
    open_text(f, f->tok, &t);
    bare.s = t.s;
    document_table d = text_pieces_documents(&bare, f->tok);
    assert_int_equal(d.count, 1);
    assert_int_equal(d.domain_count, 1);
    assert_int_equal(d.documents[0].bytes, t.bytes);
    assert_int_equal(d.documents[0].count, t.s.count);
    document_table_free(&d);
    scored_text_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_cut),
        cmocka_unit_test_setup_teardown(pieces_add_up, create, destroy),
        cmocka_unit_test_setup_teardown(tokenizers_share_pieces, create, destroy),
        cmocka_unit_test_setup_teardown(tokens_without_a_table, create, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
