/* Finding the ranks that a launcher started, and ending with them. */
#include "base/memory.h"
#include "comm/parts.h"
#include "kernel/kernel.h"
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

static comm opened;
static bool is_open, works_alone;

/* ---- what the environment says ---- */

/* Open MPI's mpirun, MPICH's and its relatives', Slurm's srun (a batch script, which no srun started, has no step). */
static const struct launcher {
    const char *ranks, *rank;
} launchers[] = {{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
                 {"PMI_SIZE", "PMI_RANK"},
                 {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}};

/* −1: it is absent, or no number. */
static int number_in(const char *variable) {
    const char *text = getenv(variable);
    char *end;
    if (!text || !*text) return -1;
    const long value = strtol(text, &end, 10);
    return *end || value < 0 || value > INT_MAX ? -1 : (int)value;
}

launch launch_found(void) {
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const int ranks = number_in(launchers[i].ranks), rank = number_in(launchers[i].rank);
        if (ranks > 1 && rank >= 0) return (launch){.by = launchers[i].ranks, .rank = rank, .ranks = ranks};
    }
    return (launch){.ranks = 1};
}

int comm_launched(void) {
    return launch_found().ranks;
}

/* ---- opening ---- */

static status read_timeout(double *seconds) {
    const char *text = getenv("MOEC_RANK_TIMEOUT");
    char *end;
    *seconds = 1800;
    if (!text || !*text) return STATUS_OK;
    *seconds = strtod(text, &end);
    if (*end || !isfinite(*seconds) || *seconds <= 0)
        return fail_usage("MOEC_RANK_TIMEOUT: expected seconds above 0, found %.40s", text);
    return STATUS_OK;
}

static status open_launched(comm *c, const launch *l) {
#ifdef MOEC_MPI
    return comm_open_mpi(c, l);
#else
    (void)c;
    return fail_usage("%s: %d processes were started to train together, but this moec was built without MPI (Debian: "
                      "libopenmpi-dev)",
                      l->by, l->ranks);
#endif
}

void comm_work_alone(bool alone) {
    works_alone = alone;
}

status comm_open(comm **out) {
    const launch l = launch_found();
    *out = l.by && !works_alone ? &opened : comm_alone();
    if (!l.by || works_alone || is_open) return STATUS_OK;
    double timeout;
    TRY(read_timeout(&timeout));
    TRY(open_launched(&opened, &l));
    opened.timeout = timeout;
    is_open = true;
    return STATUS_OK;
}

/* ---- ending ---- */

/* Before the ranks have met all of them fail alike, most likely, and the first one says why. */
bool comm_speaks(status s) {
    const launch l = launch_found();
    if (!l.by) return true;
    if (!is_open) return l.rank == 0;
    return opened.rank == 0 || (s != STATUS_OK && !opened.agreed);
}

status comm_sign(status s) {
    return is_open && s != STATUS_OK && !opened.agreed ? fail_in(s, "rank %d", opened.rank) : s;
}

void comm_finish(status s) {
    if (is_open && s != STATUS_OK && !opened.agreed && opened.end) opened.end(&opened, s);
}

/* ---- cores ---- */

static status keep_to_cores(const comm *c, int cores) {
    cpu_set_t own;
    const long machine = sysconf(_SC_NPROCESSORS_ONLN);
    if ((long)cores * c->local_ranks > machine)
        return fail_usage(
            "MOEC_RANK_CORES: expected at most %ld cores for each of %d ranks on this machine of %ld, found %d",
            machine / c->local_ranks, c->local_ranks, machine, cores);
    CPU_ZERO(&own);
    for (int i = 0; i < cores; i++) CPU_SET((size_t)(c->local_rank * cores + i), &own);
    if (sched_setaffinity(0, sizeof own, &own) != 0)
        return fail("MOEC_RANK_CORES: rank %d cannot keep to cores %d to %d: %m", c->rank, c->local_rank * cores,
                    (c->local_rank + 1) * cores - 1);
    kernels_set_threads(cores);
    return STATUS_OK;
}

status comm_share_cores(const comm *c) {
    const char *own = getenv("MOEC_RANK_CORES"), *threads = getenv("OMP_NUM_THREADS");
    if (c->ranks == 1) return STATUS_OK;
    if (own && *own) {
        const int cores = number_in("MOEC_RANK_CORES");
        return cores > 0 ? keep_to_cores(c, cores)
                         : fail_usage("MOEC_RANK_CORES: expected a number of cores from 1 on, found %.40s", own);
    }
    if (threads && *threads) return STATUS_OK;
    cpu_set_t may;
    const long machine = sysconf(_SC_NPROCESSORS_ONLN);
    long each = machine / c->local_ranks;
    if (sched_getaffinity(0, sizeof may, &may) == 0 && CPU_COUNT(&may) < each) each = CPU_COUNT(&may);
    kernels_set_threads(each > 1 ? (int)each : 1);
    return STATUS_OK;
}
