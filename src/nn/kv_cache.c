/* The pool of blocks, the sequences' tables, and how they share. */
#include "nn/kv_cache.h"

#include "base/memory.h"
#include "nn/pass_state.h"
#include <stdlib.h>
#include <string.h>

/* ---- the rows ---- */

/* Every array of the cache and the bytes of its rows; calls visit(…, array, bytes). */
typedef void (*cache_visitor)(void *context, void **rows, size_t bytes);
static void visit_rows(kv_cache *c, cache_visitor visit, void *context) {
    const model_parts *s = c->m->parts;
    const dtype act = c->m->k->act;
    if (c->m->config.stem.smear) visit(context, &c->stem.smear, (size_t)c->m->config.model_dim * dtype_bytes(act));
    for (int i = 0; i < c->count; i++) {
        const layer_plan *plan = &s->blocks[s->path.layer[i]].plan;
        attention_cache *a = &c->passes[i].attention;
        const size_t row = cache_row_bytes(c->type, act, plan->attention.kv_heads, plan->attention.head_dim);
        a->type = c->type;
        visit(context, &a->k, row);
        visit(context, &a->v, row);
        if (plan->smear_width > 0) visit(context, &c->passes[i].smear, (size_t)plan->smear_width * dtype_bytes(act));
    }
}

typedef struct creation {
    const kv_cache *c;
    status s;
} creation;

static void create_rows(void *context, void **rows, size_t bytes) {
    creation *made = context;
    const size_t count = (size_t)(made->c->blocks * made->c->block);
    if (made->s == STATUS_OK) made->s = made->c->m->k->alloc_sparse(rows, count * bytes);
}

static void release_rows(void *context, void **rows, size_t bytes) {
    const kv_cache *c = context;
    (void)bytes;
    c->m->k->release(*rows);
}

static void add_bytes(void *context, void **rows, size_t bytes) {
    (void)rows;
    *(size_t *)context += bytes;
}

int64_t kv_cache_token_bytes(const kv_cache *c) {
    size_t bytes = sizeof *c->ids;
    visit_rows((kv_cache *)c, add_bytes, &bytes);
    return (int64_t)bytes;
}

typedef struct copying {
    const kv_cache *c;
    int32_t to, from; /* blocks */
    int64_t rows;
} copying;

static void copy_block(void *context, void **rows, size_t bytes) {
    const copying *a = context;
    const size_t block = (size_t)a->c->block * bytes;
    a->c->m->k->copy((char *)*rows + (size_t)a->to * block, (const char *)*rows + (size_t)a->from * block,
                     (size_t)a->rows * bytes);
}

/* ---- its life ---- */

static int64_t blocks_for(const kv_cache *c, int64_t tokens) {
    return (tokens + c->block - 1) / c->block;
}

/* How many blocks the pool has. */
static status size_pool(kv_cache *c, const kv_cache_size *size) {
    const int64_t block_bytes = c->block * kv_cache_token_bytes(c), least = c->table_size;
    c->blocks = (size->full_sequences > 0 ? size->full_sequences : size->sequences) * c->table_size;
    if (size->bytes > 0) c->blocks = size->bytes / block_bytes;
    if (c->blocks < least)
        return fail_usage(
            "cache memory: expected at least %lld bytes, %lld blocks of %lld tokens for a text of %lld, found %lld",
            (long long)(least * block_bytes), (long long)least, (long long)c->block, (long long)c->capacity,
            (long long)size->bytes);
    if (c->blocks > INT32_MAX || c->blocks > INT64_MAX / block_bytes)
        return fail_usage("cache memory: expected at most %d blocks of %lld bytes, found %lld", INT32_MAX,
                          (long long)block_bytes, (long long)c->blocks);
    return STATUS_OK;
}

static void create_tables(kv_cache *c) {
    c->lengths = xcalloc((size_t)c->sequences, sizeof *c->lengths);
    c->held = xcalloc((size_t)c->sequences, sizeof *c->held);
    c->tables = xmalloc((size_t)(c->sequences * c->table_size) * sizeof *c->tables);
    c->ids = xmalloc((size_t)(c->sequences * c->capacity) * sizeof *c->ids);
    c->holders = xcalloc((size_t)c->blocks, sizeof *c->holders);
    c->marks = xcalloc((size_t)c->blocks, sizeof *c->marks);
    c->unused = xmalloc((size_t)c->blocks * sizeof *c->unused);
    c->free = c->blocks;
    /* The lowest is taken first, so that blocks that are taken one after another are neighbours. */
    for (int64_t i = 0; i < c->blocks; i++) c->unused[i] = (int32_t)(c->blocks - 1 - i);
}

status kv_cache_create_sized(kv_cache **out, const model *m, const kv_cache_size *size) {
    const int passes = m->parts->path.length;
    const int64_t usual = size->capacity < CACHE_BLOCK ? size->capacity : CACHE_BLOCK;
    kv_cache *c = xcalloc(1, sizeof *c);
    *c = (kv_cache){.m = m, .sequences = size->sequences, .capacity = size->capacity, .count = passes};
    /* of activations in bf16 that is the same, and copied as it is */
    c->type = m->cache == CACHE_BF16 && m->k->act == DTYPE_BF16 ? CACHE_ACT : m->cache;
    c->block = size->block > 0 ? size->block : usual;
    c->table_size = blocks_for(c, c->capacity);
    c->passes = xcalloc((size_t)passes, sizeof *c->passes);
    creation made = {c, size_pool(c, size)};
    if (made.s == STATUS_OK) visit_rows(c, create_rows, &made);
    if (made.s == STATUS_OK) {
        create_tables(c);
        *out = c;
    } else
        kv_cache_destroy(c);
    return made.s;
}

status kv_cache_create(kv_cache **out, const model *m, int64_t sequences, int64_t capacity) {
    return kv_cache_create_sized(out, m, &(kv_cache_size){.sequences = sequences, .capacity = capacity});
}

void kv_cache_destroy(kv_cache *c) {
    if (!c) return;
    visit_rows(c, release_rows, c);
    free(c->ids);
    free(c->passes);
    free(c->lengths);
    free(c->held);
    free(c->tables);
    free(c->holders);
    free(c->marks);
    free(c->unused);
    free(c);
}

int64_t kv_cache_capacity(const kv_cache *c) {
    return c->capacity;
}

int64_t kv_cache_length(const kv_cache *c, int64_t sequence) {
    return c->lengths[sequence];
}

const int32_t *kv_cache_tokens(const kv_cache *c, int64_t sequence) {
    return c->ids + sequence * c->capacity;
}

/* ---- blocks ---- */

static int32_t *table_of(const kv_cache *c, int64_t sequence) {
    return c->tables + sequence * c->table_size;
}

cache_table kv_cache_table(const kv_cache *c, int64_t sequence) {
    return (cache_table){table_of(c, sequence), c->block};
}

static int32_t take_block(kv_cache *c) {
    const int32_t block = c->unused[--c->free];
    c->holders[block] = 1;
    return block;
}

static void hold_block(kv_cache *c, int32_t block) {
    c->shared += ++c->holders[block] == 2;
}

static void leave_block(kv_cache *c, int32_t block) {
    const int32_t left = --c->holders[block];
    c->shared -= left == 1;
    if (left == 0) c->unused[c->free++] = block;
}

/* The last one first: the next one to be taken is then the first of those that are left. */
static void leave_from(kv_cache *c, int64_t sequence, int64_t count) {
    while (c->held[sequence] > count) leave_block(c, table_of(c, sequence)[--c->held[sequence]]);
}

void kv_cache_cut(kv_cache *c, int64_t sequence, int64_t length) {
    c->lengths[sequence] = length;
    leave_from(c, sequence, blocks_for(c, length));
}

void kv_cache_copy(kv_cache *c, int64_t to, int64_t from, int64_t length) {
    const int64_t count = blocks_for(c, length);
    if (to == from) {
        kv_cache_cut(c, to, length);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        hold_block(c, table_of(c, from)[i]); /* before `to` leaves what may be the same */
    leave_from(c, to, 0);
    memcpy(table_of(c, to), table_of(c, from), (size_t)count * sizeof *c->tables);
    memcpy(c->ids + to * c->capacity, c->ids + from * c->capacity, (size_t)length * sizeof *c->ids);
    c->held[to] = count;
    c->lengths[to] = length;
}

/* ---- room ---- */

/* The next token goes to a block that others hold, too. What is held beyond the tokens was reserved: nobody else has it. */
static bool writes_to_shared(const kv_cache *c, int64_t sequence) {
    const int64_t length = c->lengths[sequence];
    return length % c->block > 0 && c->holders[table_of(c, sequence)[length / c->block]] > 1;
}

int64_t kv_cache_missing(const kv_cache *c, int64_t sequence, int64_t count) {
    const int64_t more = blocks_for(c, c->lengths[sequence] + count) - c->held[sequence];
    return (more > 0 ? more : 0) + (count > 0 && writes_to_shared(c, sequence));
}

static void own_last_block(kv_cache *c, int64_t sequence) {
    const int64_t length = c->lengths[sequence];
    int32_t *last = &table_of(c, sequence)[length / c->block];
    copying a = {.c = c, .to = take_block(c), .from = *last, .rows = length % c->block};
    visit_rows(c, copy_block, &a);
    leave_block(c, *last);
    *last = a.to;
}

bool kv_cache_reserve(kv_cache *c, int64_t sequence, int64_t count) {
    if (kv_cache_missing(c, sequence, count) > c->free) return false;
    if (count > 0 && writes_to_shared(c, sequence)) own_last_block(c, sequence);
    const int64_t wanted = blocks_for(c, c->lengths[sequence] + count);
    while (c->held[sequence] < wanted) table_of(c, sequence)[c->held[sequence]++] = take_block(c);
    return true;
}

int64_t kv_cache_room(const kv_cache *c, int64_t sequence) {
    const int64_t held = c->held[sequence] * c->block, most = held < c->capacity ? held : c->capacity;
    return most - c->lengths[sequence];
}

int64_t kv_cache_held(kv_cache *c, int64_t first, int64_t count) {
    int64_t held = 0;
    c->mark++;
    for (int64_t s = first; s < first + count; s++)
        for (int64_t i = 0; i < c->held[s]; i++) {
            uint64_t *mark = &c->marks[table_of(c, s)[i]];
            held += *mark != c->mark;
            *mark = c->mark;
        }
    return held;
}

kv_cache_blocks kv_cache_count(const kv_cache *c) {
    return (kv_cache_blocks){.tokens = c->block, .all = c->blocks, .free = c->free, .shared = c->shared};
}
