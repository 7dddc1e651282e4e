/* What a session is opened on: its tokenizer and text, and the model, from nothing or from a checkpoint. */
#include "train/session_parts.h"

#include "nn/freeze.h"
#include "store/open.h"
#include "train/events.h"
#include "train/init.h"
#include "train/schedule.h"
#include <inttypes.h>
#include <stdlib.h>

/* ---- tokenizer and text ---- */

static status open_vocabulary(session *s) {
    run_config *c = &s->config;
    const bool begun = session_has_init(&c->train);
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

status session_open_text(session *s) {
    TRY(open_vocabulary(s));
    return open_data(s);
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
    if (!session_has_init(&s->config.train)) return model_init(s->m, s->config.train.seed);
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

uint64_t session_teachers(const session *s) {
    const uint64_t both[] = {loader_teacher(s->data), s->teacher.weights};
    return both[0] || both[1] ? crc64(0, both, sizeof both) : 0;
}

static status start_fresh(session *s) {
    TRY(create_model(s, &s->config.model));
    TRY(init_model(s));
    s->state.text = loader_fingerprint(s->data);
    s->state.teachers = session_teachers(s);
    return create_states(s);
}

/* That the configuration is the run's own, or what of it may change. */
static status check_changes(session *s, const checkpoint *c, bool allowed) {
    const uint64_t text = loader_fingerprint(s->data), teachers = session_teachers(s);
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

status session_begin_model(session *s, train_start start) {
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
