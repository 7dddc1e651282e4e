/* Presets that build on others, and which optimiser trains the parameters of each family. */
#include "test.h"

#include "nn/specs.h"
#include "train/config.h"
#include "train/optimizer.h"

static char *folder;

static char *write_preset(const char *name, const char *text) {
    char *path = path_join(folder, name);
    assert_ok(file_write_whole(path, text, strlen(text)));
    return path;
}

static status load(run_config *c, const char *name, char *const *overrides, int count) {
    char *path = path_join(folder, name);
    *c = run_config_default();
    status s = run_config_load(c, path, overrides, count);
    free(path);
    return s;
}

static void assert_refused(const char *name, const char *part) {
    run_config c;
    assert_fails(load(&c, name, NULL, 0), part);
    run_config_free(&c);
}

/* What stands later wins: bases in their order, then the preset's own keys, then overrides. */
static void later_wins(void **state) {
    (void)state;
    free(
        write_preset("first.yaml", "seq: 512\nbatch: 3\nsteps: 11\nmodel: {num_layers: 7, parallel_start_layer: 7}\n"));
    free(write_preset("second.yaml", "base: first.yaml\nbatch: 5\nsteps: 12\nloop_end: 4\n"));
    free(write_preset("size.yaml", "steps: 13\naccumulate: 2\n"));
    free(write_preset("last.yaml", "accumulate: 4\nbase: [second.yaml, ./size.yaml]\n"));
    run_config c;
    char *overrides[] = {"loop_end=5"};
    assert_ok(load(&c, "last.yaml", overrides, 1));
    assert_int_equal(c.train.seq, 512);
    assert_int_equal(c.train.batch, 5);
    assert_int_equal(c.train.steps, 13);
    assert_int_equal(c.train.accumulate, 4);
    assert_int_equal(c.model.num_layers, 7);
    assert_int_equal(c.model.loop.last, 5);
    char *path = path_join(folder, "written.yaml");
    assert_ok(run_config_write(&c, path)); /* whole: it needs no base */
    run_config back = run_config_default();
    assert_ok(run_config_load(&back, path, NULL, 0));
    assert_int_equal(back.model.num_layers, 7);
    run_config_free(&back);
    run_config_free(&c);
    free(path);
}

static void bad_bases(void **state) {
    (void)state;
    free(write_preset("circle.yaml", "base: other.yaml\n"));
    free(write_preset("other.yaml", "base: circle.yaml\n"));
    assert_refused("circle.yaml", "other.yaml:1: base: found a circle: ");
    free(write_preset("missing.yaml", "base: nowhere.yaml\n"));
    assert_refused("missing.yaml", "nowhere.yaml");
    free(write_preset("mapping.yaml", "steps: 5\nbase: {a: b}\n"));
    assert_refused("mapping.yaml", "mapping.yaml:2: base: expected the path");
    free(write_preset("twice.yaml", "base: size.yaml\nbase: size.yaml\n"));
    assert_refused("twice.yaml", "twice.yaml:2: base is given twice");
    free(write_preset("inner.yaml", "stesp: 5\n"));
    free(write_preset("outer.yaml", "base: inner.yaml\n"));
    assert_refused("outer.yaml", "inner.yaml:1: unknown key stesp; the nearest is steps");
    run_config c = run_config_default();
    assert_fails(run_config_parse(&c, "text", "base: first.yaml", 16), "unknown key base"); /* a text has no folder */
    run_config_free(&c);
}

/* A stride that a base was written with goes with the seq of that base; one that stands beside the seq, or is written later,
 * is meant. */
static void strides_follow_a_shorter_seq(void **state) {
    (void)state;
    free(write_preset("long.yaml", "seq: 512\neval_stride: 384\n"));
    free(write_preset("short.yaml", "base: long.yaml\nseq: 128\n"));
    run_config c;
    assert_ok(load(&c, "short.yaml", NULL, 0));
    assert_int_equal(c.eval.stride, 128);
    run_config_free(&c);
    assert_ok(load(&c, "long.yaml", (char *[]){"seq=256"}, 1));
    assert_int_equal(c.eval.stride, 256);
    run_config_free(&c);
    assert_fails(load(&c, "long.yaml", (char *[]){"seq=256", "eval_stride=384"}, 2),
                 "long.yaml: eval_stride: expected at most seq 256, found 384");
    run_config_free(&c);
    assert_fails(load(&c, "long.yaml", (char *[]){"eval_stride=600"}, 1), "expected at most seq 512, found 600");
    run_config_free(&c);
    free(write_preset("beside.yaml", "seq: 128\neval_stride: 384\n"));
    assert_refused("beside.yaml", "eval_stride: expected at most seq 128, found 384");
    free(write_preset("later.yaml", "base: short.yaml\neval_stride: 384\n"));
    assert_refused("later.yaml", "eval_stride: expected at most seq 128, found 384");
}

/* A preset's key of one family in a run of another. */
static void orphaned_keys(void **state) {
    (void)state;
    free(write_preset("dense.yaml", "events: []\nmoe_split: true\n"));
    assert_refused("dense.yaml", "moe_split: has no meaning without moe_layers or moe_start_layer");
    free(write_preset("rank.yaml", "random_up_rank: 8\n"));
    assert_refused("rank.yaml", "random_up_rank: has no meaning without random_up_layers");
    free(write_preset("upcycled.yaml", "random_up_layers: [4]\n"));
    assert_refused("upcycled.yaml", "events[0].layers: expected layers without random_up_layers, found 4");
    free(write_preset("narrow.yaml", "moe_expert_hidden: 16\n"));
    assert_refused("narrow.yaml", "events[0].do: upcycle copies whole MLPs");
    free(write_preset("shared.yaml", "moe_shared_hidden: 128\n"));
    assert_refused("shared.yaml", "events[0].do: upcycle copies whole MLPs");
}

static void assert_group(param_role role, int ndim, param_group group) {
    float grad;
    param p = {.role = (int)role, .value = {.ndim = ndim, .shape = {64, 64}}, .grad = &grad};
    if (optimizer_group(&p) != group)
        fail_msg("%s: in group %s", role_pattern(role), param_group_name(optimizer_group(&p)));
}

static void groups(void **state) {
    (void)state;
    assert_group(ROLE_BIGRAM_TABLE, 2, GROUP_EMBED);
    assert_group(ROLE_TRIGRAM_TABLE, 2, GROUP_EMBED);
    assert_group(ROLE_HEAD, 2, GROUP_HEAD);
    assert_group(ROLE_BIGRAM_PROJ, 2, GROUP_MATRIX);
    assert_group(ROLE_TRIGRAM_SCALE, 0, GROUP_SCALAR);
    assert_group(ROLE_SMEAR_GATE, 1, GROUP_SCALAR);
    assert_group(ROLE_ROUTER, 2, GROUP_ROUTER);
    assert_group(ROLE_EXPERT_FC, 2, GROUP_MATRIX);
    assert_group(ROLE_SHARED_PROJ, 2, GROUP_MATRIX);
    assert_group(ROLE_SHARED_GATE, 2, GROUP_SCALAR);
    assert_group(ROLE_C_Q_BIAS, 1, GROUP_SCALAR);
    assert_group(ROLE_ATTN_NORM, 1, GROUP_SCALAR);
    assert_group(ROLE_ADAPTER_ROUTER, 2, GROUP_SCALAR);
    assert_group(ROLE_ADAPTER_UP, 2, GROUP_SCALAR);
    assert_group(ROLE_ADAPTER_DOWN, 2, GROUP_SCALAR);
    assert_group(ROLE_ADAPTER_GAIN, 1, GROUP_SCALAR);
    param frozen = {.role = ROLE_RANDOM_WEIGHT, .value = {.ndim = 2, .shape = {64, 64}}};
    assert_int_equal(optimizer_group(&frozen), GROUP_FROZEN);
}

/* ---- the presets that are shipped ---- */

/* What Muon must never see: its orthogonalised updates would mix experts, or channels that mean something each. */
static bool is_control(const char *name) {
    static const char *const parts[] = {"router", "mlp.gate", "adapter", "gain",  "_scale",  ".scale",
                                        "skip_",  "smear",    "mix",     "embed", "_emb.we", "head"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(name, parts[i])) return true;
    return false;
}

typedef struct grouped {
    const char *preset;
    int muon, adam, routers;
} grouped;

static void check_group(void *context, const param_spec *spec) {
    grouped *g = context;
    if (role_is_frozen(spec->role) || role_is_derived(spec->role)) return;
    float grad;
    char name[PARAM_NAME_BYTES];
    param_spec_name(spec, name);
    param p = {.name = name, .role = (int)spec->role, .value = {.ndim = spec->ndim}, .grad = &grad};
    const param_group group = optimizer_group(&p);
    g->muon += group == GROUP_MATRIX;
    g->adam += group != GROUP_MATRIX;
    g->routers += spec->role == ROLE_ROUTER || spec->role == ROLE_ADAPTER_ROUTER;
    const bool belongs = spec->ndim == 2 && !is_control(name);
    if ((group == GROUP_MATRIX) != belongs || group == GROUP_FROZEN)
        fail_msg("%s: %s in group %s", g->preset, name, param_group_name(group));
}

static void check_preset(const char *path, int *routers) {
    run_config c = run_config_default();
    assert_ok(run_config_load(&c, path, NULL, 0));
    const model_config after = model_after_events(&c.events, &c.model), *const models[] = {&c.model, &after};
    for (int i = 0; i < 2; i++) {
        grouped g = {.preset = path};
        model_specs_visit(models[i], check_group, &g);
        assert_true(g.muon > 0 && g.adam > 0);
        *routers += g.routers;
    }
    run_config_free(&c);
}

static void groups_of_every_preset(void **state) {
    (void)state;
    static const char *const folders[] = {"configs", "configs/cpu"};
    int presets = 0, routers = 0;
    for (int f = 0; f < 2; f++) {
        char **names;
        size_t count;
        assert_ok(folder_list(folders[f], &names, &count));
        for (size_t i = 0; i < count; i++) {
            char *path = path_join(folders[f], names[i]);
            if (strstr(names[i], ".yaml") && strcmp(names[i], "size.yaml") != 0) {
                check_preset(path, &routers);
                presets++;
            }
            free(path);
            free(names[i]);
        }
        free(names);
    }
    assert_true(presets > 40 && routers > 0);
}

int main(void) {
    folder = scratch_create();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_wins),    cmocka_unit_test(bad_bases), cmocka_unit_test(strides_follow_a_shorter_seq),
        cmocka_unit_test(orphaned_keys), cmocka_unit_test(groups),    cmocka_unit_test(groups_of_every_preset)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    scratch_remove(folder);
    return failed;
}
