/* Texts that are read ahead are those that they are without, whoever proposes, however they are drawn, alone and beside
 * others. */
#include "test.h"

#include "asked.h"
#include "float_rows.h"
#include "generate/conversation.h"
#include "generate/generate.h"
#include "nn/roles.h"
#include <math.h>

typedef struct fixture {
    model *m;     /* a mixture with a looped layer */
    model *codes; /* the same run from codes of 8 bits */
    model *wrong; /* another one, of the same tokenizer */
    tokenizer *t;
} fixture;

/* One that is mostly sure of what it says. */
static model *sure_model(dtype type, float noise) {
    model *m = texts_model(type, noise);
    tensor *head = &model_param(m, ROLE_TOK_EMB, -1, -1)->value;
    float *values = xmalloc(tensor_bytes(head));
    tensor_read(m->k, head, values);
    for (int64_t i = 0; i < tensor_count(head); i++) values[i] *= 4;
    tensor_write(m->k, head, values);
    free(values);
    assert_ok(model_refresh(m));
    return m;
}

static int create(void **state) {
    fixture *f = xmalloc(sizeof *f);
    *f = (fixture){sure_model(DTYPE_F32, 0.3f), NULL, sure_model(DTYPE_F32, 0.2f), texts_tokenizer()};
    f->codes = texts_model_of_codes(f->m);
    *state = f;
    return 0;
}

static int destroy(void **state) {
    fixture *f = *state;
    model_destroy(f->m);
    model_destroy(f->codes);
    model_destroy(f->wrong);
    tokenizer_close(f->t);
    free(f);
    return 0;
}

/* ---- requests of all kinds ---- */

enum { REQUESTS = 14 };
static const char saying[] = "ab abc the {\"a\":1} ab abc the {\"a\":1} the the ab";
static const char *const stops[] = {"never to be found", "aabba"};
static const int32_t stop_tokens[] = {TEXTS_BYTES + 'Q', TEXTS_BYTES + '#'};
/* They leave three letters, so that a text says again what it said. */
static const logit_bias biases[] = {{TEXTS_BYTES + 'a', 90}, {TEXTS_BYTES + 'b', 90.5f}, {TEXTS_BYTES + ' ', 89}};
static const bool three[TEXTS_EXPERTS] = {true, false, true, true};

typedef struct requests {
    prompt_ids prompts[REQUESTS];
    text_request r[REQUESTS];
} requests;

static void make_requests(requests *q) {
#define FEW_LETTERS .biases = biases, .bias_count = 3
    static const writing_options hows[REQUESTS] = {
        {.max_tokens = 90},
        {.sampler = {.temperature = 0.7f, .top_p = 0.95f}, .max_tokens = 60},
        {.sampler = {.temperature = 1, .top_p = 1, FEW_LETTERS}, .max_tokens = 60},
        {.sampler = {.temperature = 1.5f, .top_p = 1, .min_p = 0.02f, FEW_LETTERS}, .max_tokens = 40},
        {.sampler = {.repetition_penalty = 1.1f}, .max_tokens = 70},
        {.sampler = {.temperature = 0.6f, .top_p = 1, .presence_penalty = 0.4f, .frequency_penalty = 0.2f},
         .max_tokens = 70},
        {.sampler = {.presence_penalty = 0.3f, FEW_LETTERS}, .max_tokens = 60, .ignore_end = true},
        {.sampler = {.json = true}, .max_tokens = 120},
        {.sampler = {.json = true, .temperature = 0.8f, .top_k = 30, .top_p = 1}, .max_tokens = 120},
        {.stops = stops, .stop_count = 2, .max_tokens = 80, .sampler = {.temperature = 3, .top_p = 1, FEW_LETTERS}},
        {.stop_tokens = stop_tokens, .stop_token_count = 2, .max_tokens = 80},
        {.log_probs = true, .top_log_probs = 2, .max_tokens = 60},
        {.log_probs = true,
         .top_log_probs = 2,
         .max_tokens = 60,
         .sampler = {.temperature = 2, .top_p = 1, FEW_LETTERS}},
        {.max_tokens = 2},
    };
    *q = (requests){0};
    for (int i = 0; i < REQUESTS; i++) {
        char text[80];
        snprintf(text, sizeof text, "%.*s", (int)(sizeof saying - 1) - 3 * i, saying);
        q->prompts[i] = prompt_of(text);
        q->r[i] = (text_request){
            .prompt = q->prompts[i].ids, .prompt_count = q->prompts[i].count, .how = hows[i], .routing = i % 2 == 0};
        q->r[i].how.sampler.seed = (uint64_t)(100 + i);
        if (i % 5 == 3) q->r[i].experts = (expert_control){.top_k = 1};
        if (i % 5 == 4) q->r[i].experts = (expert_control){.allowed = three};
    }
}

typedef struct answers {
    asked all[REQUESTS];
    scheduler_statistics figures;
    scheduler_traffic traffic;
} answers;

static answers *answer_all(model *m, const tokenizer *t, const requests *q, scheduler_options o) {
    answers *a = xcalloc(1, sizeof *a);
    scheduler *s;
    o.context = 300;
    o.no_reuse = true; /* so that all have the same traffic */
    assert_ok(scheduler_start(&s, m, t, &o));
    for (int i = 0; i < REQUESTS; i++) assert_int_equal(ask(s, &a->all[i], q->r[i]), SUBMIT_ACCEPTED);
    for (int i = 0; i < REQUESTS; i++) asked_wait(&a->all[i]);
    scheduler_stop(s, true);
    scheduler_read(s, &a->figures);
    scheduler_traffic_read(s, &a->traffic);
    scheduler_destroy(s);
    return a;
}

static void free_answers(answers *a) {
    free(a->traffic.counts);
    free(a);
}

static bool rows_are_equal(const model *m) {
    return model_use_packs(m->use) || float_rows_are_equal();
}

static void assert_log_probs(const float *a, const float *b, int count, bool exact) {
    for (int i = 0; i < count; i++)
        if (exact)
            assert_memory_equal(&a[i], &b[i], sizeof *a);
        else
            assert_float_equal(a[i], b[i], 1e-3);
}

static void assert_same_answers(const answers *a, const answers *b, bool exact) {
    for (int i = 0; i < REQUESTS; i++) {
        const asked *x = &a->all[i], *y = &b->all[i];
        assert_int_equal(x->ends, 1);
        assert_int_equal(x->tokens, y->tokens);
        assert_memory_equal(x->ids, y->ids, (size_t)y->tokens * sizeof *y->ids);
        assert_string_equal(x->text, y->text);
        assert_string_equal(x->stopped, y->stopped);
        assert_string_equal(x->error, y->error);
        assert_int_equal(x->end.reason, y->end.reason);
        assert_int_equal(x->end.completion_tokens, y->end.completion_tokens);
        assert_int_equal(x->entries, y->entries);
        assert_memory_equal(x->most, y->most, sizeof y->most);
        assert_memory_equal(x->used, y->used, sizeof y->used);
        assert_log_probs(x->log_probs, y->log_probs, y->tokens, exact);
        assert_log_probs(x->top, y->top, 2, exact);
    }
    assert_int_equal(a->figures.completion_tokens, b->figures.completion_tokens);
    assert_int_equal(a->traffic.tokens, b->traffic.tokens);
    assert_memory_equal(a->traffic.counts, b->traffic.counts,
                        (size_t)(b->traffic.layers * b->traffic.experts) * sizeof *b->traffic.counts);
}

/* ---- many at a time ---- */

static void texts_are_the_same(const fixture *f, model *m) {
    requests q;
    make_requests(&q);
    answers *plain = answer_all(m, f->t, &q, (scheduler_options){.slots = 1, .chunk = 24});
    const draft_source sources[] = {{.lookup = true}, {.small = m}, {.small = f->wrong}};
    const int slots[] = {1, 3, REQUESTS};
    assert_int_equal(plain->figures.drafts.proposed, 0);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            answers *a =
                answer_all(m, f->t, &q, (scheduler_options){.slots = slots[j], .drafts = sources[i], .chunk = 24});
            const draft_figures *n = &a->figures.drafts;
            assert_same_answers(a, plain, rows_are_equal(m));
            assert_true(n->proposed > 0 && n->accepted <= n->proposed);
            if (i < 2) assert_true(n->accepted > 20); /* what was proposed was also of use, */
            if (i == 2) assert_true(n->accepted < n->proposed / 2);
            assert_true(j > 0 || a->figures.steps == plain->figures.steps - n->accepted); /* a pass for each */
            free_answers(a);
        }
    free_answers(plain);
}

static void a_scheduler_writes_the_same_texts(void **state) {
    const fixture *f = *state;
    texts_are_the_same(f, f->m);
}

static void so_it_does_from_codes(void **state) {
    const fixture *f = *state;
    texts_are_the_same(f, f->codes);
}

static void and_in_bf16(void **state) {
    const fixture *f = *state;
    if (!kernels_for(DTYPE_BF16)) skip();
    model *m = sure_model(DTYPE_BF16, 0.3f);
    texts_are_the_same(f, m);
    model_destroy(m);
}

static void a_text_is_cancelled_among_proposed_tokens(void **state) {
    const fixture *f = *state;
    prompt_ids p = prompt_of("abababababab");
    const text_request r = {.prompt = p.ids, .prompt_count = p.count, .how = {.ignore_end = true}};
    for (int at = 1; at < 40; at += 6) {
        asked *a = xcalloc(1, sizeof *a);
        scheduler *s;
        scheduler_options o = {.slots = 1, .context = 200, .drafts = {.small = f->m}};
        assert_ok(scheduler_start(&s, f->m, f->t, &o));
        sem_t hold, began;
        sem_init(&hold, 0, 0);
        sem_init(&began, 0, 0);
        *a = (asked){.cancel_at = at, .hold = &hold, .began = &began};
        assert_int_equal(ask(s, a, r), SUBMIT_ACCEPTED);
        sem_wait(&began); /* its ticket is known */
        sem_post(&hold);
        asked_wait(a);
        assert_int_equal(a->end.reason, END_CANCELLED);
        assert_int_equal(a->tokens, at);
        scheduler_destroy(s);
        free(a);
    }
}

/* Texts that run into the end of the context: nothing is read beyond it. */
static void the_context_ends_a_text(void **state) {
    const fixture *f = *state;
    prompt_ids p = prompt_of("abababab");
    const text_request r = {.prompt = p.ids, .prompt_count = p.count, .how = {.ignore_end = true}};
    for (int64_t context = 10; context < 40; context += 3) {
        asked *a = xcalloc(1, sizeof *a);
        scheduler *s;
        scheduler_options o = {.slots = 1, .context = context, .drafts = {.small = f->m}};
        assert_ok(scheduler_start(&s, f->m, f->t, &o));
        assert_int_equal(ask(s, a, r), SUBMIT_ACCEPTED);
        asked_wait(a);
        assert_int_equal(a->end.reason, END_LENGTH);
        assert_int_equal(a->tokens, context - 9);
        scheduler_destroy(s);
        free(a);
    }
}

/* ---- one at a time ---- */

typedef struct collected {
    char text[4096];
    size_t bytes, most; /* most > 0: enough */
} collected;

static bool collect(void *context, const char *text, size_t bytes) {
    collected *c = context;
    assert_true(c->bytes + bytes < sizeof c->text);
    memcpy(c->text + c->bytes, text, bytes);
    c->bytes += bytes;
    c->text[c->bytes] = '\0';
    return c->most == 0 || c->bytes < c->most;
}

static void a_prompt_is_gone_on_with_alike(void **state) {
    const fixture *f = *state;
    requests q;
    make_requests(&q);
    const draft_source sources[] = {{.lookup = true}, {.small = f->codes}, {.small = f->wrong}};
    pass *p;
    assert_ok(pass_create(&p, f->m));
    for (int i = 0; i < 9; i++) { /* those that are samplers alone */
        const text_request *r = &q.r[i];
        generation *g;
        generate_result result;
        collected plain[2] = {0};
        assert_ok(generation_open_ids(&g, p, f->t, r->prompt, r->prompt_count, &(prompt_options){0}, 60));
        sampler s = r->how.sampler;
        for (int n = 0; n < 2; n++, s.seed++) {
            assert_ok(generation_continue(g, &s, collect, &plain[n], &result));
            assert_int_equal(result.drafts.proposed, 0);
        }
        for (int j = 0; j < 3; j++) {
            assert_ok(generation_speculate(g, &sources[j]));
            s = r->how.sampler;
            for (int n = 0; n < 2; n++, s.seed++) {
                collected ahead = {0};
                assert_ok(generation_continue(g, &s, collect, &ahead, &result));
                assert_string_equal(ahead.text, plain[n].text);
                assert_true(result.drafts.accepted <= result.drafts.proposed);
                if (j == 1 && i == 0) assert_true(result.drafts.accepted >= 6);
                if (j == 0 && i == 2) assert_true(result.drafts.accepted > 4);
            }
        }
        generation_close(g);
    }
    pass_destroy(p);
}

/* What a conversation of some turns says and reads; every other answer is cut by whoever reads it. */
typedef struct talk {
    char text[6][4096];
    int64_t read[6], new_tokens[6], proposed;
    bool full;
} talk;

static void have_talk(const fixture *f, pass *p, const draft_source *from, float temperature, talk *out) {
    conversation *c;
    int32_t ids[400] = {TEXTS_BOS};
    int64_t count = 1;
    *out = (talk){0};
    assert_ok(conversation_open(&c, p, f->t, 190));
    assert_ok(conversation_speculate(c, from));
    for (int i = 0; i < 6; i++) {
        const sampler s = {.temperature = temperature, .top_p = 1, .seed = (uint64_t)i};
        conversation_turn turn;
        collected said = {.most = i % 2 ? 11 : 0};
        for (const char *question = " ab abc ab"; *question; question++)
            ids[count++] = TEXTS_BYTES + (unsigned char)*question;
        assert_ok(conversation_answer(c, ids, count, &s, i == 5 ? 400 : 25, collect, &said, &turn));
        assert_true(said.bytes < sizeof out->text[i]);
        memcpy(out->text[i], said.text, said.bytes);
        out->read[i] = turn.read;
        out->new_tokens[i] = turn.new_tokens;
        out->proposed += turn.drafts.proposed;
        out->full = turn.full;
        assert_int_equal(conversation_rows_behind(c), 0);
        int32_t *answer;
        size_t answer_count; /* byte by byte, which is not how it was said: of the answer some is read again */
        assert_ok(tokenizer_encode(f->t, said.text, said.bytes, &answer, &answer_count));
        for (size_t n = 0; n < answer_count && count < 140; n++) ids[count++] = answer[n];
        free(answer);
    }
    conversation_close(c);
}

static void a_conversation_goes_alike(void **state) {
    const fixture *f = *state;
    const draft_source sources[] = {{.lookup = true}, {.small = f->m}, {.small = f->wrong}};
    pass *p;
    assert_ok(pass_create(&p, f->m));
    for (int warm = 0; warm < 2; warm++) {
        talk plain, ahead;
        have_talk(f, p, &(draft_source){0}, warm ? 0.8f : 0, &plain);
        assert_int_equal(plain.proposed, 0);
        for (int i = 0; i < 3; i++) {
            have_talk(f, p, &sources[i], warm ? 0.8f : 0, &ahead);
            assert_memory_equal(ahead.text, plain.text, sizeof plain.text);
            assert_memory_equal(ahead.read, plain.read, sizeof plain.read);
            assert_memory_equal(ahead.new_tokens, plain.new_tokens, sizeof plain.new_tokens);
            assert_int_equal(ahead.full, plain.full);
            assert_true(i != 1 || ahead.proposed > 0);
        }
    }
    pass_destroy(p);
}

/* ---- how much is proposed ---- */

/* A text whose proposals (its own period) are always right, or never. */
static int propose_of(drafts *d, const int32_t *text, int64_t count, draft_text *t) {
    *t = (draft_text){.read = text, .count = count - 1, .tokens = {text[count - 1]}, .most = DRAFT_MOST};
    assert_ok(drafts_propose(d, t, 1));
    return t->proposed;
}

static void lengths_follow_what_came_of_them(void **state) {
    int32_t text[64];
    drafts *d;
    draft_text t;
    (void)state;
    for (int i = 0; i < 64; i++) text[i] = i % 3;
    assert_ok(drafts_create(&d, &(draft_source){.lookup = true}, 10, 1, 64));
    const int right[] = {4, 8, 15, 15};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(propose_of(d, text, 64, &t), right[i]);
        drafts_learn(d, &t, t.proposed);
    }
    (void)propose_of(d, text, 64, &t);
    drafts_learn(d, &t, 5);
    assert_int_equal(propose_of(d, text, 64, &t), 5);
    drafts_learn(d, &t, 0);
    /* Wrong: one token, and none for 1, 3, 7, 15, 15 passes. */
    const int rests[] = {1, 3, 7, 15, 15};
    for (int i = 0; i < 5; i++) {
        for (int pass = 0; pass < rests[i]; pass++) assert_int_equal(propose_of(d, text, 64, &t), 0);
        assert_int_equal(propose_of(d, text, 64, &t), 1);
        drafts_learn(d, &t, 0);
    }
    assert_int_equal(drafts_read(d).proposed, 4 + 8 + 15 + 15 + 15 + 5 + 5);
    assert_int_equal(drafts_read(d).accepted, 4 + 8 + 15 + 15 + 5);
    drafts_begin(d, 0);
    assert_int_equal(propose_of(d, text, 64, &t), 4);
    drafts_free(d);
    assert_ok(drafts_create(&d, &(draft_source){0}, 10, 1, 64));
    assert_null(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scheduler_writes_the_same_texts),
        cmocka_unit_test(so_it_does_from_codes),
        cmocka_unit_test(and_in_bf16),
        cmocka_unit_test(a_text_is_cancelled_among_proposed_tokens),
        cmocka_unit_test(the_context_ends_a_text),
        cmocka_unit_test(a_prompt_is_gone_on_with_alike),
        cmocka_unit_test(a_conversation_goes_alike),
        cmocka_unit_test(lengths_follow_what_came_of_them),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}
