/* A model as a teacher: it runs over the tokens of some shards, and what it thinks of each goes to a cache (text/teacher_cache.h),
 * which a loader then gives to those who learn (loader_teach). */
#ifndef MOEC_EVAL_TEACH_H
#define MOEC_EVAL_TEACH_H

#include "comm/comm.h"
#include "nn/pass.h"
#include "text/shard_set.h"
#include "text/teacher_cache.h"

typedef struct teaching_options {
    teacher_facts
        facts;     /* windows of `seq` tokens of which `stride` are new ones, as in bpb.h; vocab_size is the model's */
    int64_t batch; /* windows a pass; rounding in a pass may depend on it */
    int bos;       /* of the text; < 0: no documents are known */
    const char *shown; /* what the progress line says; NULL: none is shown */
    comm *
        ranks; /* who have the blocks that lack between them, and write their own; rank 0 has the result of all. NULL: this
                          process alone */
} teaching_options;

typedef struct teaching_result {
    int64_t tokens; /* of the text */
    int64_t there;  /* of them in the cache: all, where nothing interrupted */
    int64_t taught; /* of those in this call */
    int64_t bytes;  /* of the files of a whole cache */
    double covered; /* Σ over the taught of the probability of their k tokens */
    int64_t among;  /* how many of the taught are one of the k tokens */
    double seconds;
} teaching_result;

/* All shards' tokens are one text: each is seen behind those before it, in whichever shard they lie. Goes on where an earlier call
 * ended, however it ended, and the same batches then give the same bytes. STATUS_INTERRUPTED: what is there stays, too. One
 * process, or the ranks of one job, teaches in a folder at a time; files have their names when all of them is there. */
status teach_shards(pass *p, const shard_set *text, const char *folder, const teaching_options *options,
                    teaching_result *result);

#endif
