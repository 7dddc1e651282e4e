#include "grad/tape.h"

#include "base/memory.h"
#include "grad/pool.h"
#include <stdlib.h>
#include <string.h>

/* Host memory for vars and records: chunks that are reused pass after pass. */
enum { CHUNK_BYTES = 1 << 16 };
typedef struct chunk {
    struct chunk *next;
    size_t used, capacity;
    _Alignas(16) uint8_t bytes[];
} chunk;

/* With room for so many, in front of `next`. */
static chunk *chunk_create(size_t bytes, chunk *next) {
    const size_t capacity = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
    chunk *c = xcalloc(1, sizeof *c + capacity);
    c->next = next;
    c->capacity = capacity;
    return c;
}

typedef struct record {
    tape_backward_fn backward;
    void *op;
    var *output; /* NULL: a loss, which runs always */
} record;

struct tape {
    const kernels *k;
    pool *memory;
    chunk *chunks, *current;
    record *records;
    int64_t record_count, record_capacity;
    var **vars;
    int64_t var_count, var_capacity;
    bool training;  /* backward will follow */
    bool recording; /* and needs what ops keep now */
    status failure;
    tape_observer observer;
    void *observer_context;
    gradient_observer gradient_observer;
    void *gradient_context;
    backward_watcher watcher;
    void *watcher_context;
};

status tape_create(tape **out, const kernels *k) {
    tape *t = xcalloc(1, sizeof *t);
    t->k = k;
    t->memory = pool_create(k);
    t->chunks = t->current = chunk_create(0, NULL);
    *out = t;
    return STATUS_OK;
}

void tape_destroy(tape *t) {
    if (!t) return;
    pool_destroy(t->memory);
    for (chunk *c = t->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(t->records);
    free(t->vars);
    free(t);
}

const kernels *tape_kernels(const tape *t) {
    return t->k;
}
bool tape_training(const tape *t) {
    return t->training;
}
bool tape_recording(const tape *t) {
    return t->recording;
}
status tape_status(const tape *t) {
    return t->failure;
}
size_t tape_peak_bytes(const tape *t) {
    return pool_peak_bytes(t->memory);
}

void tape_reset(tape *t, bool training) {
    pool_give_all(t->memory);
    for (chunk *c = t->chunks; c; c = c->next) c->used = 0;
    t->current = t->chunks;
    t->record_count = t->var_count = 0;
    t->training = t->recording = training;
    t->failure = STATUS_OK;
}

void tape_observe(tape *t, tape_observer observer, void *context) {
    t->observer = observer;
    t->observer_context = context;
}

void tape_notify(tape *t, const param *weight, const void *x, int64_t N, int64_t cols) {
    if (t->observer) t->observer(t->observer_context, weight, x, N, cols);
}

void tape_observe_gradients(tape *t, gradient_observer observer, void *context) {
    t->gradient_observer = observer;
    t->gradient_context = context;
}

void tape_notify_gradient(tape *t, const product_gradient *g) {
    if (t->gradient_observer && g->N > 0) t->gradient_observer(t->gradient_context, g);
}

bool tape_gradients_are_observed(const tape *t) {
    return t->gradient_observer != NULL;
}

void tape_watch_backward(tape *t, backward_watcher watcher, void *context) {
    t->watcher = watcher;
    t->watcher_context = context;
}

bool tape_is_observed(const tape *t) {
    return t->observer != NULL;
}

void tape_fail(tape *t, status s) {
    if (t->failure == STATUS_OK) t->failure = s;
}

void *tape_host_alloc(tape *t, size_t bytes) {
    bytes = (bytes + 15) & ~(size_t)15;
    if (t->current->used + bytes > t->current->capacity) {
        chunk *next = t->current->next;
        if (!next || bytes > next->capacity) next = t->current->next = chunk_create(bytes, next);
        t->current = next;
    }
    void *pointer = t->current->bytes + t->current->used;
    t->current->used += bytes;
    return memset(pointer, 0, bytes);
}

void *tape_alloc(tape *t, size_t bytes) {
    void *pointer = pool_take(t->memory, bytes);
    if (!pointer) tape_fail(t, STATUS_FAILED);
    return pointer;
}

void tape_free(tape *t, void *pointer) {
    pool_give(t->memory, pointer);
}

var *tape_var(tape *t, int ndim, const int64_t *shape) {
    var *v = tape_host_alloc(t, sizeof *v);
    v->value.type = t->k->act;
    v->value.ndim = ndim;
    for (int i = 0; i < ndim; i++) v->value.shape[i] = shape[i];
    v->value.data = tape_alloc(t, tensor_bytes(&v->value));
    if (!v->value.data) return NULL;
    if (t->var_count == t->var_capacity) {
        t->var_capacity = t->var_capacity ? 2 * t->var_capacity : 256;
        t->vars = xrealloc(t->vars, (size_t)t->var_capacity * sizeof *t->vars);
    }
    t->vars[t->var_count++] = v;
    return v;
}

void *tape_record(tape *t, size_t bytes, tape_backward_fn backward, var *output) {
    if (!t->recording) return NULL;
    if (t->record_count == t->record_capacity) {
        t->record_capacity = t->record_capacity ? 2 * t->record_capacity : 256;
        t->records = xrealloc(t->records, (size_t)t->record_capacity * sizeof *t->records);
    }
    void *op = tape_host_alloc(t, bytes);
    t->records[t->record_count++] = (record){.backward = backward, .op = op, .output = output};
    return op;
}

int64_t tape_mark(const tape *t) {
    return t->var_count;
}

static void drop(tape *t, var *v) {
    tape_free(t, v->value.data);
    v->value.data = NULL;
}

void tape_release_since(tape *t, int64_t mark, const var *keep) {
    int64_t kept = mark;
    for (int64_t i = mark; i < t->var_count; i++) {
        var *v = t->vars[i];
        bool stays = v == keep || (t->recording && !v->rebuild);
        if (!stays) drop(t, v);
        if (stays || t->recording) t->vars[kept++] = v;
    }
    t->var_count = kept;
}

void *tape_value(tape *t, var *v) {
    if (!v->value.data) {
        v->value.data = tape_alloc(t, tensor_bytes(&v->value));
        if (v->value.data) v->rebuild(t, v->op);
    }
    return v->value.data;
}

grad_out tape_grad(tape *t, var *v) {
    bool add = v->grad != NULL;
    if (!add) v->grad = tape_alloc(t, tensor_bytes(&v->value));
    return (grad_out){.data = v->grad, .add = add};
}

void tape_give_grad(tape *t, var *v, void *grad) {
    if (!v->grad) {
        v->grad = grad;
        return;
    }
    int64_t rows = tensor_rows(&v->value), cols = tensor_cols(&v->value);
    t->k->scale_add(v->grad, v->grad, grad, NULL, rows, cols);
    tape_free(t, grad);
}

/* An output that nothing reads has no gradient, and neither have its inputs from it: its record only gives back memory. */
static void play_back(tape *t, int64_t from) {
    while (t->record_count > from && t->failure == STATUS_OK) {
        const record r = t->records[--t->record_count];
        if (!r.output || r.output->grad) r.backward(t, r.op);
        if (t->watcher) t->watcher(t->watcher_context, TAPE_BETWEEN);
        if (!r.output) continue;
        tape_free(t, r.output->value.data);
        tape_free(t, r.output->grad);
        r.output->value.data = r.output->grad = NULL;
    }
}

void tape_backward(tape *t) {
    play_back(t, 0);
}

/* ---- places ---- */

static void come_to_place(tape *t, void *op) {
    const int *place = op;
    if (t->watcher) t->watcher(t->watcher_context, *place);
}

void tape_place(tape *t, int place) {
    int *op = t->watcher ? tape_record(t, sizeof *op, come_to_place, NULL) : NULL;
    if (op) *op = place;
}

/* ---- parts that are run again ---- */

typedef struct recomputed {
    tape_part run;
    void *context;
    var *inputs[TAPE_MOST_INPUTS], *y;
    int count;
} recomputed;

/* The part's own records follow those of the rest, end with an output that has y's gradient, and are gone afterwards. Inputs have
 * stand-ins, so that what flows into them flows once. */
static void recompute_backward(tape *t, void *op) {
    recomputed *part = op;
    var stand_in[TAPE_MOST_INPUTS], *inputs[TAPE_MOST_INPUTS];
    const int64_t records = t->record_count, vars = t->var_count;
    for (int i = 0; i < part->count; i++) {
        stand_in[i] = (var){.value = part->inputs[i]->value};
        stand_in[i].value.data = tape_value(t, part->inputs[i]);
        inputs[i] = &stand_in[i];
    }
    if (t->failure != STATUS_OK) return;
    var *y = part->run(t, part->context, inputs);
    if (t->failure != STATUS_OK || !y) return;
    y->grad = part->y->grad;
    part->y->grad = NULL;
    play_back(t, records);
    for (int i = 0; i < part->count; i++)
        if (stand_in[i].grad) tape_give_grad(t, part->inputs[i], stand_in[i].grad);
    t->var_count = vars;
}

var *tape_recompute(tape *t, tape_part run, const void *context, size_t context_bytes, var *const *inputs, int count) {
    void *own = tape_host_alloc(t, context_bytes);
    memcpy(own, context, context_bytes);
    if (!t->recording) return run(t, own, inputs);
    const int64_t mark = tape_mark(t);
    t->recording = false;
    var *y = run(t, own, inputs);
    if (y) tape_release_since(t, mark, y);
    t->recording = true;
    recomputed *part = y ? tape_record(t, sizeof *part, recompute_backward, y) : NULL;
    if (!part) return y;
    *part = (recomputed){.run = run, .context = own, .y = y, .count = count};
    memcpy(part->inputs, inputs, (size_t)count * sizeof *inputs);
    y->rebuild = NULL;
    return y;
}
