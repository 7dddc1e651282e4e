#include "train/session_parts.h"

#include "base/memory.h"
#include "nn/spread.h"
#include "store/checkpoint_folder.h"
#include "train/choice.h"
#include "train/meeting.h"
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
    TRY(session_open_text(s));
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
                                        [FACT_TEACHERS] = session_teachers(s)};
    return ranks_compare(s->ranks, config, facts);
}

/* Everyone finds the checkpoint that rank 0 holds. */
static status begin_alike(session *s, train_start start) {
    TRY(comm_agree(s->ranks, session_begin_model(s, start)));
    const uint64_t state[] = {(uint64_t)s->state.tokens, s->state.position.epoch, s->state.position.window,
                              s->state.text};
    return ranks_compare_checkpoints(s->ranks, s->saved_step, crc64(0, state, sizeof state));
}

status session_open(session *s, const run_config *config, train_start start) {
    *s = (session){.config = *config, .saved_step = -1, .ranks = comm_alone()};
    TRY(comm_open(&s->ranks));
    TRY(comm_agree(s->ranks, open_sources(s)));
    TRY(compare_ranks(s, config, start));
    TRY(comm_agree(s->ranks, session_take_folder(s, start)));
    TRY(comm_agree(s->ranks, session_recover(s, start)));
    TRY(begin_alike(s, start));
    TRY(comm_agree(s->ranks, hidden_teacher_load(&s->teacher, s->k)));
    session_say_changes(s);
    return STATUS_OK;
}

status session_begin(session *s, train_start start) {
    TRY(session_follow(s, session_begin_folder(s, start), &s->state, sizeof s->state));
    s->progress = progress_start("train");
    s->progress.started -= s->state.seconds; /* elapsed and left are those of the whole training */
    s->saved_at = clock_seconds();
    session_say_start(s);
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
