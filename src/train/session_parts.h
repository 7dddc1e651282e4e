/* The steps by which a session is opened: what it is opened on (session_model.c), and the run's folder (session_folder.c). */
#ifndef MOEC_TRAIN_SESSION_PARTS_H
#define MOEC_TRAIN_SESSION_PARTS_H

#include "train/session.h"

/* Whether the model begins with weights of `init`. */
static inline bool session_has_init(const train_config *c) {
    return c->init && *c->init;
}

/* ---- session_model.c ---- */

/* The tokenizer, the training text and what belongs to it, the held-out text where the training looks at it. */
status session_open_text(session *s);
/* What stands for the teachers in a checkpoint. */
uint64_t session_teachers(const session *s);
/* The model with its states, from nothing or from the run's newest checkpoint. */
status session_begin_model(session *s, train_start start);

/* ---- session_folder.c, rank 0's business ---- */

/* The run's folder, and the lock in it. */
status session_take_folder(session *s, train_start start);
/* What a kill has left of the checkpoints is put in order. */
status session_recover(session *s, train_start start);
/* The log with its first record, the name of the best checkpoint, and the configuration; of an overwritten run the rest goes. */
status session_begin_folder(session *s, train_start start);
void session_say_start(const session *s);
/* What is different now, whether work is left to do or not. */
void session_say_changes(const session *s);

#endif
