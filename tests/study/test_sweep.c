/* Sweeps: what is refused, what a run of one leaves behind, and warnings of routers that collapse. */
#include "tiny.h"

#include "base/lock.h"
#include "study/sweep.h"
#include "train/routing_watch.h"
#include <math.h>

static char *folder;

static int create(void **state) {
    (void)state;
    folder = scratch_create();
    char *data = path_join(folder, "data"), *preset = path_join(folder, "tiny.yaml");
    tiny_data(data);
    run_config c = tiny_run(folder, "unused", 10);
    assert_ok(run_config_write(&c, preset));
    run_config_free(&c);
    free(data);
    free(preset);
    return 0;
}

static int destroy(void **state) {
    (void)state;
    scratch_remove(folder);
    return 0;
}

/* ---- what is refused ---- */

static void refused(const char *text, const char *part) {
    sweep s;
    assert_fails(sweep_parse(&s, "s.yaml", text, strlen(text)), part);
    sweep_free(&s);
}

static void bad_texts(void **state) {
    (void)state;
#define RUNS "runs:\n  - {name: a, config: x.yaml}\n"
    refused("", "found nothing");
    refused("[1, 2]", "s.yaml:1: a sweep: expected keys and values, found a list");
    refused("seeds: [1]\nsteps: 3\n", "runs: expected");
    refused("steps: 3\n" RUNS, "seeds: expected");
    refused("seeds: [1]\n" RUNS, "budget: expected either steps or max_seconds, found none");
    refused("seeds: [1]\nsteps: 2\nmax_seconds: 3\n" RUNS, "found both");
    refused("seeds: [1, 2, 1]\nsteps: 2\n" RUNS, "s.yaml:1: seeds: expected different integers, found `1`");
    refused("seeds: [-1]\nsteps: 2\n" RUNS, "s.yaml:1: seeds: expected integers from 0");
    refused("seeds: []\nsteps: 2\n" RUNS, "seeds: expected a list of at least one integer");
    refused("seeds: 4\nsteps: 2\n" RUNS, "seeds: expected a list");
    refused("seeds: [1]\nsteps: 0\n" RUNS, "s.yaml:2: steps: expected an integer from 1 to 1000000000000, found `0`");
    refused("seeds: [1]\nmax_seconds: soon\n" RUNS,
            "s.yaml:2: max_seconds: expected a number from 0.001 to 1e+09, found `soon`");
    refused("seeds: [1]\nstepz: 3\n" RUNS, "s.yaml:2: unknown key stepz of a sweep; the nearest is steps");
    refused("seeds: [1]\nseeds: [1]\nsteps: 3\n" RUNS, "s.yaml:2: seeds is given twice, first on line 1");
    refused("pack: maybe\n", "s.yaml:1: pack: expected true or false, found `maybe`");
    refused("runs: []\n", "runs: expected a list of at least one run");
    refused("runs:\n  - {config: x.yaml}\n", "s.yaml:2: run: expected a name");
    refused("runs:\n  - {name: ../a}\n", "s.yaml:2: name: expected");
    refused("runs:\n  - {name: results.md}\n", "s.yaml:2: name: expected another name than a sweep's own");
    refused("runs:\n  - {name: a}\n  - {name: a}\n",
            "s.yaml:3: name: expected a name of its own, found a, which the run on line 2");
    refused("runs:\n  - {name: a, batch: 3}\n", "unknown key batch of a run");
    refused("seeds: [1]\nsteps: 2\nruns:\n  - {name: a}\n",
            "s.yaml:4: config: expected the run a or the sweep to name one");
    refused("common:\n  btach: 3\n", "s.yaml:2: override btach=3: unknown key btach; the nearest is batch");
    refused("common:\n  batch: many\n", "s.yaml:2: override batch=many: batch: expected an integer");
    refused("common: {seed: 3}\n", "s.yaml:1: seed: is no override");
    refused("common: {train.steps: 3}\n", "s.yaml:1: train.steps: is no override");
    refused("common:\n  batch: 1\n  batch: 2\n", "s.yaml:3: batch is given twice, first on line 2");
#define SIZED(text) "seeds: [1]\nsteps: 4\nscaling: " text "\n" RUNS
    refused(SIZED("tokens"), "s.yaml:3: scaling: expected keys and values");
    refused(SIZED("{times: [1, 2, 3]}"), "s.yaml:3: scaling: expected of: tokens, found none");
    refused(SIZED("{of: bytes}"), "s.yaml:3: of: expected tokens, parameters or active_parameters, found `bytes`");
    refused(SIZED("{of: tokens, times: 4}"), "s.yaml:3: times: expected a list of numbers such as [1, 2, 4, 8]");
    refused(SIZED("{of: tokens, times: [1, 0]}"), "s.yaml:3: times: expected numbers from 1e-06 to 1e+06, found `0`");
    refused(SIZED("{of: tokens, times: [1, 2, 2]}"), "s.yaml:3: times: expected different numbers, found `2`");
    refused(SIZED("{of: tokens, times: [1, 2]}"),
            "s.yaml: scaling: expected runs of at least 3 sizes (tokens), found 2");
    refused(SIZED("{of: tokens, times: [1, 1.01, 2]}"), "at least 3 sizes (tokens), found 2"); /* of 4 steps it is 4 */
    refused(SIZED("{of: parameters, times: [1, 2, 4]}"), "times: expected of: tokens with it, found of: parameters");
    refused(SIZED("{of: tokens, sizes: [1]}"), "unknown key sizes of scaling");
    refused("seeds: [1]\nmax_seconds: 4\nscaling: {of: tokens, times: [1, 2, 4]}\n" RUNS,
            "s.yaml: scaling: expected a budget of steps, found max_seconds");
    refused("seeds: [1]\nmax_seconds: 4\nruns: [{name: a, config: x.yaml, times: 2}]\n",
            "s.yaml:3: run a: times: expected a budget of steps");
    refused(
        "seeds: [1]\nsteps: 4\nscaling: {of: tokens, times: [1, 2, 4]}\nruns: [{name: a, config: x.yaml, times: 2}]\n",
        "s.yaml:4: run a: times: expected none beside scaling's, found 2");
    refused("seeds: [1]\nsteps: 4\nruns: [{name: a, config: x.yaml, times: 0}]\n",
            "s.yaml:3: times: expected a number");
#undef SIZED
    refused("a: &a [*a]\n", "s.yaml:1: expected values without anchors and aliases, found &a");
    refused("common: {moe_layers: &a [*a]}\n", "s.yaml:1: expected values without anchors and aliases, found &a");
    refused("runs: [\n", "not YAML");
#undef RUNS
}

static char *write_sweep(const char *text) {
    char *path = path_join(folder, "sweep.yaml");
    assert_ok(file_write_whole(path, text, strlen(text)));
    return path;
}

static void refused_file(const char *text, const char *part) {
    sweep s;
    char *path = write_sweep(text);
    assert_fails(sweep_load(&s, path), part);
    sweep_free(&s);
    free(path);
}

/* What only the presets and the data tell: before any work as well. */
static void bad_runs(void **state) {
    (void)state;
    refused_file("seeds: [1]\nsteps: 2\nruns:\n  - {name: a, config: tiny.yaml}\n  - {name: b, config: none.yaml}\n",
                 "sweep.yaml:5: run b: config: expected a preset, found no file");
    refused_file("seeds: [1]\nsteps: 2\nconfig: tiny.yaml\nruns:\n  - {name: a, overrides: {num_heads: 3}}\n",
                 "sweep.yaml:5: run a: ");
    refused_file("seeds: [1]\nsteps: 2\nconfig: tiny.yaml\nruns:\n  - {name: a, overrides: {data: nowhere}}\n",
                 "run a: data: expected a folder");
    refused_file("seeds: [1]\nsteps: 2\nconfig: tiny.yaml\nruns:\n  - {name: a, overrides: {vocab_size: 319}}\n",
                 "vocab_size: expected at least 320");
    refused_file("seeds: [1]\nsteps: 2\nconfig: tiny.yaml\nscaling: {of: tokens}\nruns:\n  - {name: a}\n  - {name: b, "
                 "times: 3}\n",
                 "sweep.yaml: scaling: expected runs of at least 3 sizes (tokens), found 2");
    refused_file("seeds: [1]\nmax_seconds: 2\nconfig: tiny.yaml\nscaling: {of: parameters}\nruns:\n  - {name: a}\n"
                 "  - {name: b, overrides: {mlp_mult: 3}}\n  - {name: c, overrides: {batch: 1}}\n",
                 "sweep.yaml: scaling: expected runs of at least 3 sizes (parameters), found 2");
    sweep s;
    char *path = write_sweep("seeds: [1]\nsteps: 2\nconfig: tiny.yaml\nscaling: {of: tokens}\nruns:\n  - {name: a}\n"
                             "  - {name: b, overrides: {batch: 4}}\n  - {name: c, overrides: {batch: 8}}\n");
    assert_ok(sweep_load(&s, path)); /* the same steps are other tokens */
    sweep_free(&s);
    free(path);
    assert_fails(sweep_load(&s, "/nowhere/sweep.yaml"), "/nowhere/sweep.yaml");
    sweep_free(&s);
}

/* ---- what is understood ---- */

static void overrides_become_text(void **state) {
    (void)state;
    const char *text = "seeds: [3, 0]\nmax_seconds: 1.5\ncommon: {batch: 2}\nconfig: p/x.yaml\nruns:\n"
                       "  - name: a\n    overrides:\n      moe_layers: [1, 3]\n"
                       "      events: [{at: 0.3, do: upcycle, layers: [1, 2], experts: 2}]\n      data: 'a b'\n"
                       "  - {name: b, config: /y.yaml}\n";
    sweep s;
    assert_ok(sweep_parse(&s, "d/s.yaml", text, strlen(text)));
    assert_int_equal(s.seed_count, 2);
    assert_int_equal(s.seeds[0], 3);
    assert_true(s.max_seconds == 1.5 && s.steps == 0 && !s.pack);
    assert_string_equal(s.common.items[0].text, "batch=2");
    assert_string_equal(s.variants[0].config, "d/p/x.yaml");
    assert_string_equal(s.variants[1].config, "/y.yaml");
    assert_int_equal(s.variants[0].overrides.count, 3);
    assert_string_equal(s.variants[0].overrides.items[0].text, "moe_layers=[1, 3]");
    assert_string_equal(s.variants[0].overrides.items[1].text,
                        "events=[{at: 0.3, do: upcycle, layers: [1, 2], experts: 2}]");
    assert_string_equal(s.variants[0].overrides.items[2].text, "data=a b");
    assert_int_equal(s.variants[0].overrides.items[2].line, 10);
    sweep_free(&s);
}

static void scaling_makes_runs(void **state) {
    (void)state;
    const char *text = "seeds: [1]\nsteps: 100\nconfig: x.yaml\nscaling: {of: tokens, times: [0.5, 1, 4]}\nruns:\n"
                       "  - {name: a}\n  - {name: b, overrides: {batch: 3}}\n";
    static const char *const names[] = {"a-x0.5", "b-x0.5", "a-x1", "b-x1", "a-x4", "b-x4"};
    static const int64_t steps[] = {50, 50, 100, 100, 400, 400};
    sweep s;
    assert_ok(sweep_parse(&s, "s.yaml", text, strlen(text)));
    assert_int_equal(s.variant_count, 6);
    for (int i = 0; i < 6; i++) {
        const sweep_variant *v = &s.variants[i];
        assert_string_equal(v->name, names[i]);
        assert_int_equal(sweep_steps(&s, v), steps[i]);
        assert_string_equal(v->series, i % 2 ? "b" : "a");
        assert_string_equal(v->config, "x.yaml");
        assert_int_equal(v->overrides.count, i % 2);
    }
    sweep_free(&s);

    /* Runs with times of their own are one series. */
    const char *own = "seeds: [1]\nsteps: 100\nconfig: x.yaml\nscaling: {of: tokens}\nruns:\n"
                      "  - {name: a}\n  - {name: b, times: 2}\n  - {name: c, times: 3.5}\n";
    assert_ok(sweep_parse(&s, "s.yaml", own, strlen(own)));
    assert_true(sweep_steps(&s, &s.variants[0]) == 100 && sweep_steps(&s, &s.variants[2]) == 350);
    assert_null(s.variants[0].series);
    sweep_free(&s);
}

/* ---- running one ---- */

static double number(const cJSON *line, const char *key) {
    const cJSON *item = cJSON_GetObjectItem(line, key);
    if (!cJSON_IsNumber(item)) fail_msg("no number %s in a result", key);
    return item->valuedouble;
}

/* A file as a string of its own. */
static char *read_text(const char *name) {
    char *path = path_join(folder, name);
    uint8_t *bytes = NULL;
    size_t count = 0;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    char *text = xstrdup((const char *)bytes);
    free(bytes);
    free(path);
    return text;
}

static void runs_every_name_and_seed_once(void **state) {
    (void)state;
    char *path = write_sweep("seeds: [1, 2]\nsteps: 8\nconfig: tiny.yaml\neval_tokens: 150\nruns:\n  - {name: moe}\n"
                             "  - {name: dense, overrides: {events: []}}\n");
    char *out = path_join(folder, "out"), *lines = path_join(out, "results.jsonl");
    sweep s;
    assert_ok(sweep_load(&s, path));
    assert_ok(sweep_run(&s, out, comm_alone()));
    cJSON *results;
    assert_ok(sweep_results(&s, out, &results));
    assert_int_equal(cJSON_GetArraySize(results), 4);
    const cJSON *first = cJSON_GetArrayItem(results, 0), *second = cJSON_GetArrayItem(results, 1);
    assert_string_equal(cJSON_GetObjectItem(first, "name")->valuestring, "moe");
    assert_string_equal(cJSON_GetObjectItem(second, "name")->valuestring, "dense");
    assert_true(number(first, "seed") == 1 && number(second, "seed") == 1);
    assert_true(number(first, "val_bpb") > 0 && number(first, "val_bpb_ema") > 0 && number(first, "ms_per_step") > 0);
    assert_true(number(first, "steps") == 8 && number(first, "tokens") == 8 * 128);
    assert_true(number(first, "parameters") > number(second, "parameters"));
    assert_true(number(first, "expert_share_min") + number(first, "expert_share_max") > 0.5);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(second, "expert_share_min")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(first, "artifact_bytes")));
    cJSON_Delete(results);
    char *report = read_text("out/results.md");
    assert_non_null(strstr(report, "| moe | 2 |"));
    assert_non_null(strstr(report, " ± "));
    free(report);

    /* A finished run is left alone; one whose line is gone is taken from its checkpoint: the same result. */
    char *before = read_text("out/results.jsonl"), *end = strchr(strchr(strchr(before, '\n') + 1, '\n') + 1, '\n') + 1;
    assert_ok(file_write_whole(lines, before, (size_t)(end - before) + 20)); /* three lines and a piece of the fourth */
    assert_ok(sweep_run(&s, out, comm_alone()));
    char *after = read_text("out/results.jsonl");
    assert_memory_equal(before, after, (size_t)(end - before));
    assert_ok(sweep_results(&s, out, &results));
    assert_int_equal(cJSON_GetArraySize(results), 4);
    const cJSON *fourth = cJSON_Parse(end);
    assert_true(number(fourth, "val_bpb") == number(cJSON_GetArrayItem(results, 3), "val_bpb"));
    cJSON_Delete((cJSON *)fourth);
    cJSON_Delete(results);

    /* The same names with another budget are other runs. */
    s.steps = 9;
    assert_fails(sweep_results(&s, out, &results), "results.jsonl:1: run moe was made with budget_steps 8");
    sweep_free(&s);
    free(before);
    free(after);
    free(path);
    free(lines);
    free(out);
}

static void scaling_laws_go_through_runs(void **state) {
    (void)state;
    char *path =
        write_sweep("seeds: [1, 2]\nsteps: 4\nconfig: tiny.yaml\neval_tokens: 150\nscaling: {of: tokens, times: [1, 2, "
                    "4, 8]}\nruns:\n  - {name: one, overrides: {events: []}}\n");
    char *out = path_join(folder, "scaling");
    sweep s;
    assert_ok(sweep_load(&s, path));
    assert_ok(sweep_run(&s, out, comm_alone()));
    cJSON *results;
    assert_ok(sweep_results(&s, out, &results));
    assert_int_equal(cJSON_GetArraySize(results), 8);
    const cJSON *last = cJSON_GetArrayItem(results, 3);
    assert_true(number(last, "steps") == 32 && number(last, "budget_steps") == 32 &&
                number(last, "tokens") == 32 * 128);
    assert_true(number(last, "val_loss") > 0 && number(last, "val_loss_ema") > 0);
    assert_true(number(cJSON_GetArrayItem(results, 0), "val_loss") > number(last, "val_loss"));
    cJSON_Delete(results);
    char *report = read_text("scaling/results.md"), *record = read_text("scaling/scaling.json");
    assert_non_null(strstr(report, "Each run: 4 steps, times what its size is (column steps)."));
    assert_non_null(strstr(report, "## Scaling with tokens"));
    assert_non_null(strstr(report, "8 runs of 4 sizes, 512 to 4.1e+03"));
    cJSON *json = cJSON_Parse(record), *fit = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "fits"), 0);
    assert_string_equal(cJSON_GetObjectItem(json, "of")->valuestring, "tokens");
    assert_string_equal(cJSON_GetObjectItem(fit, "series")->valuestring, "one");
    assert_true(number(fit, "runs") == 8 && number(fit, "sizes") == 4 && number(fit, "most") == 32 * 128);
    const cJSON *law = cJSON_GetObjectItem(fit, "saturating"), *alpha = cJSON_GetObjectItem(law, "alpha");
    assert_true(number(alpha, "low") <= number(alpha, "value") && number(alpha, "value") <= number(alpha, "high"));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(law, "beyond")), 3);
    cJSON_Delete(json);
    free(report);

    /* Made again from the same runs, it is the same; of fewer sizes there is a line instead. */
    assert_ok(sweep_report(&s, out));
    char *again = read_text("scaling/scaling.json"), *lines = path_join(out, "results.jsonl"),
         *all = read_text("scaling/results.jsonl");
    assert_string_equal(record, again);
    assert_ok(file_write_whole(lines, all, (size_t)(strchr(all, '\n') + 1 - all)));
    assert_ok(sweep_report(&s, out));
    report = read_text("scaling/results.md");
    assert_non_null(strstr(report, "scaling: expected runs of at least 3 sizes, found 1"));
    sweep_free(&s);
    free(report), free(record), free(again), free(lines), free(all), free(path), free(out);
}

/* A sweep may be running: what it is writing is not for others to cut. */
static void readers_change_nothing(void **state) {
    (void)state;
    char *path = write_sweep("seeds: [1, 2]\nsteps: 1\nconfig: tiny.yaml\neval_tokens: 50\nruns:\n  - {name: a}\n");
    char *out = path_join(folder, "read"), *lines = path_join(out, "results.jsonl"),
         *lock_path = xasprintf("%s.lock", out);
    sweep s;
    cJSON *results;
    assert_ok(sweep_load(&s, path));
    assert_ok(sweep_run(&s, out, comm_alone()));
    char *before = read_text("read/results.jsonl"), *second = strchr(before, '\n') + 1;
    assert_ok(file_write_whole(lines, before, (size_t)(second - before) + 20));
    char *half = read_text("read/results.jsonl");
    assert_ok(sweep_results(&s, out, &results));
    assert_int_equal(cJSON_GetArraySize(results), 1);
    cJSON_Delete(results);
    assert_ok(sweep_list(&s, out));
    assert_ok(sweep_report(&s, out));
    lock held;
    assert_ok(lock_take(&held, lock_path, "moec sweep"));
    assert_ok(sweep_report(&s, out));
    assert_fails(sweep_run(&s, out, comm_alone()), "read.lock: held by moec sweep, process ");
    lock_release(&held);
    char *after = read_text("read/results.jsonl");
    assert_string_equal(half, after);
    free(after);

    /* A whole line without its end is a result, for readers and for the sweep. */
    assert_ok(file_write_whole(lines, before, strlen(before) - 1));
    assert_ok(sweep_results(&s, out, &results));
    assert_int_equal(cJSON_GetArraySize(results), 2);
    cJSON_Delete(results);
    assert_ok(sweep_run(&s, out, comm_alone()));
    after = read_text("read/results.jsonl");
    assert_string_equal(before, after);
    assert_false(path_exists(lock_path));
    free(after), free(half), free(before), free(lock_path), free(lines), free(out), free(path);
    sweep_free(&s);
}

/* One run fails: the others are made, and the failure is named. */
static void goes_on_after_a_failure(void **state) {
    (void)state;
    char *path = write_sweep("seeds: [1]\nsteps: 2\nconfig: tiny.yaml\nruns:\n  - {name: good}\n  - {name: bad}\n");
    char *out = path_join(folder, "partly"), *bad = path_join(folder, "partly/bad");
    sweep s;
    assert_ok(sweep_load(&s, path));
    assert_ok(folder_create(out));
    assert_ok(file_write_whole(bad, "in the way", 10)); /* where its folder should be */
    assert_fails(sweep_run(&s, out, comm_alone()), "1 of 2 runs failed, the first: bad, seed 1");
    cJSON *results;
    assert_ok(sweep_results(&s, out, &results));
    assert_int_equal(cJSON_GetArraySize(results), 1);
    cJSON_Delete(results);
    sweep_free(&s);
    free(path);
    free(out);
    free(bad);
}

/* ---- warnings ---- */

static void count_warning(void *context, const char *line) {
    char **last = context;
    free(*last);
    *last = xstrdup(line);
}

static void warns_after_fifty_steps(void **state) {
    (void)state;
    model_config c = tiny_model();
    c.moe.experts = 4;
    c.moe.top_k = 1;
    routing_watch w = {0};
    char *line = NULL;
    const double even[] = {0.25, 0.25, 0.25, 0.25}, low[] = {0.4, 0.4, 0.19, 0.01};
    routing_entry passes[2] = {{.layer = 2, .pass = 0, .experts = 4, .share = even},
                               {.layer = 2, .pass = 1, .experts = 4, .share = low}};
    step_record record = {.routing = passes, .routed = 2}, *s = &record;
    for (int step = 1; step < ROUTING_WATCH_STEPS; step++) routing_watch_step(&w, &c, s, count_warning, &line);
    assert_null(line);
    routing_watch_step(&w, &c, s, count_warning, &line);
    assert_non_null(line);
    assert_non_null(strstr(line, "blocks.2.mlp, pass 2: expert 3 has taken under 2 % of the tokens for 50 steps"));
    free(line);
    line = NULL;
    for (int step = 0; step < 200; step++) routing_watch_step(&w, &c, s, count_warning, &line);
    assert_null(line); /* said once */
    passes[1].share = even;
    routing_watch_step(&w, &c, s, count_warning, &line); /* it recovers, and falls again */
    passes[1].share = low;
    for (int step = 0; step < ROUTING_WATCH_STEPS; step++) routing_watch_step(&w, &c, s, count_warning, &line);
    assert_non_null(line);
    free(line);
    routing_watch_free(&w);
}

static void loads(void **state) {
    (void)state;
    model_config c = tiny_model();
    c.moe.experts = 2;
    c.moe.top_k = 1;
    c.moe.gate = GATE_RENORMALIZED;
    assert_int_equal(routing_load(&c, 0.91), LOAD_HIGH);
    assert_int_equal(routing_load(&c, 0.89), LOAD_FINE);
    assert_int_equal(routing_load(&c, 0.019), LOAD_LOW);
    c.moe.top_k = 2; /* every token goes to both: nothing is chosen */
    assert_int_equal(routing_load(&c, 0.5), LOAD_FINE);
    c.moe.experts = 4; /* half of the pairs: each token's */
    assert_int_equal(routing_load(&c, 0.5), LOAD_HIGH);
    assert_int_equal(routing_load(&c, 0.02), LOAD_FINE);
    assert_int_equal(routing_load(&c, 0.009), LOAD_LOW);
    c.moe.experts = 64;
    c.moe.top_k = 1; /* an even part is 1.6 % */
    assert_int_equal(routing_load(&c, 0.0156), LOAD_FINE);
    assert_int_equal(routing_load(&c, 0.003), LOAD_LOW);
    c.moe.gate = GATE_SOFT; /* top_k is not used */
    c.moe.experts = 2;
    c.moe.top_k = 2;
    assert_int_equal(routing_load(&c, 0.95), LOAD_HIGH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_texts),
        cmocka_unit_test(bad_runs),
        cmocka_unit_test(overrides_become_text),
        cmocka_unit_test(scaling_makes_runs),
        cmocka_unit_test(scaling_laws_go_through_runs),
        cmocka_unit_test(runs_every_name_and_seed_once),
        cmocka_unit_test(readers_change_nothing),
        cmocka_unit_test(goes_on_after_a_failure),
        cmocka_unit_test(warns_after_fifty_steps),
        cmocka_unit_test(loads),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}
