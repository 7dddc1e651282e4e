#include "train/session.h"
#include "base/memory.h"
#include "nn/freeze.h"
#include "nn/plan.h"
#include "nn/spread.h"
#include "store/checkpoint_folder.h"
#include "store/open.h"
#include "train/choice.h"
#include "train/events.h"
#include "train/init.h"
#include "train/meeting.h"
#include "train/mix_report.h"
#include "train/schedule.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void session_say(const session *s, const char *format, ...) {
    va_list arguments;
    if (!session_leads(s)) return;
    va_start(arguments, format);
    if (s->progress.terminal) fputs("\r\033[K", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

/* ---- ranks ---- */

bool session_leads(const session *s) {
    return s->ranks->rank == 0;
}

status session_follow(const session *s, status outcome, void *found, size_t bytes) {
    TRY(comm_agree(s->ranks, outcome));
    return comm_broadcast(s->ranks, 0, found, bytes);
}

/* ---- device, tokenizer, data ---- */

static bool begins_with_model(const train_config *c) {
    return c->init && *c->init;
}

static status open_vocabulary(session *s) {
    run_config *c = &s->config;
    const bool begun = begins_with_model(&c->train);
    TRY(data_config_look(&c->data));
    char *path = data_config_tokenizer(&c->data);
    status result = open_tokenizer(path, &s->tok);
    if (result == STATUS_OK && c->model.vocab_size == 0) c->model.vocab_size = tokenizer_vocab_size(s->tok);
    if (result == STATUS_OK && c->model.vocab_size < tokenizer_vocab_size(s->tok))
        result =
            fail_usage("vocab_size: expected at least %d, the tokens of %s, found %d%s%s", tokenizer_vocab_size(s->tok),
                       path, c->model.vocab_size, begun ? ", that of init " : "", begun ? c->train.init : "");
    free(path);
    return result;
}

static status open_data(session *s) {
    const run_config *c = &s->config;
    TRY(loader_open(&s->data, c->data.path, c->model.vocab_size, tokenizer_bos(s->tok), c->train.batch, c->train.seq,
                    c->train.shuffle, c->train.seed));
    if (c->data.mix.count > 0) TRY(loader_mix(s->data, &c->data.mix));
    TRY(labels_bind(&s->labels, &c->labels, s->data, &s->config.model));
    if (distill_needs_cache(&c->distill)) TRY(loader_teach(s->data, c->distill.teacher, s->tok, NULL));
    if (average_is_kept(&c->average)) s->kept_rows = loader_keep(s->data, c->average.choice_tokens);
    if (c->train.val_every <= 0) return STATUS_OK;
    if (!path_is_folder(c->data.path))
        return fail_usage("val_every: data is no folder with held-out text: %s", c->data.path);
    return scored_text_open(&s->held_out, c->data.path, c->model.vocab_size);
}

/* ---- the model, from nothing or from a checkpoint ---- */

static status create_states(session *s) {
    const run_config *c = &s->config;
    TRY(pass_create(&s->p, s->m));
    pass_set_recompute(s->p, c->train.recompute);
    pass_take_turns(s->p, (pass_turns){.ranks = s->ranks, .batches = c->train.accumulate});
    TRY(optimizer_create_shared(&s->o, &c->optimizer, s->m, s->ranks));
    return average_create(&s->e, &c->average, schedule_average_start(&c->average, &c->optimizer), s->m);
}

static void say_init(const session *s, const init_report *r) {
    const train_config *c = &s->config.train;
    session_say(s, "weights from the %s %s%s%s", r->kind, c->init, r->note ? ": " : "", r->note ? r->note : "");
    if (*r->changed) session_say(s, "not as there: %s", r->changed);
    if (!r->tokenizer)
        session_say(s, "%s has no tokenizer that moec could compare: the data must be made with its own", c->init);
    if (c->seq > r->context)
        session_say(s, "seq %" PRId64 " is longer than the %d tokens that %s is made for", c->seq, r->context, c->init);
}

static status init_model(session *s) {
    const char *from = s->config.train.init;
    init_report report;
    if (!begins_with_model(&s->config.train)) return model_init(s->m, s->config.train.seed);
    TRY(init_weights(from, s->m, s->tok, &report));
    say_init(s, &report);
    init_report_free(&report);
    return STATUS_OK;
}

static status create_model(session *s, const model_config *config) {
    const train_config *c = &s->config.train;
    const name_list *frozen = &c->freeze;
    TRY(model_create_spread(&s->m, config, s->k, frozen, (comm_group){s->ranks, (int)c->expert_ranks}));
    return freeze_check(frozen, s->m);
}

static uint64_t teachers_of(const session *s) {
    const uint64_t both[] = {loader_teacher(s->data), s->teacher.weights};
    return both[0] || both[1] ? crc64(0, both, sizeof both) : 0;
}

static status start_fresh(session *s) {
    TRY(create_model(s, &s->config.model));
    TRY(init_model(s));
    s->state.text = loader_fingerprint(s->data);
    s->state.teachers = teachers_of(s);
    return create_states(s);
}

/* That the configuration is the run's own, or what of it may change. */
static status check_changes(session *s, const checkpoint *c, bool allowed) {
    const uint64_t text = loader_fingerprint(s->data), teachers = teachers_of(s);
    TRY(resume_compare(&s->changes, c, &s->state, &s->config, text, teachers, s->tok));
    s->state.text = text;
    s->state.teachers = teachers;
    if (allowed || !run_changes_make_another(&s->changes)) return STATUS_OK;
    char *others = run_changes_text(&s->changes, false);
    const status result =
        fail_usage("%s: resuming it like this would make another run of it: %s; --allow-changes does it all the same",
                   s->config.train.run, others);
    free(others);
    return result;
}

static status load_model(session *s, const checkpoint *c) {
    model_config saved;
    TRY(checkpoint_load_model_config(c, &saved));
    const model_config as = run_changes_model(&s->changes, &saved, &s->config);
    TRY(model_config_check(&as));
    TRY(create_model(s, &as));
    return checkpoint_fill_model(c, "live", s->m);
}

/* A checkpoint from before the average's start has none; an average from the first step on must be there. */
static status load_average(session *s, const checkpoint *c) {
    if (!s->e || (!checkpoint_has_average(c) && !average_begun(s->e))) return STATUS_OK;
    return checkpoint_load_average(c, s->e);
}

static status load_checkpoint(session *s, const checkpoint *c, bool allow_changes) {
    TRY(checkpoint_verify(c));
    TRY(checkpoint_load_state(c, &s->state));
    TRY(check_changes(s, c, allow_changes));
    TRY(load_model(s, c));
    TRY(create_states(s));
    int fresh = 0;
    TRY(checkpoint_load_optimizer(c, s->o, allow_changes ? &fresh : NULL));
    if (fresh > 0)
        session_say(s, "the optimiser begins anew for %d tensors, of which the checkpoint has no means", fresh);
    TRY(load_average(s, c));
    const event_target target = {.m = s->m, .o = s->o, .e = s->e, .seed = s->config.train.seed};
    for (int i = 0; i < s->config.events.count; i++)
        if (s->state.fired[i]) TRY(event_restore(&s->config.events.items[i], &target));
    loader_seek(s->data, s->state.position);
    s->saved_step = s->state.step;
    s->choice = c->choice;
    return STATUS_OK;
}

static status recover(session *s, train_start start) {
    if (start == TRAIN_OVERWRITE || !session_leads(s)) return STATUS_OK;
    char *checkpoints = path_join(s->config.train.run, "checkpoints");
    const status recovered = checkpoint_recover(checkpoints);
    free(checkpoints);
    return recovered;
}

static status begin_or_resume(session *s, train_start start) {
    if (start == TRAIN_OVERWRITE) return start_fresh(s);
    checkpoint *c;
    TRY(checkpoint_open(&c, s->config.train.run));
    status result = STATUS_OK;
    if (c && start == TRAIN_NEW)
        result = fail_usage("%s already holds checkpoints: --resume goes on from them, --overwrite begins anew",
                            s->config.train.run);
    else
        result = c ? load_checkpoint(s, c, start == TRAIN_RESUME_CHANGED) : start_fresh(s);
    checkpoint_close(c);
    return result;
}

/* ---- the run's folder ---- */

static status take_folder(session *s, train_start start) {
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
    if (begins_with_model(&c->train)) cJSON_AddStringToObject(record, "init", c->train.init);
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

static void say_start(const session *s) {
    const run_config *c = &s->config;
    char ranks[128] = "", experts[48] = "";
    if (c->train.expert_ranks > 1) snprintf(experts, sizeof experts, "experts on %" PRId64 ", ", c->train.expert_ranks);
    if (s->ranks->ranks > 1)
        snprintf(ranks, sizeof ranks, "%d ranks (%s), %seach ", s->ranks->ranks, s->ranks->name, experts);
    session_say(s, "%s: %.2f M parameters, %" PRId64 " tokens a step, %.1f M tokens of text, %s, %s, %s%d threads%s",
                c->train.run, (double)model_param_total(s->m) / 1e6,
                c->train.batch * c->train.seq * c->train.accumulate, (double)loader_tokens(s->data) / 1e6,
                dtype_name(s->k->act), kernels_isa(), ranks, kernels_threads(),
                s->state.step || begins_with_model(&c->train) ? "" : ", from scratch");
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

/* What is different now, whether work is left to do or not. */
static void say_changes(const session *s) {
    for (int harmless = 0; harmless < 2; harmless++) {
        char *text = run_changes_text(&s->changes, harmless);
        if (*text) session_say(s, "%s: %s", harmless ? "changed" : "changed, another run from here on", text);
        free(text);
    }
}

bool session_finished(const session *s) {
    const train_config *c = &s->config.train;
    return (c->steps > 0 && s->state.step >= c->steps) || (c->max_seconds > 0 && s->state.seconds >= c->max_seconds) ||
           looks_say_stop(&s->state.looks, c);
}

bool session_interrupted(const session *s) {
    return s->interrupted || (s->ranks->ranks == 1 && interrupt_requested());
}

/* That the model that events will have made of it can be had by expert_ranks. */
static status check_spread(const session *s) {
    const model_config m = model_after_events(&s->config.events, &s->config.model);
    return spread_check(s->ranks, (int)s->config.train.expert_ranks, &m);
}

/* What needs no folder of the run. */
static status open_sources(session *s) {
    TRY(gradients_check(s->ranks, s->config.train.accumulate));
    TRY(check_spread(s));
    TRY(comm_share_cores(s->ranks));
    TRY(device_open(s->config.train.device, s->config.train.dtype, &s->k));
    TRY(open_vocabulary(s));
    TRY(open_data(s));
    TRY(model_config_check(&s->config.model));
    TRY(hidden_teacher_find(&s->teacher, &s->config.distill, &s->config.model, s->tok));
    s->memory = train_memory_of(&s->config, s->k->act);
    if (hidden_teacher_config(&s->teacher))
        train_memory_add_teacher(&s->memory, &s->config, hidden_teacher_config(&s->teacher), s->k->act);
    train_memory_share(&s->memory, &s->config, s->ranks->ranks, s->ranks->local_ranks);
    return train_memory_check(&s->memory, &s->config, memory_of_machine());
}

static status compare_ranks(const session *s, const run_config *config, train_start start) {
    if (s->ranks->ranks == 1) return STATUS_OK;
    const void *vocabulary;
    size_t bytes;
    tokenizer_bytes(s->tok, &vocabulary, &bytes);
    const uint64_t facts[RANK_FACTS] = {[FACT_BUILD] = fact_of_build(),
                                        [FACT_INSTRUCTIONS] =
                                            crc64((uint64_t)s->k->act, kernels_isa(), strlen(kernels_isa())),
                                        [FACT_START] = (uint64_t)start,
                                        [FACT_TEXT] = loader_fingerprint(s->data),
                                        [FACT_TOKENIZER] = crc64(0, vocabulary, bytes),
                                        [FACT_TEACHERS] = teachers_of(s)};
    return ranks_compare(s->ranks, config, facts);
}

/* Everyone finds the checkpoint that rank 0 holds. */
static status begin_alike(session *s, train_start start) {
    TRY(comm_agree(s->ranks, begin_or_resume(s, start)));
    const uint64_t state[] = {(uint64_t)s->state.tokens, s->state.position.epoch, s->state.position.window,
                              s->state.text};
    return ranks_compare_checkpoints(s->ranks, s->saved_step, crc64(0, state, sizeof state));
}

status session_open(session *s, const run_config *config, train_start start) {
    *s = (session){.config = *config, .saved_step = -1, .ranks = comm_alone()};
    TRY(comm_open(&s->ranks));
    TRY(comm_agree(s->ranks, open_sources(s)));
    TRY(compare_ranks(s, config, start));
    TRY(comm_agree(s->ranks, take_folder(s, start)));
    TRY(comm_agree(s->ranks, recover(s, start)));
    TRY(begin_alike(s, start));
    TRY(comm_agree(s->ranks, hidden_teacher_load(&s->teacher, s->k)));
    say_changes(s);
    return STATUS_OK;
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

static status begin_folder(session *s, train_start start) {
    if (!session_leads(s)) return STATUS_OK;
    TRY(open_log(s, start));
    TRY(restore_best(s));
    return write_config(s);
}

status session_begin(session *s, train_start start) {
    TRY(session_follow(s, begin_folder(s, start), &s->state, sizeof s->state));
    s->progress = progress_start("train");
    s->progress.started -= s->state.seconds; /* elapsed and left are those of the whole training */
    s->saved_at = clock_seconds();
    say_start(s);
    return STATUS_OK;
}

void session_close(session *s) {
    mirrors_close(&s->mirrors);
    run_log_close(s->log);
    average_destroy(s->e);
    if (s->m) gradients_free(&s->sum, s->m->k);
    optimizer_destroy(s->o);
    pass_destroy(s->p);
    hidden_teacher_close(&s->teacher);
    if (s->m) model_destroy(s->m);
    scored_text_close(&s->held_out);
    labels_free(&s->labels);
    if (s->data) loader_close(s->data);
    if (s->tok) tokenizer_close(s->tok);
    lock_release(&s->lock);
    run_changes_free(&s->changes);
    *s = (session){0};
}

/* ---- while it runs ---- */

static status write_checkpoint(session *s) {
    if (!session_leads(s)) return STATUS_OK;
    TRY(run_log_sync(s->log));
    return checkpoint_save(s->config.train.run, &s->config, s->m, s->e, s->o, s->tok, &s->state, &s->choice);
}

status session_save(session *s) {
    if (s->saved_step == s->state.step && !s->unsaved) return STATUS_OK;
    double started = clock_seconds();
    TRY(optimizer_gather(s->o));
    TRY(average_gather(s->e));
    TRY(spread_collect(s->m, 0, false));
    const status written = comm_agree(s->ranks, write_checkpoint(s));
    spread_release(s->m);
    TRY(written);
    s->saved_step = s->state.step;
    s->unsaved = false;
    s->saved_at = clock_seconds();
    session_say(s, "step %" PRId64 ": checkpoint saved (%.2f s)", s->state.step, s->saved_at - started);
    return STATUS_OK;
}

bool session_choice_owed(const session *s) {
    return average_begun(s->e) && s->kept_rows > 0 && s->choice.tokens == 0;
}

status session_choose(session *s) {
    if (!session_choice_owed(s)) return STATUS_OK;
    TRY(choose_weights(s->ranks, s->p, s->e, s->data, s->tok, &s->choice));
    const weights_choice *c = &s->choice;
    if (c->tokens == 0) return STATUS_OK;
    s->unsaved = true;
    session_say(s,
                "step %" PRId64 ": the %s weights are better: on %" PRId64
                " tokens kept from training, live %.4f, averaged %.4f bits per byte",
                s->state.step, choice_is_average(c) ? "averaged" : "live", c->tokens, c->live_bpb, c->average_bpb);
    return STATUS_OK;
}

static status look_alone(session *s, double *bits, cJSON **domains) {
    const train_config *c = &s->config.train;
    const scored_text *h = &s->held_out;
    const bpb_options options = {
        .seq = c->seq, .stride = c->seq, .batch = c->batch, .tokens = c->val_tokens, .seed = h->seed};
    bpb_result found = {0};
    status result = bpb_evaluate(s->p, s->tok, &h->s, scored_text_documents(h), &options, &found);
    if (result == STATUS_OK) {
        *bits = bpb(&found.total);
        *domains = bpb_by_domain(&found, bpb);
    }
    bpb_result_free(&found);
    return result;
}

/* By rank 0, who then has all experts, for all of them. */
static status look_by_one(session *s, double *bits, cJSON **domains) {
    TRY(spread_collect(s->m, 0, true));
    const status looked = session_leads(s) ? look_alone(s, bits, domains) : STATUS_OK;
    spread_release(s->m);
    return session_follow(s, looked, bits, sizeof *bits);
}

status session_look(session *s, bool averaged, double *bits, cJSON **domains) {
    *domains = NULL;
    if (averaged) TRY(average_swap(s->e, s->m));
    const status looked = look_by_one(s, bits, domains);
    const status back = averaged ? average_swap(s->e, s->m) : STATUS_OK;
    return looked == STATUS_OK ? back : looked;
}
