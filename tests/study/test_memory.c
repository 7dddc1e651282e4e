/* Memory that runs out at every moment of opening, generating, scoring, training and packing: the call fails with one line,
 * the process goes on. Each trial is a child process, since what a call held when it was given up stays allocated. */
#include "tiny.h"

#include "generate/generate.h"
#include "store/open.h"
#include "train/pack.h"
#include <fcntl.h>
#include <omp.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct paths {
    char *folder, *data, *artifact;
} paths;

/* ---- the calls ---- */

static bool swallow(void *context, const char *text, size_t bytes) {
    (void)context, (void)text, (void)bytes;
    return true;
}

static status generate_text(void *context) {
    const paths *p = context;
    const kernels *k;
    model *m;
    tokenizer *tok;
    pass *run;
    generate_result result;
    const sampler s = {.temperature = 1, .top_p = 1, .seed = 1};
    TRY(device_open("cpu", "f32", &k));
    TRY(open_model(p->artifact, k, "chosen", MODEL_RUN, &m, &tok, NULL));
    TRY(pass_create(&run, m));
    TRY(generate(run, tok, "the cat", &s, 4, swallow, NULL, &result));
    pass_destroy(run);
    model_destroy(m);
    tokenizer_close(tok);
    return STATUS_OK;
}

/* Three steps with all events in them, and the last checkpoint packed. */
static status train_and_pack(void *context) {
    const paths *p = context;
    run_config c = tiny_run(p->folder, "trial", 3);
    train_result result;
    checkpoint *saved;
    model *m;
    tokenizer *tok;
    pack_report report;
    char *path = path_join(c.train.run, "model.moec");
    const pack_options options = pack_options_of(&c.pack, c.train.seq);
    TRY(train_run(&c, false, &result));
    TRY(checkpoint_require(&saved, c.train.run));
    TRY(checkpoint_load_model(saved, kernels_for(DTYPE_F32), "ema", MODEL_VALUES, &m));
    TRY(checkpoint_open_tokenizer(saved, &tok));
    c.pack.calibration_batches = 1;
    TRY(pack_model(path, &c, m, tok, &options, &report));
    checkpoint_close(saved);
    model_destroy(m);
    tokenizer_close(tok);
    free(path);
    run_config_free(&c);
    return STATUS_OK;
}

/* ---- trials ---- */

enum { DONE, GAVE_UP, SAID_SOMETHING_ELSE };

static int child(status (*call)(void *), void *context, int64_t allocations) {
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    memory_fail_after(allocations);
    const status s = memory_guarded(call, context);
    memory_fail_after(-1);
    if (s == STATUS_OK) return DONE;
    return strstr(error_message(), "out of memory") ? GAVE_UP : SAID_SOMETHING_ELSE;
}

static int trial(status (*call)(void *), void *context, int64_t allocations) {
    const pid_t pid = fork();
    int found;
    assert_true(pid >= 0);
    if (pid == 0) _exit(child(call, context, allocations));
    assert_int_equal(waitpid(pid, &found, 0), pid);
    if (!WIFEXITED(found)) fail_msg("after %lld allocations: signal %d", (long long)allocations, WTERMSIG(found));
    return WEXITSTATUS(found);
}

/* Every allocation of the first, then one in `stride`, until the call succeeds. */
static void run_out(status (*call)(void *), paths *p, int64_t each, int64_t stride) {
    int64_t allocations = 0;
    char *run = path_join(p->folder, "trial");
    for (int found = GAVE_UP; found != DONE; allocations += allocations < each ? 1 : stride) {
        assert_ok(folder_remove(run));
        found = trial(call, p, allocations);
        if (found == SAID_SOMETHING_ELSE) fail_msg("after %lld allocations: another reason", (long long)allocations);
    }
    assert_true(allocations > 100);
    free(run);
}

static void generating(void **state) {
    run_out(generate_text, *state, 40, 23);
}

static void training_and_packing(void **state) {
    run_out(train_and_pack, *state, 10, 997);
}

/* ---- the set-up ---- */

static int setup(void **state) {
    paths *p = xcalloc(1, sizeof *p);
    p->folder = scratch_create();
    p->data = path_join(p->folder, "data");
    p->artifact = path_join(p->folder, "tiny.moec");
    tiny_data(p->data);
    char *model_file = path_join(p->data, "tokenizer.model");
    tokenizer *tok;
    model *m = tiny_model_create();
    pack_options o = pack_options_default();
    o.quant.gptq = false;
    o.context_tokens = 32;
    assert_ok(tokenizer_open(&tok, model_file));
    assert_ok(artifact_write(p->artifact, m, tok, NULL, &o, NULL));
    tokenizer_close(tok);
    model_destroy(m);
    free(model_file);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    paths *p = *state;
    scratch_remove(p->folder);
    free(p->data);
    free(p->artifact);
    free(p);
    return 0;
}

int main(void) {
    omp_set_num_threads(1); /* a child of fork() has none of its parent's threads */
    const struct CMUnitTest tests[] = {cmocka_unit_test(generating), cmocka_unit_test(training_and_packing)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
