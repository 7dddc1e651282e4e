#include "kernel/profile.h"

#include <pthread.h>
#include <time.h>

static profile *active;
static const kernels *inner;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const names[KERNELS] = {
#define KERNEL(name, parameters, arguments, flops) #name,
#define KERNEL_STATUS KERNEL
#include "kernel/kernel_list.h"
#undef KERNEL
#undef KERNEL_STATUS
};
const char *kernel_name(kernel_id id) {
    return names[id];
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void add_call(kernel_id id, double seconds, double flops) {
    pthread_mutex_lock(&lock);
    profile_entry *e = &active->entries[id];
    e->seconds += seconds;
    e->calls++;
    e->flops += flops;
    pthread_mutex_unlock(&lock);
}

/* ---- the operations of those that compute ---- */

static double matmul_flops(const matmul_args *a) {
    return 2 * (double)a->m * (double)a->n * (double)a->k;
}

static void note_product(product_kind kind, const weight *w, int64_t N) {
    for (int i = 0; i < active->product_count; i++) {
        profile_product *p = &active->products[i];
        if (p->kind != kind || p->rows != w->rows || p->cols != w->cols || p->N != N) continue;
        p->calls++;
        return;
    }
    if (active->product_count == PROFILE_MAX_PRODUCTS) return;
    active->products[active->product_count++] =
        (profile_product){.kind = kind, .rows = w->rows, .cols = w->cols, .N = N, .calls = 1};
}

static double product_flops(product_kind kind, const weight *w, int64_t N) {
    pthread_mutex_lock(&lock);
    note_product(kind, w, N);
    pthread_mutex_unlock(&lock);
    return 2 * (double)w->rows * (double)w->cols * (double)N;
}

static double several_flops(const weight *const *w, int64_t count, int64_t N) {
    double flops = 0;
    for (int64_t i = 0; i < count; i++) flops += product_flops(PRODUCT_FORWARD, w[i], N);
    return flops;
}

/* Two products (q kᵀ, p v) of the causal half; backward has four (dp, dv, dq, dk) and forms q kᵀ
 * again, which is not counted: it is how, not what. */
static double attention_flops(const attention_shape *s, int products) {
    double pairs = (double)s->queries * ((double)s->keys - (double)(s->queries - 1) / 2);
    return products * 2 * pairs * (double)s->batch * s->heads * s->head_dim;
}

static double attention_spans_flops(const attention_span *spans, int64_t count, const attention_shape *s) {
    double flops = 0;
    for (int64_t i = 0; i < count; i++) {
        attention_shape one = *s;
        one.batch = 1;
        one.queries = spans[i].queries;
        one.keys = spans[i].keys;
        flops += attention_flops(&one, 2);
    }
    return flops;
}

static double muon_flops(int64_t rows, int64_t cols, const muon_args *args) {
    double thin = rows < cols ? (double)rows : (double)cols, wide = rows < cols ? (double)cols : (double)rows;
    return args->newton_schulz_steps * 2 * (2 * thin * thin * wide + thin * thin * thin);
}

static double gram_flops(int64_t N, int64_t cols) {
    return 2 * (double)N * (double)cols * (double)cols;
}

/* ---- the timed twin of every kernel ---- */

#define KERNEL(name, parameters, arguments, flops)                                                                     \
    static void timed_##name parameters {                                                                              \
        double started = now();                                                                                        \
        inner->name arguments;                                                                                         \
        double seconds = now() - started;                                                                              \
        add_call(KERNEL_ID_##name, seconds, flops);                                                                    \
    }
#define KERNEL_STATUS(name, parameters, arguments, flops)                                                              \
    static status timed_##name parameters {                                                                            \
        double started = now();                                                                                        \
        status outcome = inner->name arguments;                                                                        \
        double seconds = now() - started;                                                                              \
        add_call(KERNEL_ID_##name, seconds, flops);                                                                    \
        return outcome;                                                                                                \
    }
#include "kernel/kernel_list.h"
#undef KERNEL
#undef KERNEL_STATUS

kernels profile_kernels(profile *p, const kernels *k) {
    *p = (profile){0};
    active = p;
    inner = k;
    return (kernels){
        .name = k->name,
        .act = k->act,
#define KERNEL(name, parameters, arguments, flops) .name = timed_##name,
#define KERNEL_STATUS KERNEL
#include "kernel/kernel_list.h"
#undef KERNEL
#undef KERNEL_STATUS
    };
}

void profile_clear(profile *p) {
    *p = (profile){0};
}

double profile_flops(const profile *p) {
    double flops = 0;
    for (int i = 0; i < KERNELS; i++) flops += p->entries[i].flops;
    return flops;
}
