/* A session's folder: who has it, the log's first record, and what is said at the start. */
#include "train/session_parts.h"

#include "store/checkpoint_folder.h"
#include "train/mix_report.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the run's folder ---- */

status session_take_folder(session *s, train_start start) {
    const char *run = s->config.train.run;
    path_kind kind;
    if (!session_leads(s)) return STATUS_OK;
    TRY(path_look(run, &kind));
    if ((start == TRAIN_RESUME || start == TRAIN_RESUME_CHANGED) && kind != PATH_FOLDER)
        return fail("%s: no run to resume there", run);
    TRY(folder_create(run));
    char *path = path_join(run, "lock");
    status result = lock_take(&s->lock, path, "moec train");
    free(path);
    return result;
}

status session_recover(session *s, train_start start) {
    if (start == TRAIN_OVERWRITE || !session_leads(s)) return STATUS_OK;
    char *checkpoints = path_join(s->config.train.run, "checkpoints");
    const status recovered = checkpoint_recover(checkpoints);
    free(checkpoints);
    return recovered;
}

/* Its log is emptied when the new one is opened. */
static status clear_folder(session *s) {
    char *checkpoints = path_join(s->config.train.run, "checkpoints"), *kept;
    status result = checkpoint_clear(checkpoints, &kept);
    if (result == STATUS_OK) result = mirrors_remove(s->config.train.run);
    if (kept) session_say(s, "kept, since moec train did not make it: %s", kept);
    free(kept);
    free(checkpoints);
    return result;
}

/* ---- the log's first record ---- */

static void header_data(cJSON *record, const session *s) {
    const run_config *c = &s->config;
    cJSON_AddNumberToObject(record, "params", (double)model_param_total(s->m));
    cJSON_AddItemToObject(record, "model", model_config_to_json(&s->m->config));
    if (session_has_init(&c->train)) cJSON_AddStringToObject(record, "init", c->train.init);
    if (distill_needs_cache(&c->distill)) cJSON_AddStringToObject(record, "teacher", c->distill.teacher);
    if (s->teacher.p) cJSON_AddStringToObject(record, "teacher_model", c->distill.teacher_model);
    cJSON_AddStringToObject(record, "data", c->data.path);
    cJSON_AddNumberToObject(record, "data_tokens", (double)loader_tokens(s->data));
    if (loader_mixture(s->data)) cJSON_AddItemToObject(record, "mix", mix_shares(s->data));
    cJSON_AddNumberToObject(record, "tokens_per_step", (double)(c->train.batch * c->train.seq * c->train.accumulate));
    cJSON_AddNumberToObject(record, "steps", (double)c->train.steps);
    cJSON_AddNumberToObject(record, "max_seconds", c->train.max_seconds);
    cJSON_AddNumberToObject(record, "memory_bytes", (double)s->memory.total);
    cJSON_AddNumberToObject(record, "seed", (double)c->train.seed);
}

static status write_header(session *s) {
    cJSON *record = cJSON_CreateObject();
    cJSON_AddStringToObject(record, "record", s->state.step ? "resume" : "header");
    if (s->state.step) cJSON_AddNumberToObject(record, "from_step", (double)s->state.step);
    cJSON_AddStringToObject(record, "moec", MOEC_VERSION);
    cJSON_AddNumberToObject(record, "time", time_of_day());
    cJSON_AddStringToObject(record, "isa", kernels_isa());
    cJSON_AddNumberToObject(record, "threads", kernels_threads());
    if (s->ranks->ranks > 1) cJSON_AddNumberToObject(record, "ranks", s->ranks->ranks);
    if (s->config.train.expert_ranks > 1)
        cJSON_AddNumberToObject(record, "expert_ranks", (double)s->config.train.expert_ranks);
    cJSON_AddStringToObject(record, "dtype", dtype_name(s->k->act));
    if (s->state.step) cJSON_AddItemToObject(record, "changes", run_changes_json(&s->changes));
    if (!s->state.step) header_data(record, s);
    return run_log_write(s->log, record);
}

static status open_log(session *s, train_start start) {
    char *path = path_join(s->config.train.run, RUN_LOG_FILE), *note = NULL;
    status result = s->state.step ? run_log_continue(&s->log, path, s->state.step, &note) : run_log_check(path);
    if (result == STATUS_OK && start == TRAIN_OVERWRITE) result = clear_folder(s);
    if (result == STATUS_OK && !s->state.step) result = run_log_create(&s->log, path);
    if (note) session_say(s, "%s", note);
    free(note);
    free(path);
    return result == STATUS_OK ? write_header(s) : result;
}

static status write_config(const session *s) {
    char *path = path_join(s->config.train.run, RUN_CONFIG_FILE);
    status result = run_config_write(&s->config, path);
    free(path);
    return result;
}

/* The name `best` as the state has it: a kill may have come before it was set, and a checkpoint may be gone. */
static status restore_best(session *s) {
    bool found = false;
    if (s->state.step == 0 || !s->config.train.keep_best) return STATUS_OK;
    char *checkpoints = path_join(s->config.train.run, "checkpoints");
    const status result = checkpoint_mark_best(checkpoints, s->state.looks.best_step, &found);
    free(checkpoints);
    if (!found) s->state.looks.best_step = 0; /* the best of those to come */
    return result;
}

status session_begin_folder(session *s, train_start start) {
    if (!session_leads(s)) return STATUS_OK;
    TRY(open_log(s, start));
    TRY(restore_best(s));
    return write_config(s);
}

/* ---- what is said ---- */

void session_say_start(const session *s) {
    const run_config *c = &s->config;
    char ranks[128] = "", experts[48] = "";
    if (c->train.expert_ranks > 1) snprintf(experts, sizeof experts, "experts on %" PRId64 ", ", c->train.expert_ranks);
    if (s->ranks->ranks > 1)
        snprintf(ranks, sizeof ranks, "%d ranks (%s), %seach ", s->ranks->ranks, s->ranks->name, experts);
    session_say(s, "%s: %.2f M parameters, %" PRId64 " tokens a step, %.1f M tokens of text, %s, %s, %s%d threads%s",
                c->train.run, (double)model_param_total(s->m) / 1e6,
                c->train.batch * c->train.seq * c->train.accumulate, (double)loader_tokens(s->data) / 1e6,
                dtype_name(s->k->act), kernels_isa(), ranks, kernels_threads(),
                s->state.step || session_has_init(&c->train) ? "" : ", from scratch");
    char *memory = train_memory_text(&s->memory);
    session_say(s, "memory %s", memory);
    free(memory);
    char *mix = mix_describe(s->data);
    if (mix) session_say(s, "mix: %s", mix);
    free(mix);
    char *teacher = distill_describe(&c->distill);
    if (teacher) session_say(s, "teacher: %s", teacher);
    free(teacher);
    if (s->state.step)
        session_say(s, "resumed at step %" PRId64 " after %.0f s of training", s->state.step, s->state.seconds);
}

void session_say_changes(const session *s) {
    for (int harmless = 0; harmless < 2; harmless++) {
        char *text = run_changes_text(&s->changes, harmless);
        if (*text) session_say(s, "%s: %s", harmless ? "changed" : "changed, another run from here on", text);
        free(text);
    }
}
