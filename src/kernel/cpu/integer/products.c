/* Who multiplies what: tiles are shared out among threads, those of several weights in one go. */
#include "kernel/cpu/integer/tile.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/scratch.h"

enum { FEW = 16 }; /* rows of x, up to which each thread has one stretch of the codes in memory order */

/* A weight with its rows of an input. */
typedef struct job {
    const packed_weight *w;
    int input;
    int64_t first, count; /* rows of x and y */
    void *y;              /* row 0 */
} job;

typedef struct work {
    job *jobs;
    packed_input *inputs;
    int64_t job_count, input_count;
    const void *x;
    dtype type, y_type;
    int64_t N; /* rows of x */
} work;

/* ---- inputs ---- */

/* The input gets these rows too, and what lies between: experts with columns' steps of their own read theirs alone. */
static void widen(packed_input *x, int64_t first, int64_t count) {
    if (count == 0) return;
    const int64_t begin = x->N == 0 ? first : least(x->first, first), end = x->first + x->N;
    x->N = (x->N == 0 || end < first + count ? first + count : end) - begin;
    x->first = begin;
}

static int input_for(work *k, const packed_weight *w, int64_t first, int64_t count) {
    int64_t i = 0;
    while (i < k->input_count && !KERNEL(same_input)(k->inputs[i].kind, w)) i++;
    if (i == k->input_count) k->inputs[k->input_count++] = (packed_input){.kind = w};
    k->inputs[i].fine = k->inputs[i].fine || w->fine;
    widen(&k->inputs[i], first, count);
    return (int)i;
}

static void add_job(work *k, const packed_weight *w, void *y, int64_t first, int64_t count) {
    k->jobs[k->job_count++] =
        (job){.w = w, .input = input_for(k, w, first, count), .first = first, .count = count, .y = y};
}

/* Piece p of an input: some blocks of some rows, so that no two threads write to one cache line of scales. */
enum { PIECE_ROWS = 16, PIECE_BLOCKS = 8 };

static int64_t pieces_across(const packed_input *x) {
    return (x->blocks + PIECE_BLOCKS - 1) / PIECE_BLOCKS;
}

static void round_piece(const work *k, const packed_input *x, int64_t p) {
    const int64_t from = p % pieces_across(x) * PIECE_BLOCKS, to = least(from + PIECE_BLOCKS, x->blocks);
    const int64_t first = x->first + p / pieces_across(x) * PIECE_ROWS;
    for (int64_t n = first; n < least(first + PIECE_ROWS, x->first + x->N); n++)
        KERNEL(round_input)(x, n, from, to, k->x, k->type);
}

static void round_inputs(const work *k) {
    for (int64_t i = 0; i < k->input_count; i++) {
        const packed_input *x = &k->inputs[i];
        const int64_t pieces = (x->N + PIECE_ROWS - 1) / PIECE_ROWS * pieces_across(x);
#pragma omp for schedule(static)
        for (int64_t p = 0; p < pieces; p++) round_piece(k, x, p);
    }
}

/* ---- sharing out ---- */

static int64_t tile_cost(const job *j) {
    return j->w->depth * j->count; /* of few rows that the codes are waited for is what counts, not input bits */
}
/* What it costs to multiply by all of a job's tiles. */
static int64_t job_cost(const job *j) {
    return packed_tiles(j->w) * tile_cost(j);
}

/* Rows first … of job j, chunk by chunk of its input, times a tile. */
static void multiply_tile(const work *k, const job *j, int64_t tile, int64_t first, int64_t count) {
    const packed_input *x = &k->inputs[j->input];
    for (int64_t n = first, to; n < first + count; n = to) {
        to = least(x->first + ((n - x->first) / INPUT_ROWS + 1) * INPUT_ROWS, first + count);
        KERNEL(tile_rows)(j->w, tile, x, n, to - n, j->y, k->y_type);
    }
}

/* Few rows: to each thread one stretch of tiles in memory order, of equal cost. */
static void multiply_stretch(const work *k, int64_t total) {
    const int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    const int64_t begin = total * thread / threads, end = total * (thread + 1) / threads;
    int64_t before = 0;
    for (int64_t i = 0; i < k->job_count; i++) {
        const job *j = &k->jobs[i];
        const int64_t cost = tile_cost(j), tiles = packed_tiles(j->w);
        for (int64_t t = 0; t < tiles; t++, before += cost)
            if (before >= begin && before < end) multiply_tile(k, j, t, j->first, j->count);
    }
}

/* Many: tiles times chunks of rows, to whoever is free. */
static void multiply_pieces(const work *k) {
    for (int64_t i = 0; i < k->job_count; i++) {
        const job *j = &k->jobs[i];
        const int64_t tiles = packed_tiles(j->w), chunks = (j->count + INPUT_ROWS - 1) / INPUT_ROWS;
#pragma omp for schedule(dynamic) nowait
        for (int64_t p = 0; p < tiles * chunks; p++) {
            const int64_t from = p / tiles * INPUT_ROWS;
            multiply_tile(k, j, p % tiles, j->first + from, least(j->count - from, INPUT_ROWS));
        }
    }
}

static void run(const work *k) {
    int64_t total = 0, most = 0;
    for (int64_t i = 0; i < k->job_count; i++) {
        total += job_cost(&k->jobs[i]);
        most = k->jobs[i].count > most ? k->jobs[i].count : most;
    }
#pragma omp parallel if (total * TILE > 4 * PARALLEL_ELEMENTS)
    {
        round_inputs(k);
        if (most <= FEW)
            multiply_stretch(k, total);
        else
            multiply_pieces(k);
    }
}

/* ---- the table ---- */

/* Jobs and as many inputs lie in front of the inputs' arrays. */
static void lay_out(work *k, int64_t jobs, uintptr_t *at) {
    k->jobs = scratch_take(at, (size_t)jobs * sizeof *k->jobs);
    k->inputs = scratch_take(at, (size_t)jobs * sizeof *k->inputs);
}

static void place_inputs(work *k, uintptr_t *at) {
    for (int64_t i = 0; i < k->input_count; i++) KERNEL(place_input)(&k->inputs[i], at);
}

/* How many bytes jobs with these weights need at most; start: which rows each reads (NULL: all). */
static size_t bytes_needed(const work *k, const packed_weight *const *w, const int32_t *start, int64_t count) {
    work measured = *k;
    uintptr_t at = 0;
    lay_out(&measured, count, &at);
    for (int64_t i = 0; i < count; i++) {
        packed_input x = {.kind = w[i], .fine = true};
        bool seen = false;
        for (int64_t j = 0; j < i && !seen; j++) seen = KERNEL(same_input)(w[i], w[j]);
        for (int64_t j = i; j < count && !seen; j++)
            if (KERNEL(same_input)(w[i], w[j])) widen(&x, start ? start[j] : 0, start ? start[j + 1] - start[j] : k->N);
        if (!seen) KERNEL(place_input)(&x, &at);
    }
    return at;
}

static uintptr_t begin(work *k, const packed_weight *const *w, const int32_t *start, int64_t count) {
    uintptr_t at = (uintptr_t)KERNEL(scratch)(SCRATCH_SHARED, bytes_needed(k, w, start, count));
    lay_out(k, count, &at);
    return at;
}

static void several(void *const *y, dtype y_type, const void *x, dtype type, const packed_weight *const *w,
                    int64_t count, int64_t N) {
    work k = {.x = x, .type = type, .y_type = y_type, .N = N};
    if (N == 0) return;
    uintptr_t at = begin(&k, w, NULL, count);
    for (int64_t i = 0; i < count; i++) add_job(&k, w[i], y[i], 0, N);
    place_inputs(&k, &at);
    run(&k);
}

static void grouped(void *y, const void *x, dtype type, const packed_weight *const *w, const int32_t *start,
                    int64_t E) {
    work k = {.x = x, .type = type, .y_type = type, .N = start[E]};
    if (k.N == 0) return;
    uintptr_t at = begin(&k, w, start, E);
    for (int64_t e = 0; e < E; e++)
        if (start[e + 1] > start[e]) add_job(&k, w[e], y, start[e], start[e + 1] - start[e]);
    place_inputs(&k, &at);
    run(&k);
}

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
const packed_products KERNEL(packed_products) = {.name = TEXT(VARIANT), .several = several, .grouped = grouped};
