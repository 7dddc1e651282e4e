/* Layouts and processes: some that begin at once, one of another instruction set, one whose disk is full, and what a second one needs in
 * memory. Each is a child; this program itself has no threads, or there would be nothing to fork. */
#include "store/laid_out.h"

#include "base/child.h"
#include <sys/wait.h>
#include <unistd.h>

typedef struct job {
    char *path, *folder;
    const model_config *config;
    const char *variable, *value; /* of the environment; or NULL */
} job;

static status write_it(void *context, uint8_t **bytes, size_t *count) {
    const job *j = context;
    write_checkpoint(j->path, j->config, 5);
    *bytes = NULL;
    *count = 0;
    return STATUS_OK;
}

typedef struct found {
    float logits[LOGITS];
    bool noted;
    char note[512];
    char isa[32];
} found;

static status open_it(void *context, uint8_t **bytes, size_t *count) {
    const job *j = context;
    found *f = xcalloc(1, sizeof *f);
    char *note;
    if (j->variable) setenv(j->variable, j->value, 1);
    letters_tokenizer(VOCAB);
    snprintf(f->isa, sizeof f->isa, "%s", kernels_isa());
    open_logits(j->path, eight, (layout_wish){.kind = j->folder ? LAYOUT_ON : LAYOUT_OFF, .folder = j->folder},
                f->logits, &note);
    f->noted = note;
    snprintf(f->note, sizeof f->note, "%s", note ? note : "");
    free(note);
    *bytes = (uint8_t *)f;
    *count = sizeof *f;
    return STATUS_OK;
}

static found in_child(child_work work, job j) {
    uint8_t *bytes;
    size_t count;
    found f = {0};
    assert_ok(child_run("layout", work, &j, &bytes, &count));
    if (count == sizeof f) memcpy(&f, bytes, sizeof f);
    free(bytes);
    return f;
}

static job prepare(const char *scratch, const model_config *c) {
    const job j = {.path = path_join(scratch, "checkpoint"), .folder = path_join(scratch, "layouts"), .config = c};
    in_child(write_it, j);
    return j;
}

static void some_at_once(void **state) {
    enum { CHILDREN = 5 };
    const model_config c = mixtral();
    job j = prepare(*state, &c), none = j;
    pid_t children[CHILDREN];
    none.folder = NULL;
    static found expected;
    expected = in_child(open_it, none);
    for (int i = 0; i < CHILDREN; i++) {
        fflush(NULL);
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] > 0) continue;
        uint8_t *bytes;
        size_t count;
        const bool same = open_it(&j, &bytes, &count) == STATUS_OK &&
                          memcmp(((found *)bytes)->logits, expected.logits, sizeof expected.logits) == 0;
        _exit(same ? 0 : 1);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int how;
        assert_int_equal(waitpid(children[i], &how, 0), children[i]);
        assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    }
    assert_int_equal(files_in(j.folder), 1);
    const found later = in_child(open_it, j);
    assert_false(later.noted);
    assert_memory_equal(later.logits, expected.logits, sizeof expected.logits);
    free(j.path), free(j.folder);
}

static void another_instruction_set(void **state) {
    const model_config c = llama();
    const job j = prepare(*state, &c);
    job lower = j;
    static found first, second;
    lower.variable = "MOEC_ISA";
    lower.value = "avx2";
    first = in_child(open_it, j);
    second = in_child(open_it, lower);
    assert_string_equal(second.isa, "avx2");
    const bool differ = strcmp(first.isa, second.isa) != 0;
    assert_int_equal(files_in(j.folder), differ ? 2 : 1);
    assert_int_equal(second.noted, differ);
    assert_false(in_child(open_it, lower).noted);
    assert_false(in_child(open_it, j).noted);
    free(j.path), free(j.folder);
}

static void the_disk_is_full(void **state) {
    const model_config c = llama();
    const job j = prepare(*state, &c);
    const char *const budgets[] = {"0", "100", "5000", "60000"};
    job full = j, none = j;
    none.folder = NULL;
    full.variable = "MOEC_FAIL_WRITE_AFTER";
    static found expected, f;
    expected = in_child(open_it, none);
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        full.value = budgets[i];
        f = in_child(open_it, full);
        if (!strstr(f.note, "without a layout: ") || !strstr(f.note, "No space left"))
            fail_msg("%s bytes: expected a line, found \"%s\"", budgets[i], f.note);
        assert_memory_equal(f.logits, expected.logits, sizeof expected.logits);
        assert_int_equal(files_in(j.folder), 0);
    }
    assert_true(in_child(open_it, j).noted);
    assert_int_equal(files_in(j.folder), 1);
    free(j.path), free(j.folder);
}

/* ---- memory ---- */

static model_config big(void) {
    model_config c = base();
    c.num_layers = 2;
    c.residual.parallel_start_layer = 2;
    c.model_dim = 512;
    c.mlp.hidden = 16384; /* of 8 bits and a scale for 32: 2 · 3 · 512 · 16384 · 1.0625 = 53 MB */
    return c;
}

/* Bytes that are this process's alone and cannot be given up: not a file's. */
static int64_t anonymous(void) {
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    long long kilobytes = -1;
    while (f && kilobytes < 0 && fgets(line, sizeof line, f))
        if (sscanf(line, "Anonymous: %lld kB", &kilobytes) != 1) kilobytes = -1;
    if (f) fclose(f);
    return kilobytes < 0 ? -1 : kilobytes * 1024;
}

typedef struct measured {
    int64_t anonymous, weights;
    char note[512];
} measured;

static status measure(void *context, uint8_t **bytes, size_t *count) {
    const job *j = context;
    static float logits[LOGITS];
    const layout_wish wish = {.kind = j->folder ? LAYOUT_ON : LAYOUT_OFF, .folder = j->folder};
    measured *found = xcalloc(1, sizeof *found);
    model *m;
    tokenizer *tok;
    char *note;
    letters_tokenizer(VOCAB);
    TRY(open_model_laid_out(j->path, kernels_for(DTYPE_F32), "chosen", eight, &wish, &m, &tok, NULL, &note));
    logits_of(m, logits);
    memory_trim();
    found->anonymous = anonymous();
    snprintf(found->note, sizeof found->note, "%s", note ? note : "");
    for (int i = 0; i < m->param_count; i++) found->weights += m->params[i]->matrix.packed_bytes;
    *bytes = (uint8_t *)found;
    *count = sizeof *found;
    return STATUS_OK;
}

static measured measure_in_child(job j) {
    uint8_t *bytes;
    size_t count;
    measured m;
    assert_ok(child_run("layout", measure, &j, &bytes, &count));
    memcpy(&m, bytes, sizeof m);
    free(bytes);
    return m;
}

/* The weights are memory that others have, too: of the first process, which made the layout, and of the second. */
static void weights_are_shared(void **state) {
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    skip();
#endif
    if (anonymous() < 0) skip();
    const model_config c = big();
    const job j = prepare(*state, &c);
    job none = j;
    none.folder = NULL;
    const measured own = measure_in_child(none);
    for (int i = 0; i < 2; i++) {
        const measured shared = measure_in_child(j);
        const double saved = (double)(own.anonymous - shared.anonymous) / (double)own.weights;
        print_message("%.1f MB of weights; %.1f MB without, %.1f MB with a layout. %s\n", (double)own.weights / 1e6,
                      (double)own.anonymous / 1e6, (double)shared.anonymous / 1e6, shared.note);
        if (!(saved > 0.9))
            fail_msg("expected nine tenths of the weights to be saved, found %.2f: %s", saved, shared.note);
    }
    free(j.path), free(j.folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(some_at_once),
        in_scratch(another_instruction_set),
        in_scratch(the_disk_is_full),
        in_scratch(weights_are_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
