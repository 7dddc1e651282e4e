/* Probing a small mixture against tables that are made from what its routers show, token by token. */
#include "small_model.h"
#include "test.h"

#include "base/random.h"
#include "eval/probe.h"
#include "letters_tokenizer.h"
#include "text/loader.h"
#include <math.h>

enum { VOCAB = 40, TOKENS = 400, DOCUMENTS = 8, LENGTH = TOKENS / DOCUMENTS, DOMAINS = 3, E = 3, ROUTERS = 3 };

typedef struct fixture {
    model *m;
    pass *p;
    tokenizer *tok;
    int32_t ids[TOKENS];
    shard s;
    document_table documents;
} fixture;

static int domain_of(int64_t position) {
    return (int)(position / LENGTH) % DOMAINS;
}

/* Layer 0 once, layer 1 twice. */
static model_config small_mixture(gate_kind gate, int top_k) {
    model_config c = small_model(VOCAB);
    c.loop.extra_passes = 1;
    c.loop.on = true;
    c.moe.start_layer = 0;
    c.moe.experts = E;
    c.moe.top_k = top_k;
    c.moe.gate = gate;
    c.init.router_std = 1;
    return c;
}

static void open_fixture(fixture *f, gate_kind gate, int top_k) {
    const model_config c = small_mixture(gate, top_k);
    static const char *const names[DOMAINS] = {"first", "second", "third"};
    rng r = rng_seed(4);
    *f = (fixture){.tok = letters_tokenizer(VOCAB)};
    assert_ok(model_create(&f->m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN));
    assert_ok(model_init(f->m, 3));
    assert_ok(pass_create(&f->p, f->m));
    f->documents = (document_table){.count = DOCUMENTS, .domain_count = DOMAINS};
    f->documents.documents = xcalloc(DOCUMENTS, sizeof(document));
    f->documents.domains = xcalloc(DOMAINS, sizeof(char *));
    for (int d = 0; d < DOMAINS; d++) f->documents.domains[d] = xstrdup(names[d]);
    for (int i = 0; i < DOCUMENTS; i++)
        f->documents.documents[i] = (document){.start = i * LENGTH, .count = LENGTH, .domain = domain_of(i * LENGTH)};
    for (int i = 0; i < TOKENS; i++) /* domains have letters of their own */
        f->ids[i] = i % LENGTH ? 1 + 8 * domain_of(i) + (int32_t)rng_below(&r, 8) : 0;
    f->s = shard_of_ids("ids", f->ids, TOKENS);
}

static void close_fixture(fixture *f) {
    pass_destroy(f->p);
    model_destroy(f->m);
    tokenizer_close(f->tok);
    document_table_free(&f->documents);
    shard_close(&f->s);
}

static void probe_text(fixture *f, const bpb_options *o, const label_list *names, probe *found) {
    bpb_options options = *o;
    bpb_result r;
    assert_ok(routing_probe_create(&options.probe, f->tok, NULL, &f->documents));
    assert_ok(bpb_evaluate(f->p, f->tok, &f->s, &f->documents, &options, &r));
    assert_ok(routing_probe_finish(options.probe));
    assert_ok(probe_of(found, options.probe, &f->documents, names));
    routing_probe_destroy(options.probe);
    bpb_result_free(&r);
}

/* ---- the same by hand ---- */

typedef struct shown {
    double gates[ROUTERS + 1][TOKENS][E], probs[ROUTERS + 1][TOKENS][E]; /* the last is the mean */
    int first[ROUTERS + 1][TOKENS];
    int routers;
} shown;

static int largest(const double *values) {
    return values[0] >= values[1] && values[0] >= values[2] ? 0 : values[1] >= values[2] ? 1 : 2;
}

static void look(void *context, int layer, int pass, const moe_choice *c) {
    shown *s = context;
    assert_int_equal(s->routers, layer + pass);
    for (int64_t n = 0; n < c->tokens; n++) {
        double sum = 0;
        for (int i = 0; i < c->k; i++) sum += (double)c->gates[n * c->k + i];
        for (int i = 0; i < c->k; i++)
            s->gates[s->routers][n][c->chosen[n * c->k + i]] = (double)c->gates[n * c->k + i] / sum;
        for (int e = 0; e < E; e++) s->probs[s->routers][n][e] = (double)c->probs[n * E + e];
        s->first[s->routers][n] = largest(s->probs[s->routers][n]);
        for (int e = 0; e < E; e++) {
            s->gates[ROUTERS][n][e] += s->gates[s->routers][n][e] / ROUTERS;
            s->probs[ROUTERS][n][e] += s->probs[s->routers][n][e] / ROUTERS;
        }
        s->first[ROUTERS][n] = largest(s->probs[ROUTERS][n]);
    }
    s->routers++;
}

static shown *look_at_all(fixture *f) {
    shown *s = xcalloc(1, sizeof *s);
    int32_t first[TOKENS];
    document_starts(f->ids, TOKENS - 1, tokenizer_bos(f->tok), first);
    batch b = {.batch = 1, .length = TOKENS - 1, .input_ids = f->ids, .first = first};
    pass_watch_routing(f->p, look, s);
    assert_ok(pass_observe(f->p, &b, -1));
    pass_watch_routing(f->p, NULL, NULL);
    assert_int_equal(s->routers, ROUTERS);
    return s;
}

static void assert_router(const probed_router *r, const shown *s, int router) {
    double first[DOMAINS][E] = {{0}}, gates[DOMAINS][E] = {{0}}, documents[DOMAINS][E] = {{0}}, entropy = 0;
    double of_document[DOCUMENTS][E] = {{0}};
    for (int n = 0; n < TOKENS - 1; n++) {
        first[domain_of(n)][s->first[router][n]]++;
        for (int e = 0; e < E; e++) {
            gates[domain_of(n)][e] += s->gates[router][n][e];
            of_document[n / LENGTH][e] += s->probs[router][n][e];
            entropy -= s->probs[router][n][e] * log2(fmax(s->probs[router][n][e], 1e-30));
        }
    }
    for (int i = 0; i < DOCUMENTS; i++) documents[domain_of(i * LENGTH)][largest(of_document[i])]++;
    assert_float_equal(r->entropy, entropy / (TOKENS - 1), 1e-5);
    for (int i = 0; i < DOMAINS * E; i++) {
        assert_float_equal(r->first.count[i], first[i / E][i % E], 0);
        assert_float_equal(r->gates.count[i], gates[i / E][i % E], 1e-4);
        assert_float_equal(r->documents.count[i], documents[i / E][i % E], 0);
    }
    const routing_table t = {DOMAINS, E, &first[0][0]};
    assert_float_equal(r->separation_first, routing_separation(&t), 1e-12);
    assert_float_equal(r->information, routing_information(&t), 1e-12);
    assert_float_equal(r->accuracy.tokens, routing_accuracy_of(&t, r->expert).tokens, 1e-12);
    assert_true(r->information_shuffled >= 0 && r->information_shuffled <= 1.59);
}

static void every_router_and_the_mean(void **state) {
    (void)state;
    static const struct {
        gate_kind gate;
        int top_k;
    } cases[] = {{GATE_RENORMALIZED, 1}, {GATE_RENORMALIZED, 2}, {GATE_SOFT, 1}, {GATE_STRAIGHT_THROUGH, 1}};
    for (int i = 0; i < 4; i++) {
        fixture f;
        probe found;
        const label_list none = {.count = 0};
        open_fixture(&f, cases[i].gate, cases[i].top_k);
        probe_text(&f, &(bpb_options){.seq = TOKENS, .stride = TOKENS, .batch = 1}, &none, &found);
        shown *s = look_at_all(&f);
        assert_int_equal(found.count, ROUTERS);
        for (int r = 0; r < ROUTERS; r++) {
            assert_int_equal(found.routers[r].layer, r > 0);
            assert_int_equal(found.routers[r].pass, r == 2 ? 2 : 1);
            assert_router(&found.routers[r], s, r);
        }
        assert_int_equal(found.mean.layer, -1);
        assert_router(&found.mean, s, ROUTERS);
        assert_false(found.by_name);
        assert_int_equal(found.tokens[0], 3 * LENGTH);
        assert_int_equal(found.tokens[1], 3 * LENGTH - 1); /* the last token is no input */
        assert_int_equal(found.documents[2], 2);
        free(s);
        probe_free(&found);
        close_fixture(&f);
    }
}

/* Documents that windows and batches cut, and that a sample has parts of, are put together again. */
static void windows_do_not_cut_documents(void **state) {
    (void)state;
    fixture f;
    probe one, other;
    const label_list none = {.count = 0};
    open_fixture(&f, GATE_RENORMALIZED, 1);
    for (int tokens = 0; tokens <= 300; tokens += 300) {
        probe_text(&f, &(bpb_options){.seq = 32, .stride = 8, .batch = 1, .tokens = tokens}, &none, &one);
        probe_text(&f, &(bpb_options){.seq = 32, .stride = 8, .batch = 7, .tokens = tokens}, &none, &other);
        double documents = 0;
        for (int i = 0; i < DOMAINS * E; i++) {
            assert_float_equal(one.mean.documents.count[i], other.mean.documents.count[i], 0);
            assert_float_equal(one.mean.first.count[i], other.mean.first.count[i], 0);
            documents += one.mean.documents.count[i];
        }
        assert_true(documents > 0 && documents <= DOCUMENTS);
        if (tokens == 0) assert_float_equal(documents, DOCUMENTS, 0);
        assert_float_equal(routing_table_total(&one.mean.first), tokens ? tokens : TOKENS - 1, 2);
        assert_float_equal(one.mean.information_shuffled, other.mean.information_shuffled, 1e-9);
        probe_free(&one);
        probe_free(&other);
    }
    close_fixture(&f);
}

static void experts_by_their_names(void **state) {
    (void)state;
    fixture f;
    probe found;
    label_list names = {.count = 0};
    char number[16];
    assert_true(labels_add(&names, "second") && labels_add(&names, "other") && labels_add(&names, "first"));
    open_fixture(&f, GATE_RENORMALIZED, 1);
    probe_text(&f, &(bpb_options){.seq = 64, .stride = 64, .batch = 2}, &names, &found);
    assert_true(found.by_name);
    for (int r = 0; r < ROUTERS; r++) {
        static const int expected[] = {2, 0, -1};
        for (int d = 0; d < DOMAINS; d++) assert_int_equal(found.routers[r].expert[d], expected[d]);
    }
    assert_int_equal(probe_domains_with_expert(&found, &found.mean), 2);
    assert_string_equal(probe_expert_name(&found, 1, number), "other");
    const double *n = found.routers[0].first.count;
    assert_float_equal(found.routers[0].accuracy.tokens, (n[2] + n[E]) / (6 * LENGTH - 1), 1e-12);
    probe_free(&found);
    close_fixture(&f);
}

static void nothing_to_find(void **state) {
    (void)state;
    model_config dense = small_mixture(GATE_RENORMALIZED, 1);
    dense.moe.start_layer = -1;
    assert_fails(probe_check_model(&dense, "some/model"),
                 "some/model: expected a mixture of experts, found a model without");
    const model_config mixture = small_mixture(GATE_RENORMALIZED, 1);
    assert_ok(probe_check_model(&mixture, "some/model"));
    assert_fails(probe_check_text(NULL, "some/data"), "some/data: expected a table of documents (.docs.tsv)");
    char *domains[] = {"prose", "code"};
    document_table t = {.count = 1, .domains = domains, .domain_count = 1};
    assert_fails(probe_check_text(&t, "some/data"), "at least two domains, found one: prose");
    t.domain_count = 2;
    assert_ok(probe_check_text(&t, "some/data"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_router_and_the_mean),
        cmocka_unit_test(windows_do_not_cut_documents),
        cmocka_unit_test(experts_by_their_names),
        cmocka_unit_test(nothing_to_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
