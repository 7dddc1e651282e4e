#include "grad/arena.h"

enum { ALIGNMENT = 16 }; /* floats: a cache line */

status arena_create(arena *a, const kernels *k, int64_t count) {
    *a = (arena){.k = k, .count = count};
    if (count == 0) return STATUS_OK;
    TRY(k->alloc((void **)&a->data, (size_t)count * sizeof(float)));
    arena_zero(a);
    return STATUS_OK;
}

void arena_destroy(arena *a) {
    if (a->data) a->k->release(a->data);
    *a = (arena){0};
}

void arena_zero(arena *a) {
    if (a->data) a->k->zero(a->data, (size_t)a->count * sizeof(float));
}

typedef enum kind { TRAINED, STORED, DERIVED, KINDS } kind;

static kind kind_of(const param *p) {
    return p->derived ? DERIVED : p->frozen ? STORED : TRAINED;
}

arena_layout arena_lay_out(param *const *params, int count, bool (*has_values)(const param *)) {
    int64_t end = 0, ends[KINDS];
    for (kind k = TRAINED; k < KINDS; k++) {
        for (int i = 0; i < count; i++) {
            param *p = params[i];
            if (kind_of(p) != k) continue;
            p->offset = has_values(p) ? end : -1;
            if (p->offset >= 0) end += (param_count(p) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
        ends[k] = end;
    }
    return (arena_layout){.trained = ends[TRAINED], .stored = ends[STORED], .total = ends[DERIVED]};
}
