#include "train/meeting.h"
#include "base/file.h"
#include "base/memory.h"
#include "config/compare.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

uint64_t fact_of_build(void) {
    uint64_t crc;
    return file_crc64("/proc/self/exe", &crc) == STATUS_OK ? crc : 0;
}

/* ---- the same program on the same text ---- */

static const char *const fact_names[RANK_FACTS] = {[FACT_BUILD] = "another build of moec than",
                                                   [FACT_INSTRUCTIONS] =
                                                       "another instruction set (MOEC_ISA) or dtype than",
                                                   [FACT_START] = "another way to start (--resume, --overwrite) than",
                                                   [FACT_TEXT] = "another text under the key data than",
                                                   [FACT_TOKENIZER] = "another tokenizer than",
                                                   [FACT_TEACHERS] = "another teacher than"};

static status compare_facts(const comm *ranks, const uint64_t *own, const uint64_t *first) {
    for (int i = 0; i < RANK_FACTS && ranks->rank > 0; i++)
        if (own[i] != first[i]) return fail_usage("%s rank 0", fact_names[i]);
    return STATUS_OK;
}

/* ---- the same configuration ---- */

static status say_differences(const run_config *config, const char *first) {
    run_config theirs = run_config_default();
    status s = run_config_parse(&theirs, "the configuration of rank 0", first, strlen(first));
    if (s == STATUS_OK) {
        config_differences found = config_compare(&run_schema, &theirs, config);
        char *meant = config_differences_text(&found, false), *harmless = config_differences_text(&found, true);
        s = fail_usage("another configuration than rank 0: %s%s%s", meant, *meant && *harmless ? ", " : "", harmless);
        free(meant);
        free(harmless);
        config_differences_free(&found);
    }
    run_config_free(&theirs);
    return s;
}

static status compare_config(comm *ranks, const run_config *config) {
    char *own = run_config_text(config);
    int64_t bytes = (int64_t)strlen(own) + 1;
    status s = comm_broadcast(ranks, 0, &bytes, sizeof bytes);
    char *first = s == STATUS_OK ? xcalloc((size_t)bytes, 1) : NULL;
    if (first && ranks->rank == 0) memcpy(first, own, (size_t)bytes);
    if (s == STATUS_OK) s = comm_broadcast(ranks, 0, first, (size_t)bytes);
    if (s == STATUS_OK && strcmp(own, first) != 0) s = say_differences(config, first);
    free(first);
    free(own);
    return s;
}

status ranks_compare(comm *ranks, const run_config *config, const uint64_t facts[RANK_FACTS]) {
    uint64_t first[RANK_FACTS];
    if (ranks->ranks == 1) return STATUS_OK;
    memcpy(first, facts, sizeof first);
    TRY(comm_broadcast(ranks, 0, first, sizeof first));
    const status build = first[FACT_BUILD] == facts[FACT_BUILD] ? STATUS_OK : compare_facts(ranks, facts, first);
    TRY(comm_agree(ranks, build)); /* others may not even have the same keys */
    TRY(comm_agree(ranks, compare_config(ranks, config)));
    return comm_agree(ranks, compare_facts(ranks, facts, first));
}

status ranks_compare_checkpoints(comm *ranks, int64_t step, uint64_t state) {
    const int64_t own[2] = {step, (int64_t)state};
    int64_t first[2] = {step, (int64_t)state};
    if (ranks->ranks == 1) return STATUS_OK;
    TRY(comm_broadcast(ranks, 0, first, sizeof first));
    status s = STATUS_OK;
    if (first[0] != own[0])
        s = fail("the run's newest checkpoint is of step %" PRId64 " here and of step %" PRId64
                 " for rank 0: expected one folder "
                 "that all ranks see",
                 own[0], first[0]);
    else if (first[1] != own[1])
        s = fail("the checkpoint of step %" PRId64
                 " is another one than rank 0's: expected one folder that all ranks see",
                 step);
    return comm_agree(ranks, s);
}

/* ---- after a step ---- */

status ranks_meet(comm *ranks, step_meeting *m) {
    if (ranks->ranks == 1) return STATUS_OK;
    const double own[] = {m->interrupted, m->checkpoint_due, m->seconds};
    enum { VALUES = sizeof own / sizeof *own };
    double *all = xcalloc((size_t)ranks->ranks, sizeof own);
    const status s = comm_gather(ranks, own, all, sizeof own);
    for (int r = 0; r < ranks->ranks; r++) m->interrupted |= all[r * VALUES] != 0;
    m->checkpoint_due = all[1] != 0;
    m->seconds = all[2];
    free(all);
    return s;
}
