#include "study/bench_machine.h"

#include "base/memory.h"
#include "base/progress.h"
#include "base/random.h"
#include "comm/comm.h"
#include "study/bandwidth.h"
#include "study/bench.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Products and arrays small enough that other programs seldom come in between, again and again. */
enum { SIDE = 512, ROWS = 512, TIMES = 12, MANY = 64, LONG = 3, TINY = 64, TINY_TIMES = 200 };

/* ---- a rank by itself ---- */

static void fill(const kernels *k, float *array, int64_t count) {
    float *values = xmalloc((size_t)count * sizeof *values);
    rng r = rng_seed(1);
    rng_normal(&r, values, (size_t)count, 1);
    k->upload(array, values, (size_t)count * sizeof *values);
    free(values);
}

/* A training's products: forward, and both of backward. */
static status product_rate(const kernels *k, double *rate) {
    static const product_kind kinds[] = {PRODUCT_FORWARD, PRODUCT_BACKWARD_INPUT, PRODUCT_BACKWARD_WEIGHT};
    double seconds = 0;
    for (int i = 0; i < 3; i++) {
        const profile_product p = {.kind = kinds[i], .rows = SIDE, .cols = SIDE, .N = ROWS};
        double one, best = 0;
        for (int j = 0; j < TIMES; j++) {
            TRY(bench_product_seconds(k, &p, &one));
            if (j == 0 || one < best) best = one;
        }
        seconds += best;
    }
    *rate = 3 * 2.0 * SIDE * SIDE * ROWS / seconds;
    return STATUS_OK;
}

/* Newton–Schulz of one matrix, counted as step_work.h counts it. */
static status update_rate(const kernels *k, double *rate) {
    enum { STEPS = 5, THIN = 256, WIDE = 1024, SIZE = THIN * WIDE };
    const double t = THIN, w = WIDE;
    const muon_args args = {.lr = 0.01f, .momentum = 0.9f, .newton_schulz_steps = STEPS, .nesterov = true};
    const float one = 1;
    float *arrays, *clip;
    double best = 0;
    TRY(k->alloc((void **)&arrays, (3 * SIZE + 1) * sizeof *arrays));
    clip = arrays + 3 * SIZE;
    fill(k, arrays, 3 * SIZE);
    k->upload(clip, &one, sizeof one);
    for (int i = 0; i < 4 * TIMES; i++) {
        const double started = clock_seconds();
        k->muon(arrays, arrays + SIZE, arrays + 2 * SIZE, clip, THIN, WIDE, &args);
        const double taken = clock_seconds() - started;
        if (i == 0 || taken < best) best = taken;
    }
    *rate = STEPS * 2 * (2 * t * t * w + t * t * t) / best;
    k->release(arrays);
    return STATUS_OK;
}

static status memory_rate(int64_t bytes, double *rate) {
    double one;
    *rate = 0;
    for (int i = 0; i < TIMES; i++) {
        TRY(bandwidth_measure(kernels_threads(), bytes, &one));
        if (one > *rate) *rate = one;
    }
    return STATUS_OK;
}

/* Of a kernel that has next to nothing to do. */
static status kernel_seconds(const kernels *k, double *seconds) {
    float *a, *b;
    TRY(k->alloc((void **)&a, TINY * sizeof *a));
    TRY(k->alloc((void **)&b, TINY * sizeof *b));
    k->zero(a, TINY * sizeof *a);
    k->zero(b, TINY * sizeof *b);
    for (int j = 0; j < TIMES; j++) {
        const double started = clock_seconds();
        for (int i = 0; i < TINY_TIMES; i++) k->add(a, b, TINY);
        const double one = (clock_seconds() - started) / TINY_TIMES;
        if (j == 0 || one < *seconds) *seconds = one;
    }
    k->release(a);
    k->release(b);
    return STATUS_OK;
}

/* ---- messages ---- */

/* There and back: `count` messages of so many bytes each way. Others have nothing to do in it. */
static status there_and_back(comm *c, int other, char *data, size_t bytes, int count, double *seconds) {
    comm_message messages[MANY];
    const int partner = c->rank == 0 ? other : 0;
    for (int i = 0; i < count; i++) messages[i] = (comm_message){partner, data, bytes};
    const double started = clock_seconds();
    if (c->rank == 0) TRY(c->exchange(c, messages, count, NULL, 0));
    TRY(c->exchange(c, NULL, 0, messages, count));
    if (c->rank != 0) TRY(c->exchange(c, messages, count, NULL, 0));
    *seconds = (clock_seconds() - started) / 2;
    return STATUS_OK;
}

static status fastest(comm *c, int other, char *data, size_t bytes, int count, double *best) {
    for (int i = 0; i < TIMES; i++) {
        double one;
        TRY(there_and_back(c, other, data, bytes, count, &one));
        if (i == 0 || one < *best) *best = one;
    }
    return STATUS_OK;
}

/* Between ranks 0 and `other`; 0: there is no such rank. */
static status time_messages(comm *c, int other, message_times *t) {
    static const size_t sizes[MESSAGE_SIZES] = {8, 1 << 10, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24};
    double many = 0;
    t->found = other > 0 && other < c->ranks;
    if (!t->found || (c->rank != 0 && c->rank != other)) return STATUS_OK;
    char *data = xcalloc(1, sizes[MESSAGE_SIZES - 1]);
    status s = STATUS_OK;
    for (int i = 0; i < MESSAGE_SIZES && s == STATUS_OK; i++) {
        t->bytes[i] = (double)sizes[i];
        s = fastest(c, other, data, sizes[i], 1, &t->seconds[i]);
    }
    if (s == STATUS_OK) s = fastest(c, other, data, sizes[0], MANY, &many);
    free(data);
    const double small = t->seconds[0], overhead = (many - small) / (MANY - 1);
    t->link.overhead = overhead < 0 ? 0 : overhead < small ? overhead : small;
    t->link.latency = small - t->link.overhead;
    t->link.efficiency = 1;
    for (int i = MESSAGE_SIZES - LONG; i < MESSAGE_SIZES; i++)
        t->link.rate = fmax(t->link.rate, t->bytes[i] / (t->seconds[i] - small));
    return s;
}

/* ---- together ---- */

/* Σ over the ranks of rank 0's machine, which are the first. */
static status sum_of_node(comm *c, double *value) {
    double *all = xcalloc((size_t)c->ranks, sizeof *all);
    const status s = comm_gather(c, value, all, sizeof *value);
    *value = 0;
    for (int r = 0; r < c->local_ranks; r++) *value += all[r];
    free(all);
    return s;
}

status bench_machine(const kernels *k, int64_t memory_bytes, machine_bench *out) {
    comm *c;
    *out = (machine_bench){0};
    TRY(comm_open(&c));
    TRY(comm_share_cores(c));
    machine *m = &out->found;
    *m = (machine){.shared = true,
                   .node_ranks = c->local_ranks,
                   .product_efficiency = 1,
                   .units = 1,
                   .tile = 128,
                   .memory_efficiency = 1,
                   .memory = (double)memory_of_machine(),
                   .block_kernels = 30,
                   .act_bytes = (double)dtype_bytes(k->act)};
    out->ranks = c->ranks;
    TRY(comm_agree(c, product_rate(k, &m->products)));
    TRY(sum_of_node(c, &m->products));
    TRY(comm_agree(c, update_rate(k, &m->updates)));
    TRY(sum_of_node(c, &m->updates));
    TRY(comm_agree(c, memory_rate(memory_bytes, &m->memory_rate)));
    TRY(sum_of_node(c, &m->memory_rate));
    TRY(comm_agree(c, kernel_seconds(k, &m->kernel_seconds)));
    TRY(comm_agree(c, time_messages(c, c->local_ranks > 1 ? 1 : 0, &out->inside)));
    TRY(comm_agree(c, time_messages(c, c->ranks > c->local_ranks ? c->local_ranks : 0, &out->between)));
    /* What was not measured does not matter with so few ranks, and a machine needs a link. */
    m->inside = out->inside.found ? out->inside.link : (machine_link){.rate = m->memory_rate, .efficiency = 1};
    m->between = out->between.found ? out->between.link : m->inside;
    m->name = xasprintf("%s, %d threads for each of %d ranks", k->name, kernels_threads(), c->ranks);
    m->source = xstrdup("moec bench machine");
    return STATUS_OK;
}
