/* Timing a training step on real shapes. */
#ifndef MOEC_STUDY_BENCH_H
#define MOEC_STUDY_BENCH_H

#include "kernel/profile.h"
#include "train/config.h"

typedef struct bench_options {
    int warmup, steps; /* steps whose time is thrown away, and counted */
    bool forward_only; /* evaluation instead of training */
} bench_options;

typedef struct bench_report {
    int64_t parameters, tokens; /* of the model, of one step of all ranks */
    double step_seconds;        /* median of forward + backward */
    double optimizer_seconds;   /* median of clipping, update, EMA and refresh; 0 for forward_only */
    double mean_seconds;        /* of forward + backward and update together: what `ops` adds up to */
    double tokens_per_second;   /* tokens / step_seconds */
    double flops;               /* of one forward + backward, counted from the shapes */
    double gflops;              /* flops / step_seconds, in 10⁹ */
    double product_gflops;      /* the rate of the same products, each timed by itself in this process */
    double gemm_share;          /* gflops / product_gflops */
    double setup_seconds;       /* creating and initialising the model */
    int64_t peak_rss_bytes;
    int ranks;             /* that trained together, each with a micro-batch of its own */
    double waited_seconds; /* of a step, on average, of rank 0: sending, and waiting for the others */
    int64_t sent_bytes;    /* of a step, by rank 0 */
    int expert_ranks;      /* that had the experts between them */
    double traded_seconds; /* of these seconds and bytes what was on account of that */
    int64_t traded_bytes;
    double reducing_seconds; /* of a step, of rank 0, in which gradients were under way (comm.h) */
    double behind_seconds;   /* of these while it computed: what the messages did not cost */
    profile ops;             /* of one step (mean over the counted ones), forward + backward and optimiser */
} bench_report;

/* Random tokens; k is the table to measure. For all ranks, where a launcher started several. */
status bench_train(const run_config *config, const kernels *k, const bench_options *options, bench_report *report);
/* Of one product by itself, the fastest of a few runs; a grouped one takes no time here. */
status bench_product_seconds(const kernels *k, const profile_product *p, double *seconds);

#endif
