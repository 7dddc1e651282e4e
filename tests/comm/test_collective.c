/* What ranks do together, by threads that send each other letters. */
#include "ranks.h"

#include <stdlib.h>

/* What each rank found goes here, for the main thread to look at. */
typedef struct found {
    int gathered[MOST_RANKS][MOST_RANKS];
    double broadcast[MOST_RANKS];
    char parts[MOST_RANKS][4][8];
    status agreed[MOST_RANKS];
    char message[MOST_RANKS][200];
    bool knows[MOST_RANKS];
    int failing; /* the rank that fails from here on, with all behind it; −1: none */
} found;

static void gather_and_share(comm *c, void *context) {
    found *f = context;
    const int own = 100 + c->rank;
    double value = c->rank == 1 ? 2.5 : 0;
    comm_gather(c, &own, f->gathered[c->rank], sizeof own);
    comm_broadcast(c, 1, &value, sizeof value);
    f->broadcast[c->rank] = value;
    const comm_part parts[] = {{2, f->parts[c->rank][0], 8, 0},
                               {0, f->parts[c->rank][1], 0, 0},
                               {0, f->parts[c->rank][2], 8, 1},
                               {2, c->rank % 2 == 0 ? f->parts[c->rank][3] : NULL, 8, 2}}; /* even ones have room */
    if (c->rank == 2) strcpy(f->parts[2][0], "two");
    if (c->rank == 0) strcpy(f->parts[0][2], "zero");
    if (c->rank == 2) strcpy(f->parts[2][3], "even");
    comm_share(c, parts, 4);
}

static void everyone_gets_everything(void **state) {
    (void)state;
    for (int ranks = 3; ranks <= MOST_RANKS; ranks++) {
        found f = {0};
        run_ranks(ranks, gather_and_share, &f);
        for (int r = 0; r < ranks; r++) {
            for (int other = 0; other < ranks; other++) assert_int_equal(f.gathered[r][other], 100 + other);
            assert_true(f.broadcast[r] == 2.5);
            assert_string_equal(f.parts[r][0], "two");
            assert_string_equal(f.parts[r][2], "zero");
            assert_string_equal(f.parts[r][3], r % 2 == 0 ? "even" : "");
        }
    }
}

static void agree(comm *c, void *context) {
    found *f = context;
    const bool fails = f->failing >= 0 && c->rank >= f->failing;
    f->agreed[c->rank] = comm_agree(c, fails ? fail_usage("%d birds are too many", c->rank) : STATUS_OK);
    snprintf(f->message[c->rank], sizeof f->message[c->rank], "%s", error_message());
    f->knows[c->rank] = c->agreed;
}

static void the_lowest_failure_is_everyones(void **state) {
    (void)state;
    for (int failing = -1; failing < 4; failing++) {
        found f = {.failing = failing};
        char expected[64] = "";
        if (failing == 0) strcpy(expected, "0 birds are too many");
        if (failing > 0) snprintf(expected, sizeof expected, "rank %d: %d birds are too many", failing, failing);
        run_ranks(4, agree, &f);
        for (int r = 0; r < 4; r++) {
            assert_int_equal(f.agreed[r], failing < 0 ? STATUS_OK : STATUS_USAGE);
            assert_string_equal(f.message[r], expected);
            assert_int_equal(f.knows[r], failing >= 0);
        }
    }
}

static void one_rank_needs_nobody(void **state) {
    (void)state;
    comm *c = comm_alone();
    int own = 7, all = 0;
    assert_ok(comm_gather(c, &own, &all, sizeof own));
    assert_int_equal(all, 7);
    assert_ok(comm_broadcast(c, 0, &own, sizeof own));
    assert_ok(comm_agree(c, STATUS_OK));
    assert_int_equal(comm_agree(c, fail("alone")), STATUS_FAILED);
    assert_string_equal(error_message(), "alone");
    assert_true(comm_speaks(STATUS_FAILED));
    const comm_message nobody = {.rank = 1, .data = &own, .bytes = sizeof own};
    assert_int_equal(c->exchange(c, &nobody, 1, NULL, 0), STATUS_FAILED);
}

static int asked;
static status never_answered(comm *c, const comm_message *send, int sends, const comm_message *receive, int receives) {
    (void)send, (void)sends, (void)receive, (void)receives;
    asked++;
    c->lost = true;
    return fail("rank 1: not heard from");
}

/* Whoever has waited for a time-out does not wait for another one to tell the others. */
static void a_lost_rank_is_waited_for_once(void **state) {
    (void)state;
    comm c = {.name = "deaf", .ranks = 4, .exchange = never_answered};
    int own = 0, all[4];
    asked = 0;
    const status s = comm_agree(&c, comm_gather(&c, &own, all, sizeof own));
    assert_int_equal(s, STATUS_FAILED);
    assert_int_equal(asked, 1);
    assert_string_equal(error_message(), "rank 1: not heard from");
    assert_false(c.agreed); /* so that its end ends the job */
    assert_int_equal(comm_agree(&c, STATUS_OK), STATUS_FAILED);
    assert_int_equal(asked, 1);
}

/* A process that does its own part of something is one rank, whatever a launcher says. */
static void work_alone_is_one_rank(void **state) {
    (void)state;
    comm *c;
    setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
    setenv("OMPI_COMM_WORLD_RANK", "1", 1);
    comm_work_alone(true);
    assert_ok(comm_open(&c));
    comm_work_alone(false);
    assert_int_equal(c->ranks, 1);
    unsetenv("OMPI_COMM_WORLD_SIZE");
    unsetenv("OMPI_COMM_WORLD_RANK");
}

/* ---- what a launcher's environment says ---- */

static int launched(const char *ranks, const char *ranks_value, const char *rank, const char *rank_value) {
    static const char *const all[] = {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK",
                                      "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) unsetenv(all[i]);
    if (ranks_value) setenv(ranks, ranks_value, 1);
    if (rank_value) setenv(rank, rank_value, 1);
    const int n = comm_launched();
    unsetenv(ranks);
    unsetenv(rank);
    return n;
}

static void launchers_are_known(void **state) {
    (void)state;
    assert_int_equal(launched("OMPI_COMM_WORLD_SIZE", NULL, "OMPI_COMM_WORLD_RANK", NULL), 1);
    assert_int_equal(launched("OMPI_COMM_WORLD_SIZE", "4", "OMPI_COMM_WORLD_RANK", "3"), 4);
    assert_int_equal(launched("PMI_SIZE", "2", "PMI_RANK", "0"), 2);
    assert_int_equal(launched("SLURM_STEP_NUM_TASKS", "16", "SLURM_PROCID", "5"), 16);
    assert_int_equal(launched("OMPI_COMM_WORLD_SIZE", "1", "OMPI_COMM_WORLD_RANK", "0"), 1);
    assert_int_equal(launched("OMPI_COMM_WORLD_SIZE", "4", "OMPI_COMM_WORLD_RANK", NULL), 1);
    assert_int_equal(launched("PMI_SIZE", "-3", "PMI_RANK", "0"), 1);
    assert_int_equal(launched("PMI_SIZE", "2x", "PMI_RANK", "0"), 1);
    assert_int_equal(launched("PMI_SIZE", "99999999999999999999", "PMI_RANK", "0"), 1);
    assert_int_equal(launched("PMI_SIZE", "", "PMI_RANK", "0"), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everyone_gets_everything), cmocka_unit_test(the_lowest_failure_is_everyones),
        cmocka_unit_test(one_rank_needs_nobody),    cmocka_unit_test(a_lost_rank_is_waited_for_once),
        cmocka_unit_test(work_alone_is_one_rank),   cmocka_unit_test(launchers_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
