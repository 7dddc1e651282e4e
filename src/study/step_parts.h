/* One step on its way, shared by the parts of step_sim.h: what ranks compute (step_compute.c), and the ways to share a step out
 * (step_built.c, step_sharded.c). */
#ifndef MOEC_STUDY_STEP_PARTS_H
#define MOEC_STUDY_STEP_PARTS_H

#include "study/collectives.h"
#include "study/step_sim.h"

enum { FLOAT_BYTES = 4, BUCKET_BYTES = 25000000 };

typedef struct step {
    const step_work *w;
    const machine *m;
    const step_options *o;
    simulation *s;
    cluster *c;
    int expert_ranks;
    int64_t rows, rounds; /* of a rank; the micro-batches that they are */
    double micro_tokens;
    int *at;        /* [ranks] the last task of a rank's computing */
    int *sending;   /* [ranks] of what goes on beside it */
    double *slow;   /* [ranks] how long a rank takes for what others take 1 for */
    double *busy;   /* [ranks] seconds of computing */
    double *update; /* [ranks] seconds of updating */
    int *owner;     /* [param_count] */
} step;

/* ---- what ranks compute ---- */

/* After what the rank has done so far; account: whose seconds they are, busy or update. */
void step_compute(step *s, int rank, double seconds, double *account);
/* After *task, which it becomes; whenever the rank has time for it. */
void step_compute_behind(step *s, int rank, double seconds, double *account, int *task);
void step_run_block(step *s, const work_block *b, double passes); /* passes: 1 forward, 2 backward */
void step_run_ends(step *s, double passes);                       /* the embedding, the head and the loss */
void step_run_forward(step *s);
/* Every array of `values` numbers that is read or written once. */
void step_pass_over(step *s, double values, double arrays, double *account);

/* Bytes of a parameter's means, which decide who owns it. */
static inline double means_of(const work_param *p) {
    return (double)p->count * p->means;
}
/* The first of the blocks that is of the layer: behind its backward the layer's gradients are final, however often it ran. */
int step_first_use(const step_work *w, int layer);
void step_assign_owners(step *s);
/* An owner's update; shared: Adam's parameters are in equal parts everywhere. */
void step_update(step *s, bool shared);
/* What every rank does with all values behind an update: products' form of them, the average. */
void step_refresh(step *s, double values);

/* ---- ways to share it out ---- */

static inline rank_group everyone(const step *s) {
    return (rank_group){0, 1, s->o->ranks};
}
void step_as_built(step *s);
void step_sharded(step *s); /* and with experts apart */

#endif
