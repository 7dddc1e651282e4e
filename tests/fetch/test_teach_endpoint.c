/* Questions to a teacher that answers well, badly and never, and what is kept of it. */
#include "command.h"
#include "fake_teacher.h"
#include "fetch/teach.h"

typedef struct fixture {
    fake_teacher *t;
    http_client c;
    seed_prompts prompts;
    char *scratch, *out, *code, *prose;
    teach_request q;
} fixture;

static const char prompts_text[] =
    "domains:\n"
    "  code: {system: Be short., vary: {w: [a, b, c]}, prompts: ['Write {w}.', 'Test {w}.']}\n"
    "  prose: {prompts: [Tell.]}\n";

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->t = teacher_start();
    f->scratch = scratch_create();
    f->out = path_join(f->scratch, "taught");
    f->code = path_join(f->out, "code.jsonl");
    f->prose = path_join(f->out, "prose.jsonl");
    char *path = path_join(f->scratch, "prompts.yaml");
    assert_ok(file_write_whole(path, prompts_text, strlen(prompts_text)));
    assert_ok(seed_prompts_read(&f->prompts, path));
    free(path);
    assert_ok(http_open(&f->c, f->t->s.url, "hf_secret"));
    f->c.pause_seconds = 0.01;
    f->c.attempts = 3;
    f->q = (teach_request){.prompts = &f->prompts,
                           .folder = f->out,
                           .chat = true,
                           .temperature = 0.7,
                           .max_tokens = 20,
                           .per_prompt = 2,
                           .parallel = 1,
                           .timeout = 0.4};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    http_close(&f->c);
    teacher_stop(f->t);
    seed_prompts_free(&f->prompts);
    scratch_remove(f->scratch);
    free(f->out);
    free(f->code);
    free(f->prose);
    free(f);
    return 0;
}

/* The lines that a sound teacher's answers to a domain make, in their order. */
static char *wanted_lines(const fixture *f, int domain) {
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    const prompt_domain *d = &f->prompts.domains[domain];
    for (int prompt = 0; prompt < d->prompts.count; prompt++)
        for (int repetition = 0; repetition < f->q.per_prompt; repetition++) {
            int64_t seed;
            char *question = seed_prompts_question(d, prompt, repetition, (uint64_t)f->q.seed, &seed);
            fprintf(out,
                    "{\"prompt\": \"%s\", \"text\": \"To \\\"%s\\\" with %d: \u00e9\\n\", \"model\": \"tiny-2026\", "
                    "\"settings\": {\"temperature\": 0.7, \"max_tokens\": 20, \"seed\": %d}, \"finish_reason\": "
                    "\"length\", \"usage\": {\"prompt_tokens\": 3, \"completion_tokens\": 7}}\n",
                    question, question, (int)seed, (int)seed);
            free(question);
        }
    fclose(out);
    return text;
}

static void check_whole(const fixture *f) {
    for (int i = 0; i < 2; i++) {
        char *wanted = wanted_lines(f, i), *found = text_of(i ? f->prose : f->code);
        assert_string_equal(found, wanted);
        free(found);
        free(wanted);
    }
}

/* All is answered afterwards, with so many questions. */
static void fetches(fixture *f, int questions) {
    teach_result r;
    f->t->asked = 0;
    assert_ok(teach_fetch(&f->c, &f->q, &r));
    assert_int_equal(f->t->asked, questions);
    assert_int_equal(r.requests, questions);
    assert_int_equal(r.open, 0);
    assert_string_equal(r.model, "tiny");
    check_whole(f);
    teach_result_free(&r);
}

static void refuses(fixture *f, const char *part) {
    teach_result r;
    assert_fails(teach_fetch(&f->c, &f->q, &r), part);
    assert_null(strstr(error_message(), "hf_secret"));
    assert_null(strchr(error_message(), '\n'));
    teach_result_free(&r);
}

static void test_answers(void **state) {
    fixture *f = *state;
    fetches(f, 6);
    assert_string_equal(f->t->path, "/v1/chat/completions");
    assert_string_equal(f->t->authorized, "Bearer hf_secret");
    fetches(f, 0);
    f->q.per_prompt = 3;
    fetches(f, 3);
    f->t->faults[0] = WELL;
    teach_result r;
    assert_ok(teach_fetch(&f->c, &f->q, &r));
    assert_int_equal(r.domains[0].texts, 6);
    assert_int_equal(r.domains[0].cut, 6);
    assert_int_equal(r.domains[0].completion_tokens, 42);
    assert_int_equal(r.asked[0], 0);
    teach_result_free(&r);
}

static void test_plain_completions(void **state) {
    fixture *f = *state;
    teach_result r;
    f->q.chat = false;
    assert_ok(teach_fetch(&f->c, &f->q, &r));
    assert_string_equal(f->t->path, "/v1/completions");
    assert_memory_equal(f->t->text, "Be short.\n\nTest ", 16);
    teach_result_free(&r);
    f->q.chat = true;
    refuses(f, "was asked with api completions");
}

static void test_many_at_once(void **state) {
    fixture *f = *state;
    f->q.parallel = 8;
    f->q.per_prompt = 40;
    fetches(f, 120);
}

static void test_passes(void **state) {
    fixture *f = *state;
    static const fault passing[] = {CUT, CLOSES, STALLS, BROKEN, HTML, JUNK, NO_CHOICES, SAYS_ERROR};
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        assert_ok(folder_remove(f->out));
        teacher_go_wrong(f->t, WELL, passing[i]);
        fetches(f, 7);
    }
}

static void test_waits_as_told(void **state) {
    fixture *f = *state;
    f->q.parallel = 4; /* what one is told holds for all */
    teacher_go_wrong(f->t, BUSY);
    const double before = clock_seconds();
    fetches(f, 7);
    assert_true(clock_seconds() - before >= 0.9);
}

static void test_does_not_pass(void **state) {
    fixture *f = *state;
    static const struct {
        fault what;
        const char *part;
    } lasting[] = {{UNAUTHORIZED, "code, prompt 2: http://127.0.0.1"},
                   {UNAUTHORIZED, "the key in MOEC_API_KEY or OPENAI_API_KEY does not open it"},
                   {ABSENT, "model not found"},
                   {BAD_REQUEST, "HTTP status 400: {\"error\": \"context is 100 tokens\"}"},
                   {REDIRECTS, "expected an answer, found a redirect (302)"},
                   {HUGE, "expected at most 16777216 bytes, found more"}};
    for (size_t i = 0; i < sizeof lasting / sizeof *lasting; i++) {
        assert_ok(folder_remove(f->out));
        teacher_go_wrong(f->t, WELL, WELL, lasting[i].what);
        refuses(f, lasting[i].part);
        assert_int_equal(f->t->asked, 3);
        fetches(f, 4); /* what came is there */
    }
    static const fault too_often[] = {STALLS, HTML, JUNK, NO_CHOICES, SAYS_ERROR, BROKEN, CUT};
    for (size_t i = 0; i < sizeof too_often / sizeof *too_often; i++) {
        assert_ok(folder_remove(f->out));
        teacher_go_wrong(f->t, WELL, WELL, too_often[i], too_often[i], too_often[i]);
        refuses(f, "code, prompt 2: given up after 3 attempts");
        fetches(f, 4);
    }
}

static void test_budget(void **state) {
    fixture *f = *state;
    teach_result r;
    f->q.requests = 4;
    teacher_go_wrong(f->t, WELL, BROKEN, WELL, CUT);
    assert_ok(teach_fetch(&f->c, &f->q, &r)); /* lost and refused ones count */
    assert_int_equal(f->t->asked, 4);
    assert_int_equal(r.requests, 4);
    assert_int_equal(r.open, 4);
    teach_result_free(&r);
    f->q.parallel = 3;
    fetches(f, 4);
    http_close(&f->c); /* nobody is there: nothing reached a server */
    assert_ok(http_open(&f->c, "http://127.0.0.1:9", NULL));
    f->c.pause_seconds = 0;
    f->c.attempts = 3;
    f->q.per_prompt = 3;
    assert_fails(teach_fetch(&f->c, &f->q, &r), "given up after 3 attempts");
    assert_int_equal(r.requests, 0);
    assert_int_equal(r.open, 3);
    teach_result_free(&r);
}

static void test_goes_on_wherever_it_was_killed(void **state) {
    fixture *f = *state;
    fetches(f, 6);
    char *whole = text_of(f->code);
    const size_t bytes = strlen(whole);
    for (size_t cut = 0; cut < bytes; cut += 13) {
        int lines = 0;
        for (size_t i = 0; i < cut; i++) lines += whole[i] == '\n';
        assert_int_equal(truncate(f->code, (off_t)cut), 0);
        fetches(f, 4 - lines);
    }
    free(whole);
}

/* A byte that became another one: a line is refused by its number, or its question is asked again. */
static void test_damaged_anywhere(void **state) {
    fixture *f = *state;
    fetches(f, 6);
    char *whole = text_of(f->code);
    const size_t bytes = strlen(whole);
    for (size_t i = 0; i < bytes; i += 7) {
        teach_result r;
        whole[i] ^= 4;
        assert_ok(file_write_whole(f->code, whole, bytes));
        whole[i] ^= 4;
        if (teach_fetch(&f->c, &f->q, &r) == STATUS_OK)
            assert_int_equal(r.open, 0);
        else
            assert_non_null(strstr(error_message(), "code.jsonl:"));
        teach_result_free(&r);
    }
    free(whole);
}

/* As answers of several workers may come. */
static void test_other_order_and_other_lines(void **state) {
    fixture *f = *state;
    teach_result r;
    fetches(f, 6);
    char *whole = text_of(f->code);
    const size_t first = strcspn(whole, "\n") + 1;
    char *second = whole + first, *mixed = xasprintf("%.*s%s", (int)strcspn(second, "\n") + 1, second, second);
    assert_ok(file_write_whole(f->code, mixed, strlen(mixed))); /* the second twice, the first missing */
    f->t->asked = 0;
    assert_ok(teach_fetch(&f->c, &f->q, &r));
    assert_int_equal(f->t->asked, 1);
    assert_int_equal(r.domains[0].others, 1);
    assert_int_equal(r.domains[0].texts, 4);
    char *found = text_of(f->code);
    assert_memory_equal(found, whole, first);
    free(found);
    free(mixed);
    free(whole);
    teach_result_free(&r);
}

static void test_no_text_is_an_answer(void **state) {
    fixture *f = *state;
    teach_result r;
    teacher_go_wrong(f->t, NO_TEXT);
    assert_ok(teach_fetch(&f->c, &f->q, &r));
    assert_int_equal(r.domains[0].empty, 1);
    teach_result_free(&r);
    f->t->asked = 0;
    assert_ok(teach_fetch(&f->c, &f->q, &r));
    assert_int_equal(f->t->asked, 0);
    teach_result_free(&r);
}

static void test_other_settings_and_damage(void **state) {
    fixture *f = *state;
    char *state_path = path_join(f->out, "teach.json");
    fetches(f, 6);
    f->q.temperature = 0.8;
    refuses(f, "was asked with temperature 0.7: choose another -o");
    f->q.temperature = 0.7;
    f->q.max_tokens = 21;
    refuses(f, "was asked with max_tokens 20");
    f->q.max_tokens = 20;
    f->q.seed = 1;
    refuses(f, "was asked with seed 0");
    f->q.seed = 0;
    f->q.model = "other";
    refuses(f, "was asked with model tiny");
    f->q.model = NULL;
    char *text = text_of(f->code);
    text[0] = '[';
    assert_ok(file_write_whole(f->code, text, strlen(text)));
    refuses(f, "code.jsonl:1: expected an answer, a JSON object");
    text[0] = '{';
    text[strcspn(text, "\n") + strlen("\n{\"")] = 'q'; /* its prompt's key */
    assert_ok(file_write_whole(f->code, text, strlen(text)));
    refuses(f, "code.jsonl:2: expected prompt, text and settings with a seed");
    assert_int_equal(unlink(f->code), 0);
    assert_ok(file_write_whole(state_path, "{}", 2));
    refuses(f, state_path);
    assert_int_equal(unlink(state_path), 0);
    refuses(f, "prose.jsonl: is there, without a ");
    free(text);
    free(state_path);
}

static void test_models(void **state) {
    fixture *f = *state;
    f->t->models = "{\"data\": [{\"id\": \"a\"}, {\"id\": \"tiny\"}]}";
    refuses(f, "which model? Choose with --model among a, tiny");
    f->t->models = "<html>";
    refuses(f, "found HTML");
    f->q.model = "tiny";
    fetches(f, 6);
}

/* Last: the interrupt stays. */
static void *interrupt_third(void *context) {
    fixture *f = context;
    for (int i = 0; i < 500 && f->t->asked < 3; i++) usleep(10000);
    usleep(300000); /* the second answer is on its way to the file */
    kill(getpid(), SIGINT);
    return NULL;
}

static void test_interrupt(void **state) {
    fixture *f = *state;
    teach_result r;
    pthread_t thread;
    interrupt_catch();
    f->q.timeout = 60;
    f->q.parallel = 2;
    teacher_go_wrong(f->t, WELL, WELL, STALLS);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_third, f), 0);
    const double before = clock_seconds();
    assert_int_equal(teach_fetch(&f->c, &f->q, &r), STATUS_INTERRUPTED);
    assert_true(clock_seconds() - before < 10);
    assert_in_range(r.open, 3, 4); /* the other worker may just get its answer */
    pthread_join(thread, NULL);
    teach_result_free(&r);
}

#define served(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {served(test_answers),
                                       served(test_plain_completions),
                                       served(test_many_at_once),
                                       served(test_passes),
                                       served(test_waits_as_told),
                                       served(test_does_not_pass),
                                       served(test_budget),
                                       served(test_goes_on_wherever_it_was_killed),
                                       served(test_damaged_anywhere),
                                       served(test_other_order_and_other_lines),
                                       served(test_no_text_is_an_answer),
                                       served(test_other_settings_and_damage),
                                       served(test_models),
                                       served(test_interrupt)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
