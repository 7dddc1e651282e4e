/* The tape: it records ops as the forward pass runs and plays them back for the gradients.
 *
 * A var is an activation: a value and, during backward, a gradient. Ops (grad/ops.h) make vars and push one record each;
 * tape_backward walks the records in reverse. A layer that runs three times is recorded three times and its parameters'
 * gradients add up, so recurrence, skips and routers are ordinary code.
 *
 * Memory: everything comes from one pool of device memory that is kept between steps, so that after the first step
 * nothing is allocated. In backward a var's value and gradient return to the pool as soon as its own record has run. */
#ifndef MOEC_GRAD_TAPE_H
#define MOEC_GRAD_TAPE_H

#include "grad/param.h"

typedef struct tape tape;

typedef void (*tape_rebuild_fn)(tape *t, void *op);

typedef struct var {
    tensor value;            /* data is NULL while it is dropped */
    void *grad;              /* act, same shape; NULL until something flows into it */
    tape_rebuild_fn rebuild; /* of a cheap op: forms the value again; NULL: it must be kept */
    void *op;                /* its record */
} var;

/* Sees the input x [N, cols] of every product with a weight; For experts only the rows
 * that are routed to it. GPTQ's Hessians are collected with it. */
typedef void (*tape_observer)(void *context, const param *weight, const void *x, int64_t N, int64_t cols);

/* A product with a weight in backward: the gradient dy of what it made, and what it read. */
typedef struct product_gradient {
    const param *weight;
    const void *dy;     /* act [N, rows of the weight]; of a table that ids look up [N, its cols] */
    const void *x;      /* act [N, cols of the weight], or NULL: of a table that ids look up */
    const int32_t *ids; /* device [N], of a table that ids look up; else NULL */
    int64_t N;
} product_gradient;
/* Sees each of them, of a layer that runs three times three. The loss that the gradients are of is that of tape_backward. */
typedef void (*gradient_observer)(void *context, const product_gradient *g);

status tape_create(tape **out, const kernels *k);
void tape_destroy(tape *t);
const kernels *tape_kernels(const tape *t);

/* Start a pass: forget all vars. training: keep what backward needs. */
void tape_reset(tape *t, bool training);
bool tape_training(const tape *t); /* as tape_reset was told */
bool tape_recording(
    const tape *t); /* the same but in a part that backward runs again, whose ops keep nothing the first time */
void tape_observe(tape *t, tape_observer observer, void *context);
void tape_notify(tape *t, const param *weight, const void *x, int64_t N, int64_t cols); /* called by ops */
bool tape_is_observed(const tape *t);
void tape_observe_gradients(tape *t, gradient_observer observer, void *context);
void tape_notify_gradient(tape *t, const product_gradient *g); /* called by ops, in backward */
bool tape_gradients_are_observed(const tape *t);

/* The end of a block: of the vars made since the mark only `keep` (NULL: none) is still wanted. A pass that does not record
 * gives their memory back. One that records gives back what is cheap to form again from what is kept: the first op in
 * backward that reads such a value has it rebuilt (tape_value). */
int64_t tape_mark(const tape *t);
void tape_release_since(tape *t, int64_t mark, const var *keep);

/* A part of the pass of which backward keeps only the inputs: run(context, inputs) makes its output now without recording, and
 * backward runs it again, recorded, and plays that back (Chen et al. 2016, sublinear memory). run must make the same twice and
 * use no vars but its inputs. The context is copied. Without recording it is run(context, inputs). */
typedef var *(*tape_part)(tape *t, void *context, var *const *inputs);
enum { TAPE_MOST_INPUTS = 4 };
var *tape_recompute(tape *t, tape_part run, const void *context, size_t context_bytes, var *const *inputs, int count);

/* Sees how far backward is: the number of a tape_place, when everything that was recorded behind it has been played back; TAPE_BETWEEN
 * after every other record. NULL: nobody, and places are not recorded. */
enum { TAPE_BETWEEN = -1 };
typedef void (*backward_watcher)(void *context, int place);
void tape_watch_backward(tape *t, backward_watcher watcher, void *context);
void tape_place(tape *t, int place); /* from 0 on */

/* Run backward from every loss that was added (op_cross_entropy, op_moe's balance loss: each knows its own weight). */
void tape_backward(tape *t);

/* The first failure (no memory) of any op since tape_reset; ops return NULL then, and NULL inputs give NULL outputs, so
 * a model's forward pass checks once. */
status tape_status(const tape *t);
size_t tape_peak_bytes(const tape *t);

/* ---- for the ops themselves ---- */
typedef void (*tape_backward_fn)(tape *t, void *op);
var *tape_var(tape *t, int ndim, const int64_t *shape); /* act; NULL when memory is out */
void *tape_alloc(tape *t, size_t bytes);                /* from the pool ... */
void tape_free(tape *t, void *pointer);                 /* ... and back; NULL is fine */
/* A record of `bytes` (zeroed), to be filled by the op; NULL when nothing is recorded. the output is freed after it ran; without
 * an output (a loss) it runs always. */
void *tape_record(tape *t, size_t bytes, tape_backward_fn backward, var *output);
/* In backward, before v is read: its value, rebuilt if it was dropped. */
void *tape_value(tape *t, var *v);
grad_out tape_grad(tape *t, var *v); /* where v's gradient goes next */
/* Give v the whole gradient array `grad` (from tape_alloc, or a var's that is no longer needed): it is taken over when v
 * has none yet, else added and freed. */
void tape_give_grad(tape *t, var *v, void *grad);
void tape_fail(tape *t, status s);
/* Host memory that lives as long as the records of the pass; zeroed. */
void *tape_host_alloc(tape *t, size_t bytes);

#endif
