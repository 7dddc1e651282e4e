#include "train/config.h"
#include "base/memory.h"
#include "config/load.h"
#include "config/write.h"
#include "nn/config_fields.h"
#include "train/init.h"
#include "train/schedule.h"
#include <stdlib.h>

static const config_part parts[] = {
    {&data_section, offsetof(run_config, data)},       {&model_section, offsetof(run_config, model)},
    {&train_section, offsetof(run_config, train)},     {&optimizer_section, offsetof(run_config, optimizer)},
    {&average_section, offsetof(run_config, average)}, {&distill_section, offsetof(run_config, distill)},
    {&events_section, offsetof(run_config, events)},   {&label_section, offsetof(run_config, labels)},
    {&pack_section, offsetof(run_config, pack)},       {&eval_section, offsetof(run_config, eval)},
};
const config_schema run_schema = {TABLE_AND_COUNT(parts)};

run_config run_config_default(void) {
    return (run_config){
        .data = data_config_default(),
        .model = model_config_default(),
        .train = train_config_default(),
        .optimizer = optimizer_config_default(),
        .average = average_config_default(),
        .distill = distill_config_default(),
        .events = event_list_default(),
        .labels = label_config_default(),
        .pack = pack_config_default(),
        .eval = eval_config_default(),
    };
}

void run_config_free(run_config *c) {
    schema_free(&run_schema, c);
}

/* ---- the rules ---- */

/* That the average begins at all. Whether SWA then meets a step to take depends on how long the run is made: a run of a
 * few steps simply ends without an average. */
static status check_average_start(const run_config *c) {
    const double start = schedule_average_start(&c->average, &c->optimizer);
    if (!average_is_kept(&c->average) || start < 1) return STATUS_OK;
    return fail_usage("%s: expected a start before the end of the training, found %g with warmdown_frac %g",
                      c->average.kind == AVERAGE_SWA ? "swa_start" : "ema_start", start, c->optimizer.warmdown_frac);
}

static status check_stride(const run_config *c) {
    if (c->eval.stride <= c->train.seq) return STATUS_OK;
    return fail_usage("eval_stride: expected at most seq %lld, found %lld", (long long)c->train.seq,
                      (long long)c->eval.stride);
}

status run_config_check(const run_config *c) {
    TRY(section_check(&data_section, &c->data));
    TRY(model_config_check(&c->model));
    TRY(train_config_check(&c->train));
    TRY(optimizer_config_check(&c->optimizer));
    TRY(section_check(&average_section, &c->average));
    TRY(distill_config_check(&c->distill, c->model.num_layers));
    TRY(section_check(&label_section, &c->labels));
    TRY(pack_config_check(&c->pack));
    TRY(section_check(&eval_section, &c->eval));
    TRY(check_stride(c));
    TRY(check_average_start(c));
    return event_list_check(&c->events, &c->model);
}

/* ---- reading and writing ---- */

/* A stride belongs to the seq that it was written beside: a seq that was shortened later takes it along. */
static void shorten_stride(run_config *c, const int *texts) {
    const int stride = texts[schema_find(&run_schema, "eval_stride")], seq = texts[schema_find(&run_schema, "seq")];
    const bool meant = stride > 0 && stride >= seq;
    if (!meant && c->eval.stride > c->train.seq) c->eval.stride = c->train.seq;
}

/* Of which kind the text is that gave a key last; `overrides`: the number of the overrides' text. */
static key_given given_by(int text, int overrides) {
    return text == 0 ? KEY_NOT_GIVEN : text == overrides ? KEY_OVERRIDDEN : KEY_IN_FILE;
}

/* What the model is of a run that begins with another one's weights. */
static status take_over_model(run_config *c, const int *texts, bool overridden) {
    int overrides = 0;
    if (!c->train.init || !*c->train.init) return STATUS_OK;
    for (int i = 0; i < schema_size(&run_schema) && overridden; i++)
        if (texts[i] > overrides) overrides = texts[i];
    key_given *given = xcalloc((size_t)model_section.count, sizeof *given);
    for (int i = 0; i < model_section.count; i++)
        given[i] = given_by(texts[schema_find(&run_schema, model_section.fields[i].key)], overrides);
    if (texts[schema_find(&run_schema, "events")] == 0) c->events.count = 0;
    const status s = init_model_config(c->train.init, given, &c->model);
    free(given);
    return s;
}

static status load(run_config *c, const char *path, char *const *overrides, int override_count, bool begins) {
    int *texts = xcalloc((size_t)schema_size(&run_schema), sizeof *texts);
    status s = config_load(&run_schema, c, path, overrides, override_count, texts);
    if (s == STATUS_OK && begins) s = take_over_model(c, texts, override_count > 0);
    if (s == STATUS_OK) {
        shorten_stride(c, texts);
        s = fail_in(run_config_check(c), "%s", path ? path : "configuration");
    }
    free(texts);
    return s;
}

status run_config_load(run_config *c, const char *path, char *const *overrides, int override_count) {
    return load(c, path, overrides, override_count, true);
}

status run_config_load_begun(run_config *c, const char *path, char *const *overrides, int override_count) {
    return load(c, path, overrides, override_count, false);
}

status run_config_parse(run_config *c, const char *where, const char *yaml, size_t bytes) {
    return config_parse(&run_schema, c, where, yaml, bytes);
}

status run_config_write(const run_config *c, const char *path) {
    return config_write(&run_schema, c, path);
}

char *run_config_text(const run_config *c) {
    return config_text(&run_schema, c);
}

void run_config_describe(FILE *out) {
    run_config defaults = run_config_default();
    config_describe(&run_schema, &defaults, out);
    run_config_free(&defaults);
}
