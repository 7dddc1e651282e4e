/* What a training will take of the machine's memory, from its configuration alone: said before it starts, and refused where there is
 * not so much. */
#ifndef MOEC_TRAIN_MEMORY_H
#define MOEC_TRAIN_MEMORY_H

#include "train/config.h"

/* Bytes. The model is that of the end, after all events. */
typedef struct train_memory {
    int64_t values;    /* of experts those that are here (nn/spread.h), as below */
    int64_t gradients; /* of experts as many as without expert_ranks: of the other ranks' micro-batches too */
    int64_t products;  /* the form of matrices that products read */
    int64_t states;    /* the optimisers' running means; of one rank's share, on average */
    int64_t sums;      /* of the gradients of several micro-batches, the same */
    int local_ranks;   /* that need as much of this machine each */
    int64_t average;
    /* An estimate: what the tape holds at the beginning of a backward pass, from measured sizes of blocks (tests/train/test_memory_need
     * compares it with the tape's). */
    int64_t activations;
    int64_t teacher; /* whose hidden states are compared: its weights, its pass and what is kept of it */
    int64_t total;
} train_memory;

/* act: of activations and products. */
train_memory train_memory_of(const run_config *c, dtype act);
/* For each of so many ranks, local_ranks of them on this machine. */
void train_memory_share(train_memory *m, const run_config *c, int ranks, int local_ranks);
/* And of the teacher_model, whose file alone knows what it is. */
void train_memory_add_teacher(train_memory *m, const run_config *c, const model_config *teacher, dtype act);
/* "2.1 GB: weights 0.5, gradients 0.5, …"; a new string. */
char *train_memory_text(const train_memory *m);
/* An error that says what takes so much, and which keys would take less, where `have` bytes are not enough. */
status train_memory_check(const train_memory *m, const run_config *c, uint64_t have);

#endif
