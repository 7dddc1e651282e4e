#include "grad/rotary.h"

#include "base/memory.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

/* A table that has become too short stays: another thread may still read it. Each is at least twice as long as the one
 * before, so all together are no more than twice the last. */
typedef struct grown {
    rotary_table table;
    struct grown *shorter;
} grown;

struct rotary {
    const kernels *k;
    rotary_config config;
    int dims;
    float *frequency; /* [dims / 2] */
    float amplitude;  /* of cosines and sines: yarn's attention factor */
    pthread_mutex_t lock;
    grown *longest; /* NULL: none yet; read without the lock */
};

/* ---- frequencies ---- */

/* Llama 3.1: waves longer than original_context / low_freq_factor are slowed by `factor`, those shorter than
 * original_context / high_freq_factor are not, and between them it goes over linearly in the wave's number of turns. */
static float llama3(const rotary_config *c, float frequency) {
    float wave = 2 * (float)M_PI / frequency, context = (float)c->original_context;
    if (wave > context / c->low_freq_factor) return frequency / c->factor;
    if (wave < context / c->high_freq_factor) return frequency;
    float smooth = (context / wave - c->low_freq_factor) / (c->high_freq_factor - c->low_freq_factor);
    return (1 - smooth) * frequency / c->factor + smooth * frequency;
}

/* YaRN: the channel pair that turns so often within the original context. */
static double yarn_pair(const rotary_config *c, int dims, float turns) {
    return dims * log(c->original_context / ((double)turns * 2 * M_PI)) / (2 * log((double)c->base));
}

static float yarn(const rotary_config *c, int dims, int i, float frequency) {
    double low = fmax(floor(yarn_pair(c, dims, c->beta_fast)), 0);
    double high = fmin(ceil(yarn_pair(c, dims, c->beta_slow)), dims - 1);
    if (high == low) high += 0.001;
    float slowed = fminf(fmaxf(((float)i - (float)low) / (float)(high - low), 0), 1);
    return frequency / c->factor * slowed + frequency * (1 - slowed);
}

/* Frequencies are rounded to float32 like the scripts' (1 / base ** (arange / dims)): at position 1000 another rounding
 * moves an angle by 6·10⁻⁵. */
float rotary_frequency(const rotary_config *c, int dims, int i) {
    float plain = 1.0f / powf(c->base, (float)i / (float)(dims / 2));
    switch (c->scaling) {
    case ROTARY_LINEAR:
        return plain / c->factor;
    case ROTARY_LLAMA3:
        return llama3(c, plain);
    case ROTARY_YARN:
        return yarn(c, dims, i, plain);
    default:
        return plain;
    }
}

float rotary_yarn_amplitude(float factor) {
    return factor > 1 ? (float)(0.1 * log((double)factor) + 1) : 1;
}

static float amplitude_of(const rotary_config *c) {
    if (c->scaling != ROTARY_YARN) return 1;
    return c->attention_factor > 0 ? c->attention_factor : rotary_yarn_amplitude(c->factor);
}

status rotary_create(rotary **out, const kernels *k, const rotary_config *config, int head_dim) {
    rotary *r = xcalloc(1, sizeof *r);
    r->k = k;
    r->config = *config;
    r->dims = config->dims > 0 ? config->dims : head_dim;
    r->amplitude = amplitude_of(config);
    r->frequency = xmalloc((size_t)r->dims * sizeof *r->frequency);
    for (int i = 0; i < r->dims / 2; i++) r->frequency[i] = rotary_frequency(config, r->dims, i);
    pthread_mutex_init(&r->lock, NULL);
    *out = r;
    return STATUS_OK;
}

void rotary_destroy(rotary *r) {
    if (!r) return;
    for (grown *g = r->longest, *shorter; g; g = shorter) {
        shorter = g->shorter;
        r->k->release((void *)g->table.values);
        free(g);
    }
    pthread_mutex_destroy(&r->lock);
    free(r->frequency);
    free(r);
}

/* ---- tables ---- */

/* The records turn one way, everybody else the other: the kernel's formula is the records', so the others' sines are
 * negative. */
static void fill(const rotary *r, float *values, int64_t positions) {
    int half = r->dims / 2;
    float sign = r->config.style == ROTARY_RECORD ? 1 : -1;
    for (int64_t p = 0; p < positions; p++)
        for (int i = 0; i < half; i++) {
            float angle = (float)p * r->frequency[i];
            values[p * r->dims + i] = r->amplitude * (float)cos(angle);
            values[p * r->dims + half + i] = sign * r->amplitude * (float)sin(angle);
        }
}

/* Under the lock. NULL: no memory. */
static grown *grow(rotary *r, int64_t positions) {
    int64_t known = r->longest ? r->longest->table.positions : 0;
    if (positions < 2 * known) positions = 2 * known; /* generation asks for one more each time */
    size_t bytes = (size_t)(positions * r->dims) * sizeof(float);
    void *device;
    float *host = malloc(bytes + 1);
    grown *g = calloc(1, sizeof *g);
    if (!host || !g || r->k->alloc(&device, bytes) != STATUS_OK) {
        free(host);
        free(g);
        return NULL;
    }
    fill(r, host, positions);
    r->k->upload(device, host, bytes);
    free(host);
    g->table = (rotary_table){
        .values = device, .positions = positions, .dims = r->dims, .neighbours = r->config.style == ROTARY_NEIGHBOURS};
    g->shorter = r->longest;
    __atomic_store_n(&r->longest, g, __ATOMIC_RELEASE);
    return g;
}

const rotary_table *rotary_reserve(rotary *r, int64_t positions) {
    grown *g = __atomic_load_n(&r->longest, __ATOMIC_ACQUIRE);
    if (g && g->table.positions >= positions) return &g->table;
    pthread_mutex_lock(&r->lock);
    g = r->longest;
    if (!g || g->table.positions < positions) g = grow(r, positions);
    pthread_mutex_unlock(&r->lock);
    return g ? &g->table : NULL;
}
