#include "disturb.h"

#include "base/progress.h"
#include "generate/conversation.h"
#include "letters_tokenizer.h"
#include <signal.h>

enum { VOCABULARY = 64, CONTEXT = 96 };

/* With everything that looks back: attention, SmearGate, bigrams; the second layer a mixture. */
static int create(void **state) {
    model_config c = model_config_default();
    c.vocab_size = VOCABULARY;
    c.num_layers = 2;
    c.model_dim = 16;
    c.attention.heads = c.attention.kv_heads = 1;
    c.mlp.mult = 1;
    c.rotary.dims = 8;
    c.stem.bigram_buckets = 32;
    c.stem.bigram_dim = 8;
    c.residual.parallel_start_layer = 2;
    c.loop.extra_passes = 0;
    c.moe.layers[1] = true;
    model *m;
    pass *p;
    assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(model_init(m, 3));
    disturb(m, 9, 0.3f);
    assert_ok(pass_create(&p, m));
    *state = p;
    return 0;
}

static int destroy(void **state) {
    model *m = pass_model(*state);
    pass_destroy(*state);
    model_destroy(m);
    return 0;
}

typedef struct said {
    int32_t ids[CONTEXT]; /* of the conversation so far */
    int64_t count;
    char text[CONTEXT + 1]; /* of the last answer */
    size_t stop_after;      /* > 0: the sink stops there */
    bool interrupt;         /* … or Ctrl-C comes */
} said;

static bool collect(void *context, const char *text, size_t bytes) {
    said *s = context;
    assert_true(strlen(s->text) + bytes <= CONTEXT);
    strcat(s->text, text);
    const bool enough = s->stop_after && strlen(s->text) >= s->stop_after;
    if (enough && s->interrupt) raise(SIGINT);
    return !enough || s->interrupt;
}

static void add(said *s, const char *letters) {
    for (; *letters; letters++) s->ids[s->count++] = *letters - 'a' + 1;
}

static const sampler warm = {.temperature = 1.5f, .top_p = 1, .seed = 4};

/* What a conversation that begins anew with all of these tokens says. */
static void say_anew(pass *p, const tokenizer *t, const said *s, int64_t tokens, said *anew) {
    conversation *c;
    conversation_turn turn;
    *anew = (said){0};
    assert_ok(conversation_open(&c, p, t, CONTEXT));
    assert_ok(conversation_answer(c, s->ids, s->count, &warm, tokens, collect, anew, &turn));
    assert_int_equal(turn.read, s->count);
    conversation_close(c);
}

static conversation_turn say(conversation *c, said *s, int64_t tokens) {
    conversation_turn turn;
    s->text[0] = '\0';
    assert_ok(conversation_answer(c, s->ids, s->count, &warm, tokens, collect, s, &turn));
    assert_int_equal(turn.tokens, s->count);
    assert_int_equal(turn.new_tokens, strlen(s->text));
    return turn;
}

static void only_what_is_new_is_read(void **state) {
    tokenizer *t = letters_tokenizer(27);
    conversation *c;
    said s = {0}, anew;
    assert_ok(conversation_open(&c, *state, t, CONTEXT));
    for (int i = 0; i < 4; i++) {
        add(&s, "hello");
        say_anew(*state, t, &s, 9, &anew);
        assert_int_equal(say(c, &s, 9).read, 5);
        assert_string_equal(s.text, anew.text);
        add(&s, s.text);
    }
    conversation_close(c);
    tokenizer_close(t);
}

/* As generate.h says it. */
static void the_first_answer_is_the_text_behind_a_prompt(void **state) {
    tokenizer *t = letters_tokenizer(27);
    conversation *c;
    said s = {0}, plain = {0};
    generation *g;
    generate_result result;
    add(&s, "thequickbrownfox");
    assert_ok(generation_open_ids(&g, *state, t, s.ids, (size_t)s.count, &(prompt_options){0}, 20));
    assert_ok(generation_continue(g, &warm, collect, &plain, &result));
    generation_close(g);
    assert_ok(conversation_open(&c, *state, t, CONTEXT));
    say(c, &s, 20);
    assert_string_equal(s.text, plain.text);
    conversation_close(c);
    tokenizer_close(t);
}

static void the_same_question_is_answered_again(void **state) {
    tokenizer *t = letters_tokenizer(27);
    conversation *c;
    said s = {0};
    char first[CONTEXT + 1];
    assert_ok(conversation_open(&c, *state, t, CONTEXT));
    add(&s, "hello");
    say(c, &s, 12);
    strcpy(first, s.text);
    assert_int_equal(say(c, &s, 12).read, 1);
    assert_string_equal(s.text, first);
    s.stop_after = 3; /* a part of the answer stays */
    say(c, &s, 12);
    assert_memory_equal(s.text, first, 3);
    assert_int_equal(strlen(s.text), 3);
    s.stop_after = 0;
    assert_int_equal(say(c, &s, 12).read, 1);
    assert_string_equal(s.text, first);
    conversation_close(c);
    tokenizer_close(t);
}

/* The answer as the next turn has it, its beginning, and another beginning of all. */
static void what_differs_is_read_again(void **state) {
    tokenizer *t = letters_tokenizer(27);
    static const struct {
        const char *before; /* of the first turn */
        const char *answer; /* in the place of the first answer */
        int64_t read;
    } cases[] = {{"hello", "zz", 2 + 4}, {"hellx", "zz", 1 + 2 + 4}, {"h", "", 4}, {"hello", "", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conversation *c;
        said s = {0}, anew;
        assert_ok(conversation_open(&c, *state, t, CONTEXT));
        add(&s, "hello");
        say(c, &s, 12);
        assert_true(strlen(s.text) >= 2 && s.text[0] != 'z' && s.text[0] != 'w');
        s.count = 0;
        add(&s, cases[i].before);
        add(&s, cases[i].answer);
        add(&s, "when");
        say_anew(*state, t, &s, 12, &anew);
        assert_int_equal(say(c, &s, 12).read, cases[i].read);
        assert_string_equal(s.text, anew.text);
        conversation_close(c);
    }
    tokenizer_close(t);
}

static void other_experts_read_everything(void **state) {
    tokenizer *t = letters_tokenizer(27);
    conversation *c;
    said s = {0}, anew;
    assert_ok(conversation_open(&c, *state, t, CONTEXT));
    add(&s, "hello");
    say(c, &s, 9);
    add(&s, s.text);
    add(&s, "world");
    assert_ok(pass_allow_experts(*state, (const bool[]){false, true}, 1));
    say_anew(*state, t, &s, 9, &anew);
    conversation_forget(c);
    assert_int_equal(say(c, &s, 9).read, s.count);
    assert_string_equal(s.text, anew.text);
    assert_ok(pass_allow_experts(*state, NULL, 1));
    conversation_close(c);
    tokenizer_close(t);
}

static void the_context_is_an_end(void **state) {
    tokenizer *t = letters_tokenizer(27);
    conversation *c;
    conversation_turn turn;
    said s = {0};
    assert_ok(conversation_open(&c, *state, t, 12));
    add(&s, "hello");
    turn = say(c, &s, 40);
    assert_int_equal(turn.new_tokens, 7);
    assert_true(turn.full);
    s.count = 0;
    add(&s, "hellohelloh");
    turn = say(c, &s, 1);
    assert_int_equal(turn.new_tokens, 1);
    add(&s, "e");
    assert_fails(conversation_answer(c, s.ids, s.count, &warm, 1, collect, &s, &turn),
                 "expected fewer tokens than the context's 12, found 12");
    conversation_close(c);
    tokenizer_close(t);
}

static void ctrl_c_keeps_what_came(void **state) {
    tokenizer *t = letters_tokenizer(27);
    conversation *c;
    conversation_turn turn;
    said s = {.stop_after = 3, .interrupt = true}, anew;
    interrupt_catch();
    assert_ok(conversation_open(&c, *state, t, CONTEXT));
    add(&s, "hello");
    assert_int_equal(conversation_answer(c, s.ids, s.count, &warm, 20, collect, &s, &turn), STATUS_INTERRUPTED);
    assert_int_equal(strlen(s.text), 3);
    assert_int_equal(turn.new_tokens, 3);
    s.stop_after = 0;
    add(&s, s.text);
    add(&s, "now");
    assert_int_equal(conversation_answer(c, s.ids, s.count, &warm, 20, collect, &s, &turn), STATUS_INTERRUPTED);
    assert_string_equal(error_message(), "interrupted: 0 of 3 new tokens were read");
    interrupt_forget();
    say_anew(*state, t, &s, 9, &anew);
    assert_int_equal(say(c, &s, 9).read, 3);
    assert_string_equal(s.text, anew.text);
    s.stop_after = 2; /* the second Ctrl-C is one like the first, and does not end the program */
    s.text[0] = '\0';
    assert_int_equal(conversation_answer(c, s.ids, s.count, &warm, 20, collect, &s, &turn), STATUS_INTERRUPTED);
    interrupt_forget();
    conversation_close(c);
    tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_new_is_read),
        cmocka_unit_test(the_first_answer_is_the_text_behind_a_prompt),
        cmocka_unit_test(the_same_question_is_answered_again),
        cmocka_unit_test(what_differs_is_read_again),
        cmocka_unit_test(other_experts_read_everything),
        cmocka_unit_test(the_context_is_an_end),
        cmocka_unit_test(ctrl_c_keeps_what_came),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}
