/* The training loop. Order of a step, as in #2102: the rate's factor, due events, forward and backward of the
 * micro-batches, clipping and the optimisers, the average; then, outside the training's seconds, a look at held-out text,
 * the log and a checkpoint. */
#include "train/train.h"
#include "base/file.h"
#include "base/memory.h"
#include "train/events.h"
#include "train/meeting.h"
#include "train/mix_report.h"
#include "train/routing_watch.h"
#include "train/schedule.h"
#include "train/session.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Fire what is due, in the order of the configuration, each event once. */
static status fire_events(session *s, double fraction, step_record *record) {
    const event_target target = {.m = s->m, .o = s->o, .e = s->e, .seed = s->config.train.seed};
    double warmdown = schedule_warmdown(&s->config.optimizer, fraction);
    for (int i = 0; i < s->config.events.count; i++) {
        const event *e = &s->config.events.items[i];
        if (s->state.fired[i] || !schedule_due(e, fraction, warmdown)) continue;
        char *description;
        TRY(event_fire(e, &target, &description));
        s->state.fired[i] = true;
        session_say(s, "step %" PRId64 " (%.0f %%): %s: %s", s->state.step + 1, 100 * fraction,
                    event_kind_name(e->kind), description);
        if (!record->events) record->events = cJSON_CreateArray();
        cJSON *fired = cJSON_CreateObject();
        cJSON_AddStringToObject(fired, "do", event_kind_name(e->kind));
        cJSON_AddStringToObject(fired, "what", description);
        cJSON_AddItemToArray(record->events, fired);
        free(description);
    }
    return STATUS_OK;
}

/* What a teacher says counts as the fraction has it. */
static status ask_teacher(session *s, double fraction, step_record *record) {
    const run_config *c = &s->config;
    const distill_args asked = distill_at(&c->distill, c->model.num_layers, &s->teacher, fraction);
    record->has_kl = asked.teacher_weight > 0;
    record->has_hidden = asked.hidden_weight > 0;
    return pass_distill(s->p, &asked);
}

/* The own micro-batch of a round; the loader passes over the other ranks', so that it stands at the same place on all. */
static status train_round(session *s) {
    batch b;
    for (int rank = 0; rank < s->ranks->ranks; rank++) {
        TRY(loader_next(s->data, &b));
        if (rank != s->ranks->rank) continue;
        model_zero_grad(s->m);
        TRY(pass_train(s->p, &b, 1 / (float)s->config.train.accumulate));
    }
    return STATUS_OK;
}

/* Gradients of the mean loss over config.accumulate micro-batches, of which each rank makes every ranks-th. */
static status accumulate_gradients(session *s, double fraction) {
    const int64_t rounds = s->config.train.accumulate / s->ranks->ranks;
    labels_apply(&s->labels, &s->config.labels, s->p, fraction);
    TRY(gradients_begin(&s->sum, s->ranks, s->o, s->m, rounds));
    pass_clear(s->p);
    for (int64_t round = 0; round < rounds; round++) {
        gradients_expect(&s->sum, s->p, round, rounds);
        TRY(train_round(s));
        TRY(gradients_add(&s->sum, s->p));
    }
    return pass_meet(s->p);
}

static status check_losses(const pass_statistics *found) {
    if (!isfinite(found->ce + found->aux))
        return fail("the loss is not finite: cross-entropy %g, aux %g", found->ce, found->aux);
    if (!isfinite(found->kl + found->hidden))
        return fail("the loss is not finite: divergence from the teacher %g, distance of hidden states %g", found->kl,
                    found->hidden);
    return STATUS_OK;
}

/* The host looks at the step's numbers only here, when everything was handed to the device. */
static status update(session *s, double fraction, step_record *record) {
    const status updated = optimizer_step(s->o, s->state.step, record->lr_factor, &record->grad_norm);
    const pass_statistics *found = pass_read(s->p);
    step_record_take(record, found);
    if (check_losses(found) != STATUS_OK) return comm_alike(s->ranks, STATUS_FAILED);
    TRY(updated);
    model_balance_experts(s->m, found);
    return s->e ? average_update(s->e, s->state.step, fraction) : STATUS_OK;
}

/* What only one rank knows. */
static status meet(session *s, double *seconds) {
    const train_config *c = &s->config.train;
    step_meeting m = {.interrupted = interrupt_requested(), .seconds = *seconds};
    m.checkpoint_due = c->checkpoint_seconds > 0 && clock_seconds() - s->saved_at >= c->checkpoint_seconds;
    TRY(ranks_meet(s->ranks, &m));
    s->interrupted = m.interrupted;
    s->checkpoint_due = m.checkpoint_due;
    *seconds = m.seconds;
    return STATUS_OK;
}

/* One step of training; only this counts as training time. */
static status train_step(session *s, step_record *record) {
    double started = clock_seconds();
    const train_config *c = &s->config.train;
    double fraction = schedule_fraction(c, s->state.step, s->state.seconds);
    record->lr_factor = schedule_lr_factor(c, &s->config.optimizer, fraction);
    record->lr = record->lr_factor * s->config.optimizer.matrix_lr;
    TRY(fire_events(s, fraction, record));
    TRY(ask_teacher(s, fraction, record));
    TRY(accumulate_gradients(s, fraction));
    TRY(update(s, fraction, record));
    int64_t tokens = c->batch * c->seq * c->accumulate;
    double seconds = clock_seconds() - started;
    TRY(meet(s, &seconds));
    s->state.step++;
    s->choice = (weights_choice){0}; /* was of other weights */
    s->state.tokens += tokens;
    s->state.seconds += seconds;
    s->state.position = loader_tell(s->data);
    record->drawn = mix_drawn_tokens(s->data);
    record->step = s->state.step;
    record->tokens = s->state.tokens;
    record->seconds = s->state.seconds;
    record->tokens_per_second = (double)tokens / seconds;
    return STATUS_OK;
}

/* A failure leaves the newest checkpoint as it was; say at which step, and which checkpoint that is. */
static status explain(const session *s, int64_t step, status failure) {
    if (failure != STATUS_FAILED) return failure;
    char *message = xstrdup(error_message());
    if (s->saved_step >= 0)
        fail("step %" PRId64 ": %s; the checkpoint of step %" PRId64 " in %s is whole", step, message, s->saved_step,
             s->config.train.run);
    else
        fail("step %" PRId64 ": %s; there is no checkpoint yet", step, message);
    free(message);
    return failure;
}

/* Ctrl-C came in all ranks: the look is made when the run is resumed. */
static void cut_look(session *s) {
    s->look_cut = true;
    comm_settled(s->ranks);
}

/* Bits per byte, or `found` false where Ctrl-C cut the look short: the step is saved and logged without it. */
static status look_at(session *s, bool averaged, double *bits, cJSON **domains, bool *found) {
    status outcome = session_look(s, averaged, bits, domains);
    *found = outcome == STATUS_OK;
    if (outcome != STATUS_INTERRUPTED) return explain(s, s->state.step, outcome);
    cut_look(s);
    return STATUS_OK;
}

enum { DOMAIN_SUMMARY = 160, SUMMARY_DOMAINS = 6 };

/* " (code 1.68, scripture 1.39)"; nothing where one domain is all, and only the first ones of many. */
static void domain_summary(const cJSON *domains, char text[DOMAIN_SUMMARY]) {
    text[0] = '\0';
    if (cJSON_GetArraySize(domains) < 2) return;
    const cJSON *domain;
    size_t length = 0;
    int shown = 0;
    cJSON_ArrayForEach(domain, domains) {
        if (length + 64 >= DOMAIN_SUMMARY) break; /* a name of 12 bytes and a number of 39 digits fit behind that */
        const char *before = shown ? ", " : " (";
        length += (size_t)(shown++ < SUMMARY_DOMAINS ? snprintf(text + length, DOMAIN_SUMMARY - length, "%s%.12s %.2f",
                                                                before, domain->string, domain->valuedouble)
                                                     : snprintf(text + length, DOMAIN_SUMMARY - length, ", …"));
        if (shown > SUMMARY_DOMAINS) break;
    }
    snprintf(text + length, DOMAIN_SUMMARY - length, ")");
}

static bool look_due(const session *s) {
    const int64_t every = s->config.train.val_every;
    return every > 0 && s->state.step > 0 && (s->state.step % every == 0 || session_finished(s));
}

static void say_stop(const session *s) {
    const looks *l = &s->state.looks;
    session_say(s,
                "step %" PRId64 ": %" PRId64
                " looks without a gain%s: the training ends here (best: %.4f at step %" PRId64 ")",
                s->state.step, l->stale, s->config.train.early_stop_delta > 0 ? " of early_stop_delta" : "",
                l->best_bits, l->best_step);
}

/* The held-out text, every val_every steps and at the end, where the average is looked at too. */
static status look(session *s, step_record *record) {
    if (!look_due(s)) return STATUS_OK;
    TRY(look_at(s, false, &record->val_bpb, &record->val_domains, &record->has_val));
    if (record->has_val) looks_add(&s->state.looks, &s->config.train, s->state.step, record->val_bpb);
    if (session_finished(s) && average_begun(s->e))
        TRY(look_at(s, true, &record->val_bpb_ema, &record->val_ema_domains, &record->has_val_ema));
    char averaged[64] = "", domains[DOMAIN_SUMMARY], routing[ROUTING_SUMMARY];
    domain_summary(record->val_domains, domains);
    if (record->has_val_ema) snprintf(averaged, sizeof averaged, ", %.4f averaged", record->val_bpb_ema);
    routing_summary(record, &s->m->config, routing);
    if (record->has_val)
        session_say(s, "step %" PRId64 ": %.4f bits per byte held out%s%s%s%s", s->state.step, record->val_bpb, domains,
                    averaged, routing[0] ? "; " : "", routing);
    if (record->has_val && looks_say_stop(&s->state.looks, &s->config.train)) say_stop(s);
    return STATUS_OK;
}

/* A look that was due at the step that the run is resumed from, and that Ctrl-C ended: its record goes without it. */
static status look_is_owed(const session *s, bool *owed) {
    cJSON *logged;
    *owed = false;
    if (!look_due(s)) return STATUS_OK;
    if (!session_leads(s)) return session_follow(s, STATUS_OK, owed, sizeof *owed);
    char *path = path_join(s->config.train.run, RUN_LOG_FILE);
    const status found = run_log_find(path, s->state.step, &logged);
    free(path);
    *owed = found == STATUS_OK && logged &&
            (!cJSON_HasObjectItem(logged, "val_bpb") ||
             (session_finished(s) && average_begun(s->e) && !cJSON_HasObjectItem(logged, "val_bpb_ema")));
    if (found == STATUS_OK) cJSON_Delete(logged);
    return session_follow(s, found, owed, sizeof *owed);
}

static void say_warning(void *context, const char *line) {
    const session *s = context;
    session_say(s, "step %" PRId64 ": %s", s->state.step, line);
}

/* "  kl 0.4213  hidden 0.0312"; nothing without a teacher. */
static void teacher_summary(const step_record *r, char text[64]) {
    char hidden[32] = "";
    text[0] = '\0';
    if (r->has_hidden) snprintf(hidden, sizeof hidden, "  hidden %.4f", r->hidden);
    if (r->has_kl)
        snprintf(text, 64, "  kl %.4f%s", r->kl, hidden);
    else
        snprintf(text, 64, "%s", hidden);
}

static void show(session *s, const step_record *record, double smooth_loss) {
    const train_config *c = &s->config.train;
    if (!session_leads(s) || c->log_every <= 0 || (s->state.step % c->log_every != 0 && !session_finished(s))) return;
    char detail[256], labels[48] = "", teacher[64];
    double by_time = c->max_seconds > 0 ? s->state.seconds / c->max_seconds : 0;
    double by_steps = c->steps > 0 ? (double)s->state.step / (double)c->steps : 0;
    double ce, hits;
    teacher_summary(record, teacher);
    if (labels_found(record->routing, record->routed, &ce, &hits))
        snprintf(labels, sizeof labels, "  labels %.3f (%.0f %%)", ce, 100 * hits);
    snprintf(detail, sizeof detail, "step %" PRId64 "  loss %.4f%s%s  %.0f tokens/s", s->state.step, smooth_loss,
             teacher, labels, record->tokens_per_second);
    progress_show(&s->progress, fmin(fmax(by_time, by_steps), 1), detail);
}

static bool checkpoint_due(const session *s) {
    const train_config *c = &s->config.train;
    const bool best = c->keep_best && s->state.looks.best_step == s->state.step;
    return session_finished(s) || session_interrupted(s) || s->look_cut || best || s->checkpoint_due ||
           (c->checkpoint_every > 0 && s->state.step % c->checkpoint_every == 0);
}

/* At the end with what is known of the weights then; Ctrl-C while that is found out leaves it to the run that is resumed. */
static status save(session *s) {
    status chosen = session_finished(s) && !s->look_cut ? session_choose(s) : STATUS_OK;
    if (chosen == STATUS_INTERRUPTED)
        cut_look(s);
    else
        TRY(explain(s, s->state.step, chosen));
    return explain(s, s->state.step, session_save(s));
}

static status make_up_for_look(session *s) {
    step_record *record = xcalloc(1, sizeof *record);
    record->step = s->state.step;
    const int64_t looked = s->state.looks.step;
    status outcome = look(s, record);
    const bool whole = !s->look_cut;
    if (outcome == STATUS_OK && s->state.looks.step != looked) {
        s->unsaved = true; /* the checkpoint of this step does not know of the look */
        outcome = save(s); /* before the log does: a look that is in the log is not made again */
    }
    if (outcome == STATUS_OK && whole && session_leads(s)) outcome = run_log_amend(s->log, record);
    outcome = comm_agree(s->ranks, outcome);
    step_record_free(record);
    free(record);
    return outcome;
}

static status train_loop(session *s, train_result *result) {
    step_record record = {0};
    routing_watch watch = {0};
    double smooth_loss = -1; /* for the console: the log has every step's own */
    status outcome = STATUS_OK;
    while (outcome == STATUS_OK && !session_finished(s) && !session_interrupted(s) && !s->look_cut) {
        step_record_free(&record);
        outcome = explain(s, s->state.step + 1, train_step(s, &record));
        if (outcome != STATUS_OK) break;
        result->loss = record.ce;
        smooth_loss = smooth_loss < 0 ? record.ce : 0.9 * smooth_loss + 0.1 * record.ce;
        routing_watch_step(&watch, &s->m->config, &record, say_warning, s);
        show(s, &record, smooth_loss);
        outcome = look(s, &record);
        status logged = session_leads(s) ? run_log_step(s->log, &record) : STATUS_OK;
        if (outcome == STATUS_OK) outcome = explain(s, s->state.step, logged);
        if (outcome == STATUS_OK && checkpoint_due(s)) outcome = save(s);
    }
    step_record_free(&record);
    routing_watch_free(&watch);
    return outcome;
}

/* Ctrl-C came before the end, or before the last look's: the step was finished, and the state is on the disk. */
static status interrupted(session *s) {
    TRY(save(s));
    fail("interrupted after step %" PRId64 ", which is saved; --resume goes on from there", s->state.step);
    return comm_alike(s->ranks, STATUS_INTERRUPTED);
}

static status train_session(session *s, bool look_owed, train_result *result) {
    if (look_owed) TRY(make_up_for_look(s));
    status mirrored = STATUS_OK;
    if (session_leads(s)) mirrored = mirrors_open(&s->mirrors, &s->config, s->log, &s->held_out.documents, s->data);
    TRY(comm_agree(s->ranks, mirrored));
    if (!s->look_cut) TRY(train_loop(s, result));
    if (!session_finished(s) || s->look_cut) return interrupted(s);
    TRY(save(s));
    if (s->look_cut) return interrupted(s);
    char detail[128];
    snprintf(detail, sizeof detail, isnan(result->loss) ? "%" PRId64 " steps" : "%" PRId64 " steps  loss %.4f",
             s->state.step, result->loss);
    if (session_leads(s)) progress_end(&s->progress, detail);
    char *drawn = mix_describe_drawn(s->data);
    if (drawn) session_say(s, "drawn: %s", drawn);
    free(drawn);
    return STATUS_OK;
}

/* A finished run that is resumed stays as it is, to the byte. */
static status run_session(session *s, train_start start, train_result *result) {
    bool look_owed = false;
    const bool resumed = s->saved_step >= 0;
    if (resumed) TRY(look_is_owed(s, &look_owed));
    result->idle = resumed && session_finished(s) && !look_owed && !session_choice_owed(s);
    if (result->idle) return STATUS_OK;
    TRY(session_begin(s, start));
    interrupt_catch();
    interrupt_announce("stopping: the step is finished and saved first; once more ends it at once");
    const status outcome = train_session(s, look_owed, result);
    interrupt_announce(NULL);
    return outcome;
}

status train_run(const run_config *config, train_start start, train_result *result) {
    session s;
    *result = (train_result){.loss = NAN};
    status outcome = session_open(&s, config, start);
    if (outcome == STATUS_OK) outcome = run_session(&s, start, result);
    result->state = s.state;
    if (s.state.seconds > 0) result->tokens_per_second = (double)s.state.tokens / s.state.seconds;
    session_close(&s);
    return outcome;
}
