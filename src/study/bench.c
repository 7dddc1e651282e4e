#include "study/bench.h"

#include "base/memory.h"
#include "base/progress.h"
#include "base/random.h"
#include "nn/freeze.h"
#include "nn/spread.h"
#include "study/order.h"
#include "train/average.h"
#include "train/gradients.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include <stdlib.h>
#include <sys/resource.h>

enum { MAX_STEPS = 1000 };

/* ---- the rate of the products by themselves ---- */

typedef struct product_arrays {
    weight w;
    void *x, *y;
    float *dw;
} product_arrays;

static void run_product(const kernels *k, const profile_product *p, const product_arrays *a) {
    switch (p->kind) {
    case PRODUCT_FORWARD:
        k->linear(a->y, k->act, a->x, &a->w, p->N);
        break;
    case PRODUCT_BACKWARD_INPUT:
        k->linear_backward_input((grad_out){.data = a->x}, a->y, &a->w, p->N);
        break;
    case PRODUCT_BACKWARD_WEIGHT:
        k->linear_backward_weight(a->dw, a->y, a->x, &a->w, p->N);
        break;
    case PRODUCT_GROUPED:
        break; /* not measured by itself */
    }
}

static status fill_random(const kernels *k, void *array, int64_t count) {
    float *values = xmalloc((size_t)count * sizeof *values), *device;
    rng r = rng_seed((uint64_t)count);
    for (int64_t i = 0; i < count; i++) values[i] = (float)(2 * rng_uniform(&r) - 1);
    status s = k->alloc((void **)&device, (size_t)count * sizeof *values);
    if (s == STATUS_OK) {
        k->upload(device, values, (size_t)count * sizeof *values);
        k->to_act(array, device, count);
        k->release(device);
    }
    free(values);
    return s;
}

/* Destroyed by the caller, after a failure too. */
static status make_arrays(const kernels *k, const profile_product *p, product_arrays *a) {
    size_t act = dtype_bytes(k->act);
    TRY(k->weight_create(&a->w, p->rows, p->cols, NULL));
    TRY(k->alloc(&a->x, (size_t)(p->N * p->cols) * act));
    TRY(k->alloc(&a->y, (size_t)(p->N * p->rows) * act));
    TRY(k->alloc((void **)&a->dw, (size_t)(p->rows * p->cols) * sizeof(float)));
    TRY(fill_random(k, a->x, p->N * p->cols));
    TRY(fill_random(k, a->y, p->N * p->rows));
    k->zero(a->dw, (size_t)(p->rows * p->cols) * sizeof(float));
    k->weight_update(&a->w, a->dw, 0, p->rows);
    return STATUS_OK;
}

static void destroy_arrays(const kernels *k, product_arrays *a) {
    k->weight_destroy(&a->w);
    k->release(a->x);
    k->release(a->y);
    k->release(a->dw);
}

/* Best of a few runs: what the machine can do for this product. */
status bench_product_seconds(const kernels *k, const profile_product *p, double *seconds) {
    product_arrays a = {0};
    const status s = make_arrays(k, p, &a);
    *seconds = 1e9;
    for (int i = 0; i < 6 && s == STATUS_OK; i++) {
        double started = clock_seconds();
        run_product(k, p, &a);
        double taken = clock_seconds() - started;
        if (i > 0 && taken < *seconds) *seconds = taken;
    }
    destroy_arrays(k, &a);
    return s;
}

/* Σ flops / Σ seconds over the step's products, each as often as it occurs. */
static status product_rate(const kernels *k, const profile *ops, double *gflops) {
    double flops = 0, seconds = 0, one;
    for (int i = 0; i < ops->product_count; i++) {
        const profile_product *p = &ops->products[i];
        if (p->N == 0) continue;
        TRY(bench_product_seconds(k, p, &one));
        seconds += one * (double)p->calls;
        flops += 2 * (double)p->rows * (double)p->cols * (double)p->N * (double)p->calls;
    }
    *gflops = seconds > 0 ? flops / seconds / 1e9 : 0;
    return STATUS_OK;
}

/* ---- the step ---- */

typedef struct bench_state {
    model *m;
    pass *p;
    optimizer *o;
    average *e;
    int32_t *ids;
    batch b;
    comm *ranks;
    gradients sum;
} bench_state;

/* Only the steps are timed: the model is made by k itself. */
static status open_state(bench_state *s, const run_config *config, const kernels *k, const kernels *timed,
                         bool training) {
    const train_config *c = &config->train;
    const double start = schedule_average_start(&config->average, &config->optimizer);
    int64_t N = c->batch * c->seq;
    const comm_group spread = {s->ranks, (int)c->expert_ranks};
    TRY(training ? model_create_spread(&s->m, &config->model, k, &c->freeze, spread)
                 : model_create(&s->m, &config->model, k, MODEL_VALUES));
    if (training) TRY(freeze_check(&c->freeze, s->m));
    TRY(model_init(s->m, c->seed));
    s->m->k = timed;
    TRY(pass_create(&s->p, s->m));
    if (training) TRY(optimizer_create_shared(&s->o, &config->optimizer, s->m, s->ranks));
    if (training) TRY(average_create(&s->e, &config->average, start, s->m));
    s->ids = xmalloc((size_t)(N + 1) * sizeof *s->ids);
    rng r = rng_seed(c->seed + (uint64_t)s->ranks->rank);
    for (int64_t i = 0; i <= N; i++) s->ids[i] = (int32_t)rng_below(&r, (uint64_t)config->model.vocab_size);
    s->b = (batch){.batch = c->batch, .length = c->seq, .input_ids = s->ids, .target_ids = s->ids + 1};
    return STATUS_OK;
}

static void close_state(bench_state *s) {
    if (s->m) gradients_free(&s->sum, s->m->k);
    average_destroy(s->e);
    optimizer_destroy(s->o);
    pass_destroy(s->p);
    model_destroy(s->m);
    free(s->ids);
}

static status one_step(bench_state *s, const bench_options *options, int step, double *forward_backward,
                       double *update) {
    double grad_norm, started = clock_seconds();
    pass_clear(s->p);
    if (options->forward_only) {
        TRY(pass_evaluate(s->p, &s->b, NULL));
        *forward_backward = clock_seconds() - started;
        return STATUS_OK;
    }
    TRY(gradients_begin(&s->sum, s->ranks, s->o, s->m, 1));
    gradients_expect(&s->sum, s->p, 0, 1);
    model_zero_grad(s->m);
    TRY(pass_train(s->p, &s->b, 1));
    *forward_backward = clock_seconds() - started;
    started = clock_seconds();
    TRY(gradients_add(&s->sum, s->p));
    TRY(optimizer_step(s->o, step, 1, &grad_norm));
    pass_read(s->p);
    if (s->e) TRY(average_update(s->e, step, 1)); /* as at the end of a training, when every kind is kept */
    *update = clock_seconds() - started;
    return STATUS_OK;
}

static void mean_over(profile *ops, int steps) {
    for (int i = 0; i < KERNELS; i++) {
        ops->entries[i].seconds /= steps;
        ops->entries[i].calls /= steps;
        ops->entries[i].flops /= steps;
    }
}

static status measure(bench_state *s, const bench_options *options, bench_report *report) {
    double steps[MAX_STEPS], updates[MAX_STEPS] = {0}, ignored;
    for (int i = 0; i < options->warmup; i++) TRY(one_step(s, options, i, &ignored, &ignored));
    profile_clear(&report->ops);
    s->ranks->waited = 0;
    s->ranks->sent = 0;
    s->ranks->traded_seconds = 0;
    s->ranks->traded = 0;
    s->ranks->reducing = 0;
    s->ranks->behind = 0;
    for (int i = 0; i < options->steps; i++) TRY(one_step(s, options, options->warmup + i, &steps[i], &updates[i]));
    mean_over(&report->ops, options->steps);
    report->ranks = s->ranks->ranks;
    report->waited_seconds = s->ranks->waited / options->steps;
    report->sent_bytes = s->ranks->sent / options->steps;
    report->traded_seconds = s->ranks->traded_seconds / options->steps;
    report->traded_bytes = s->ranks->traded / options->steps;
    report->reducing_seconds = s->ranks->reducing / options->steps;
    report->behind_seconds = s->ranks->behind / options->steps;
    for (int i = 0; i < options->steps; i++) report->mean_seconds += (steps[i] + updates[i]) / options->steps;
    report->step_seconds = median(steps, options->steps);
    report->optimizer_seconds = options->forward_only ? 0 : median(updates, options->steps);
    return STATUS_OK;
}

/* Floating-point operations of forward + backward: everything counted but the optimiser's. */
static double step_flops(const profile *ops) {
    return profile_flops(ops) - ops->entries[KERNEL_ID_muon].flops;
}

static status check_spread(const comm *ranks, const run_config *config, const bench_options *options) {
    const int expert_ranks = (int)config->train.expert_ranks;
    if (options->forward_only && expert_ranks > 1)
        return fail_usage("expert_ranks: expected 1 with --forward, which runs all experts in each rank, found %d",
                          expert_ranks);
    return spread_check(ranks, expert_ranks, &config->model);
}

status bench_train(const run_config *config, const kernels *k, const bench_options *options, bench_report *report) {
    if (options->steps < 1 || options->steps > MAX_STEPS)
        return fail_usage("bench: expected 1 to %d steps, found %d", MAX_STEPS, options->steps);
    bench_state s = {.ranks = comm_alone()};
    TRY(comm_open(&s.ranks));
    TRY(comm_share_cores(s.ranks));
    TRY(check_spread(s.ranks, config, options));
    *report = (bench_report){.tokens = config->train.batch * config->train.seq * s.ranks->ranks,
                             .expert_ranks = (int)config->train.expert_ranks};
    kernels timed = profile_kernels(&report->ops, k);
    double started = clock_seconds();
    status outcome = open_state(&s, config, k, &timed, !options->forward_only);
    report->setup_seconds = clock_seconds() - started;
    if (outcome == STATUS_OK) outcome = measure(&s, options, report);
    if (outcome == STATUS_OK) report->parameters = model_param_total(s.m);
    close_state(&s);
    TRY(outcome);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    report->peak_rss_bytes = (int64_t)usage.ru_maxrss * 1024;
    TRY(product_rate(k, &report->ops, &report->product_gflops));
    report->flops = step_flops(&report->ops);
    report->tokens_per_second = (double)report->tokens / report->step_seconds;
    report->gflops = report->flops / report->step_seconds / 1e9;
    report->gemm_share = report->product_gflops > 0 ? report->gflops / report->product_gflops : 0;
    return STATUS_OK;
}
