#include "train/config.h"
#include "base/file.h"
#include "base/memory.h"
#include "train/config_table.h"
#include "train/schedule.h"
#include <stdlib.h>
#include <string.h>

/* #2102's hyperparameters (../shared/reference.md, "Common ground" and "#2102 upcycle"). */
run_config run_config_default(void) {
    run_config c = {
        .run = xstrdup("runs/run"),
        .data = xstrdup("data"),
        .model = model_config_default(),
        .batch = 8, /* × 32 × 2048 = 524,288 tokens a step */
        .seq = 2048,
        .accumulate = 32,
        .steps = 5000,
        .seed = 1337,
        .shuffle = true,
        .dtype = xstrdup("auto"),
        .checkpoint_every = 1000,
        .checkpoint_seconds = 600,
        .keep_checkpoints = 2,
        .val_every = 1000,
        .val_tokens = 524288,
        .log_every = 10,
        .matrix_lr = 0.022,
        .embed_lr = 0.03,
        .head_lr = 0.008,
        .scalar_lr = 0.02,
        .muon_momentum = 0.99,
        .muon_momentum_warmup_start = 0.92,
        .muon_momentum_warmup_steps = 1500,
        .newton_schulz_steps = 5,
        .muon_nesterov = true,
        .muon_row_normalize = true,
        .muon_wd = 0.095,
        .embed_wd = 0.085,
        .beta1 = 0.9,
        .beta2 = 0.95,
        .adam_eps = 1e-8,
        .grad_clip = 0.3,
        .warmdown_frac = 0.72,
        .min_lr = 0.1,
        .average = AVERAGE_EMA,
        .ema_decay = 0.9965,
        .swa_start = START_AT_WARMDOWN,
        .swa_every = 50,
        .event_count = 3,
        .budget_bytes = 16000000,
        .pack_bits = 6,
        .embed_bits = 8,
        .calibration_batches = 16,
        .gptq_damp = 0.01,
        .eval_stride = 2048,
        .blend_lambda = 0.03,
    };
    c.events[0] = (event){.at = 0.30, .kind = EVENT_UPCYCLE, .experts = 2, .top_k = 1, .bits = 6};
    c.events[0].layers[4] = c.events[0].layers[5] = true;
    c.events[1] = (event){.at = 0.35, .kind = EVENT_LOOP, .experts = 2, .top_k = 1, .bits = 6};
    c.events[2] = (event){.below_lr = 0.15, .kind = EVENT_QAT, .experts = 2, .top_k = 1, .bits = 6};
    return c;
}

void run_config_free(run_config *c) {
    free(c->run);
    free(c->data);
    free(c->tokenizer);
    free(c->dtype);
    c->run = c->data = c->tokenizer = c->dtype = NULL;
}

bool run_config_averages(const run_config *c) {
    return c->average == AVERAGE_SWA || (c->average == AVERAGE_EMA && c->ema_decay > 0);
}

/* ---- the rules ---- */

static status check_ranges(const run_config *c) {
    for (int i = 0; i < RUN_CONFIG_FIELDS; i++) {
        config_field f = run_config_field(i);
        if (field_in_range(&f, c)) continue;
        char *expected = field_expected(&f), *found = f.type == FIELD_CHOICE ? NULL : field_text(&f, c);
        status s = fail_usage("%s: expected %s, found %s", f.key, expected, found ? found : "nothing");
        free(expected);
        free(found);
        return s;
    }
    return STATUS_OK;
}

static status check_training(const run_config *c) {
    if (c->steps == 0 && c->max_seconds == 0)
        return fail_usage("steps: expected at least 1 where max_seconds is 0, found 0");
    if (c->warmup_frac + c->warmdown_frac > 1)
        return fail_usage("warmup_frac: expected at most 1 - warmdown_frac = %g, found %g", 1 - c->warmdown_frac,
                          c->warmup_frac);
    if (c->eval_stride > c->seq)
        return fail_usage("eval_stride: expected at most seq %lld, found %lld", (long long)c->seq,
                          (long long)c->eval_stride);
    if (c->embed_bits == 1) return fail_usage("embed_bits: expected 0 or 2 to 8, found 1");
    return STATUS_OK;
}

/* That the average begins at all. Whether SWA then meets a step to take depends on how long the run is made: a run of a
 * few steps simply ends without an average. */
static status check_average(const run_config *c) {
    if (!run_config_averages(c) || schedule_average_start(c) < 1) return STATUS_OK;
    return fail_usage("%s: expected a start before the end of the training, found %g with warmdown_frac %g",
                      c->average == AVERAGE_SWA ? "swa_start" : "ema_start", schedule_average_start(c),
                      c->warmdown_frac);
}

static int highest_layer(const bool *layers) {
    int highest = -1;
    for (int i = 0; i < MODEL_MAX_LAYERS; i++)
        if (layers[i]) highest = i;
    return highest;
}

/* An upcycle event, given the model as earlier events left it. */
static status check_upcycle(const event *e, int number, const model_config *m) {
    int highest = highest_layer(e->layers);
    if (highest < 0) return fail_usage("events[%d].layers: expected at least one layer, found []", number);
    if (highest >= m->num_layers)
        return fail_usage("events[%d].layers: expected layers below num_layers %d, found %d", number, m->num_layers,
                          highest);
    if (m->moe.shared_mult > 0 || m->moe.split || m->moe.expert_mult > 0)
        return fail_usage("events[%d].do: upcycle copies whole MLPs: expected moe_shared_mult 0, moe_expert_mult 0 and "
                          "moe_split false",
                          number);
    for (int i = 0; i < m->num_layers; i++)
        if (e->layers[i] && m->random_up.layers[i])
            return fail_usage("events[%d].layers: expected layers without random_up_layers, found %d", number, i);
    if (e->top_k > e->experts)
        return fail_usage("events[%d].top_k: expected at most experts %d, found %d", number, e->experts, e->top_k);
    for (int i = 0; i < m->num_layers; i++) {
        bool moe = model_config_is_moe(m, i);
        if (moe && e->layers[i])
            return fail_usage("events[%d].layers: expected layers without experts, found %d", number, i);
        /* One number of experts and one top_k hold for all mixture layers of a model. */
        if (moe && (m->moe.experts != e->experts || m->moe.top_k != e->top_k))
            return fail_usage("events[%d].experts: expected layer %d's %d with top_k %d, found %d with top_k %d",
                              number, i, m->moe.experts, m->moe.top_k, e->experts, e->top_k);
    }
    return STATUS_OK;
}

static void apply_event(const event *e, model_config *m) {
    if (e->kind == EVENT_LOOP) m->loop.on = true;
    if (e->kind != EVENT_UPCYCLE) return;
    for (int i = 0; i < MODEL_MAX_LAYERS; i++) m->moe.layers[i] |= e->layers[i];
    m->moe.experts = e->experts;
    m->moe.top_k = e->top_k;
}

/* The range of every key of event number `number`, and that it has its own time. */
static status check_event(const event *e, int number) {
    if (e->kind < 0 || e->kind > EVENT_QAT) return fail_usage("events[%d].do: unknown kind %d", number, e->kind);
    bool by_rate = e->below_lr != 0;
    for (int i = 0; i < EVENT_KEYS; i++) {
        const config_field *f = &event_fields[i].field;
        bool used = event_fields[i].kinds >> e->kind & 1;
        if (i == EVENT_KEY_BELOW_LR) used = by_rate;
        if (!used || field_in_range(f, e)) continue;
        char *expected = field_expected(f), *found = field_text(f, e);
        status s = fail_usage("events[%d].%s: expected %s, found %s", number, f->key, expected, found);
        free(expected);
        free(found);
        return s;
    }
    if (by_rate && e->kind != EVENT_QAT)
        return fail_usage("events[%d].below_lr: is no key of %s", number, event_kind_name(e->kind));
    return STATUS_OK;
}

static status check_events(const run_config *c) {
    if (c->event_count < 0 || c->event_count > MAX_EVENTS)
        return fail_usage("events: expected 0 to %d, found %d", MAX_EVENTS, c->event_count);
    model_config m = c->model;
    for (int i = 0; i < c->event_count; i++) {
        const event *e = &c->events[i];
        TRY(check_event(e, i));
        if (e->kind == EVENT_UPCYCLE) TRY(check_upcycle(e, i, &m));
        if (e->kind == EVENT_LOOP && m.loop.extra_passes == 0)
            return fail_usage("events[%d].do: loop expected num_loops of at least 1, found 0", i);
        apply_event(e, &m);
    }
    return model_config_check(&m);
}

status run_config_check(const run_config *c) {
    TRY(check_ranges(c));
    TRY(model_config_check(&c->model));
    TRY(check_training(c));
    TRY(check_average(c));
    return check_events(c);
}

model_config run_config_after_events(const run_config *c, const model_config *now) {
    model_config m = *now;
    for (int i = 0; i < c->event_count; i++) apply_event(&c->events[i], &m);
    return m;
}

/* ---- loading ---- */

enum { MAX_CONFIG_BYTES = 1 << 20, MAX_BASES = 8 };

static status read_file(run_config *c, const char *path, int depth, bool *given);

/* A preset that this one builds on; its path starts from this file's folder. */
static status read_base(run_config *c, const char *path, const char *base, int depth, bool *given) {
    const char *slash = strrchr(path, '/');
    if (depth >= MAX_BASES)
        return fail_usage("%s: base: expected at most %d presets on one another (a circle?)", path, MAX_BASES);
    char *file = *base == '/' || !slash ? xstrdup(base) : xasprintf("%.*s/%s", (int)(slash - path), path, base);
    status s = read_file(c, file, depth + 1, given);
    free(file);
    return s;
}

static status read_bases(run_config *c, const char *path, const char *text, size_t bytes, int depth, bool *given) {
    char **bases;
    int count;
    status s = run_config_bases(path, text, bytes, &bases, &count);
    for (int i = 0; i < count && s == STATUS_OK; i++) s = read_base(c, path, bases[i], depth, given);
    for (int i = 0; i < count; i++) free(bases[i]);
    free(bases);
    return s;
}

static status read_file(run_config *c, const char *path, int depth, bool *given) {
    uint8_t *bytes;
    size_t count;
    TRY(file_read(path, &bytes, &count));
    const char *text = (const char *)bytes;
    status s = count <= MAX_CONFIG_BYTES ? read_bases(c, path, text, count, depth, given)
                                         : fail_usage("%s: expected a configuration of at most %d bytes, found %zu",
                                                      path, MAX_CONFIG_BYTES, count);
    if (s == STATUS_OK) s = run_config_read(c, path, text, count, given);
    free(bytes);
    return s;
}

status run_config_load(run_config *c, const char *path, char *const *overrides, int override_count) {
    bool given[RUN_CONFIG_FIELDS] = {false}, overridden[RUN_CONFIG_FIELDS] = {false};
    int stride = run_config_find("eval_stride"), seq = run_config_find("seq");
    if (path) TRY(read_file(c, path, 0, given));
    for (int i = 0; i < override_count; i++) TRY(run_config_override(c, overrides[i], overridden));
    /* A stride belongs to the seq that it was written beside: a seq that was shortened later takes it along. */
    bool meant = overridden[stride] || (given[stride] && !overridden[seq]);
    if (!meant && c->eval_stride > c->seq) c->eval_stride = c->seq;
    status s = run_config_check(c);
    return s == STATUS_OK ? s : fail_in(s, "%s", path ? path : "configuration");
}
