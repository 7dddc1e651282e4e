/* Learned gains, and an activation by itself: the parts of MLPs that op_mlp does not fuse. */
#include "grad/op.h"

/* ---- y = x + s z ---- */

typedef struct scalar_add_op {
    var *x, *z, *y;
    param *s;
} scalar_add_op;

/* dz = s dy, ds = Σ dy z; dx = dy: the array itself moves on to x. */
static void scalar_add_backward(tape *t, void *record) {
    scalar_add_op *op = record;
    void *z = tape_value(t, op->z);
    grad_out dz = tape_grad(t, op->z);
    if (!z || !dz.data) return;
    tape_kernels(t)->scalar_add_backward(dz, param_grad(op->s), op->y->grad, z, param_values(op->s),
                                         tensor_rows(&op->y->value), tensor_cols(&op->y->value));
    tape_give_grad(t, op->x, op->y->grad);
    op->y->grad = NULL;
}

var *op_scalar_add(tape *t, var *x, var *z, param *s) {
    if (!x || !z) return NULL;
    int64_t N = tensor_rows(&x->value), d = tensor_cols(&x->value);
    var *y = new_matrix(t, N, d);
    if (!y) return NULL;
    tape_kernels(t)->scalar_add(y->value.data, x->value.data, z->value.data, param_values(s), N, d);
    scalar_add_op *op = tape_record(t, sizeof *op, scalar_add_backward, y);
    if (op) *op = (scalar_add_op){.x = x, .z = z, .y = y, .s = s};
    return y;
}

/* ---- y = f(u) ---- */

typedef struct activate_op {
    var *u, *y;
    activation f;
} activate_op;

static void activate_backward(tape *t, void *record) {
    activate_op *op = record;
    const kernels *k = tape_kernels(t);
    int64_t N = tensor_rows(&op->y->value), width = tensor_cols(&op->y->value);
    void *u = tape_value(t, op->u), *du = tape_alloc(t, tensor_bytes(&op->u->value));
    if (!u || !du) return;
    k->activate_backward(du, op->y->grad, u, op->f, NULL, N, width);
    tape_give_grad(t, op->u, du);
}

var *op_activate(tape *t, var *u, activation f) {
    if (!u) return NULL;
    int64_t N = tensor_rows(&u->value), wide = tensor_cols(&u->value);
    var *y = new_matrix(t, N, f == ACTIVATION_SWIGLU ? wide / 2 : wide);
    if (!y) return NULL;
    tape_kernels(t)->activate(y->value.data, u->value.data, f, NULL, N, tensor_cols(&y->value));
    activate_op *op = tape_record(t, sizeof *op, activate_backward, y);
    if (op) *op = (activate_op){.u = u, .y = y, .f = f};
    return y;
}

/* ---- y[n, c] = a[c] · softmax(x Wᵀ)[n, e(c)] · u[n, c] ---- */

typedef struct chunk_gate_op {
    var *u, *x, *y;
    param *gain, *router; /* either may be NULL */
    float *probs;         /* [N, E], with a router */
    int64_t experts;
} chunk_gate_op;

/* From d probs to x and the router. */
static void route_backward(tape *t, chunk_gate_op *op, const float *dprobs) {
    const kernels *k = tape_kernels(t);
    int64_t N = tensor_rows(&op->x->value), d = tensor_cols(&op->x->value), E = op->experts;
    float *dlogits = tape_alloc(t, (size_t)(N * E) * sizeof(float));
    void *x = tape_value(t, op->x);
    grad_out dx = tape_grad(t, op->x);
    if (!dlogits || !x || !dx.data) return;
    k->softmax_backward(dlogits, dprobs, op->probs, N, E);
    k->router_backward(dx, param_grad(op->router), dlogits, x, param_values(op->router), N, d, E);
    tape_free(t, dlogits);
}

static void chunk_gate_backward(tape *t, void *record) {
    chunk_gate_op *op = record;
    int64_t N = tensor_rows(&op->u->value), h = tensor_cols(&op->u->value), E = op->experts;
    void *u = tape_value(t, op->u);
    grad_out du = tape_grad(t, op->u);
    float *dprobs = op->router ? tape_alloc(t, (size_t)(N * E) * sizeof(float)) : NULL;
    if (!u || !du.data || (op->router && !dprobs)) return;
    tape_kernels(t)->chunk_gate_backward(du, param_grad(op->gain), dprobs, op->y->grad, u, param_values(op->gain),
                                         op->probs, N, h, E);
    if (op->router) route_backward(t, op, dprobs);
    tape_free(t, dprobs);
    tape_free(t, op->probs);
}

var *op_chunk_gate(tape *t, var *u, param *gain, var *x, param *router) {
    if (!u || !x) return NULL;
    const kernels *k = tape_kernels(t);
    int64_t N = tensor_rows(&u->value), h = tensor_cols(&u->value), E = router ? router->value.shape[0] : 1;
    chunk_gate_op op = {.u = u, .x = x, .y = new_matrix(t, N, h), .gain = gain, .router = router, .experts = E};
    if (router) op.probs = tape_alloc(t, (size_t)(N * E) * sizeof(float));
    if (!op.y || (router && !op.probs)) return NULL;
    if (router) k->router(NULL, op.probs, x->value.data, param_values(router), N, tensor_cols(&x->value), E);
    k->chunk_gate(op.y->value.data, u->value.data, param_values(gain), op.probs, N, h, E);
    chunk_gate_op *saved = tape_record(t, sizeof op, chunk_gate_backward, op.y);
    if (saved)
        *saved = op;
    else
        tape_free(t, op.probs);
    return op.y;
}

/* ---- y = σ(x0 · w) x ---- */

typedef struct sigmoid_gate_op {
    var *x, *x0, *y;
    param *w;
    float *g; /* [N] */
} sigmoid_gate_op;

static void sigmoid_gate_backward(tape *t, void *record) {
    sigmoid_gate_op *op = record;
    void *x = tape_value(t, op->x), *x0 = tape_value(t, op->x0);
    grad_out dx = tape_grad(t, op->x);
    grad_out dx0 = grad_beside(t, op->x0, op->x);
    if (!x || !x0 || !dx.data || !dx0.data) return;
    tape_kernels(t)->sigmoid_gate_backward(dx, dx0, param_grad(op->w), op->y->grad, op->g, x, x0, param_values(op->w),
                                           tensor_rows(&op->y->value), tensor_cols(&op->y->value));
    give_beside(t, op->x0, op->x, dx0);
    tape_free(t, op->g);
}

var *op_sigmoid_gate(tape *t, var *x, var *x0, param *w) {
    if (!x || !x0) return NULL;
    int64_t N = tensor_rows(&x->value), d = tensor_cols(&x->value);
    var *y = new_matrix(t, N, d);
    float *g = tape_alloc(t, (size_t)N * sizeof(float));
    if (!y || !g) return NULL;
    tape_kernels(t)->sigmoid_gate(y->value.data, g, x->value.data, x0->value.data, param_values(w), N, d);
    sigmoid_gate_op *op = tape_record(t, sizeof *op, sigmoid_gate_backward, y);
    if (op)
        *op = (sigmoid_gate_op){.x = x, .x0 = x0, .y = y, .w = w, .g = g};
    else
        tape_free(t, g);
    return y;
}
