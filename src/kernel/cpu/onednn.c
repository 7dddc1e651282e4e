#include "kernel/cpu/onednn.h"

#include "base/memory.h"

#include <pthread.h>
#include <stdlib.h>

struct product {
    product_key key;
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, c; /* descriptions; product_run attaches the bytes */
    layout b_layout;
    product *next_in_bucket;
    product *newer, *older; /* the order of use */
};

/* ---- the engine, one for the process, and what each thread has of its own ---- */

enum { BUCKETS = 1024 };
typedef struct product_cache {
    dnnl_stream_t stream;
    product *buckets[BUCKETS];
    product *newest, *oldest;
    int64_t count;
} product_cache;

static dnnl_engine_t engine;
static pthread_once_t engine_once = PTHREAD_ONCE_INIT;
static pthread_key_t cache_key;
static _Thread_local product_cache *own;

static bool worked(dnnl_status_t s) {
    return s == dnnl_success;
}

static void product_free(product *p) {
    dnnl_memory_t memories[] = {p->a, p->b, p->c};
    for (int i = 0; i < 3; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
    layout_free(p->b_layout);
    free(p);
}

/* When a thread ends. */
static void cache_free(void *cache) {
    product_cache *c = cache;
    for (product *p = c->newest, *older; p; p = older) {
        older = p->older;
        product_free(p);
    }
    dnnl_stream_destroy(c->stream);
    free(c);
}

/* oneDNN's own cache would keep another thousand products, half a megabyte of code each, as experts see new numbers of
 * tokens; it is only of use for reorderings. */
enum { OWN_CACHE = 64 };

static void start_engine(void) {
    dnnl_set_primitive_cache_capacity(OWN_CACHE);
    if (!worked(dnnl_engine_create(&engine, dnnl_cpu, 0))) engine = NULL;
    pthread_key_create(&cache_key, cache_free);
}

static product_cache *thread_cache(void) {
    if (own) return own;
    pthread_once(&engine_once, start_engine);
    product_cache *c = engine && memory_allows() ? calloc(1, sizeof *c) : NULL;
    if (!c) return NULL;
    if (!worked(dnnl_stream_create(&c->stream, engine, dnnl_stream_default_flags))) {
        free(c);
        return NULL;
    }
    pthread_setspecific(cache_key, c);
    return own = c;
}

void onednn_limit_isa(dnnl_cpu_isa_t isa) {
    dnnl_set_max_cpu_isa(isa); /* refused once anything was computed */
}

/* ---- where 2.x and 3.x differ ---- */

static dnnl_data_type_t data_type(dtype type) {
    return type == DTYPE_BF16 ? dnnl_bf16 : dnnl_f32;
}

#if DNNL_VERSION_MAJOR >= 3
static layout layout_create(dtype type, int64_t rows, int64_t cols, dnnl_format_tag_t tag) {
    layout l;
    dnnl_dims_t dims = {rows, cols};
    return worked(dnnl_memory_desc_create_with_tag(&l, 2, dims, data_type(type), tag)) ? l : NULL;
}

layout layout_copy(layout_view from) {
    layout l;
    return worked(dnnl_memory_desc_clone(&l, from)) ? l : NULL;
}

void layout_free(layout l) {
    if (l) dnnl_memory_desc_destroy(l);
}

static bool append_sum(dnnl_post_ops_t operations) {
    return worked(dnnl_post_ops_append_sum(operations, 1, 0, dnnl_data_type_undef));
}

static bool describe_product(dnnl_primitive_desc_t *out, const layout matrices[3], dnnl_primitive_attr_t attr) {
    return worked(dnnl_matmul_primitive_desc_create(out, engine, matrices[0], matrices[1], NULL, matrices[2], attr));
}
#else
static layout layout_create(dtype type, int64_t rows, int64_t cols, dnnl_format_tag_t tag) {
    layout l = memory_allows() ? malloc(sizeof *l) : NULL;
    dnnl_dims_t dims = {rows, cols};
    if (l && worked(dnnl_memory_desc_init_by_tag(l, 2, dims, data_type(type), tag))) return l;
    free(l);
    return NULL;
}

layout layout_copy(layout_view from) {
    layout l = memory_allows() ? malloc(sizeof *l) : NULL;
    if (l) *l = *from;
    return l;
}

void layout_free(layout l) {
    free(l);
}

static bool append_sum(dnnl_post_ops_t operations) {
    return worked(dnnl_post_ops_append_sum(operations, 1));
}

static bool describe_product(dnnl_primitive_desc_t *out, const layout matrices[3], dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t operation;
    return worked(dnnl_matmul_desc_init(&operation, matrices[0], matrices[1], NULL, matrices[2])) &&
           worked(dnnl_primitive_desc_create(out, &operation, attr, engine, NULL));
}
#endif

/* ---- layouts ---- */

layout layout_plain(dtype type, int64_t rows, int64_t cols, bool transposed) {
    return layout_create(type, rows, cols, transposed ? dnnl_ba : dnnl_ab);
}

bool layout_equal(layout_view a, layout_view b) {
    return dnnl_memory_desc_equal(a, b);
}

size_t layout_bytes(layout_view l) {
    return dnnl_memory_desc_get_size(l);
}

static dnnl_memory_t memory_of(layout_view l, const void *bytes) {
    dnnl_memory_t memory;
    return l && worked(dnnl_memory_create(&memory, l, engine, (void *)bytes)) ? memory : NULL;
}

static bool reorder(dnnl_primitive_t primitive, dnnl_memory_t to, dnnl_memory_t from, dnnl_stream_t stream) {
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    return to && from && worked(dnnl_primitive_execute(primitive, stream, 2, args)) && worked(dnnl_stream_wait(stream));
}

bool layout_convert(layout_view to_layout, void *to, layout_view from_layout, const void *from) {
    product_cache *cache = thread_cache();
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive = NULL;
    if (!cache ||
        !worked(dnnl_reorder_primitive_desc_create(&description, from_layout, engine, to_layout, engine, NULL)))
        return false;
    bool done = worked(dnnl_primitive_create(&primitive, description)); /* oneDNN keeps a cache of its own */
    dnnl_memory_t source = memory_of(from_layout, from), target = memory_of(to_layout, to);
    done = done && reorder(primitive, target, source, cache->stream);
    if (source) dnnl_memory_destroy(source);
    if (target) dnnl_memory_destroy(target);
    if (primitive) dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(description);
    return done;
}

/* ---- making a product ---- */

static dnnl_primitive_attr_t attributes_of(const product_key *key) {
    dnnl_primitive_attr_t attributes;
    dnnl_post_ops_t operations;
    if (!worked(dnnl_primitive_attr_create(&attributes))) return NULL;
    if (!key->add) return attributes;
    bool done = worked(dnnl_post_ops_create(&operations));
    if (done) {
        done = append_sum(operations) && worked(dnnl_primitive_attr_set_post_ops(attributes, operations));
        dnnl_post_ops_destroy(operations);
    }
    if (done) return attributes;
    dnnl_primitive_attr_destroy(attributes);
    return NULL;
}

static bool describe(dnnl_primitive_desc_t *out, const product_key *key, const layout matrices[3]) {
    dnnl_primitive_attr_t attributes = attributes_of(key);
    bool done = attributes && matrices[0] && matrices[1] && matrices[2] && describe_product(out, matrices, attributes);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    return done;
}

static bool fill_product(product *p, dnnl_primitive_desc_t description, const layout matrices[3]) {
    if (!worked(dnnl_primitive_create(&p->primitive, description))) return false;
    p->b_layout = layout_copy(dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0));
    p->a = memory_of(matrices[0], DNNL_MEMORY_NONE);
    p->b = memory_of(p->b_layout, DNNL_MEMORY_NONE);
    p->c = memory_of(matrices[2], DNNL_MEMORY_NONE);
    return p->a && p->b && p->c;
}

static product *product_create(const product_key *key) {
    dnnl_format_tag_t b_tag = key->packed_b ? dnnl_format_tag_any : key->transpose_b ? dnnl_ba : dnnl_ab;
    const layout matrices[3] = {layout_create(key->type, key->m, key->k, key->transpose_a ? dnnl_ba : dnnl_ab),
                                layout_create(key->type, key->k, key->n, b_tag),
                                layout_create(key->c_type, key->m, key->n, dnnl_ab)};
    product *p = memory_allows() ? calloc(1, sizeof *p) : NULL;
    dnnl_primitive_desc_t description;
    bool done = p && describe(&description, key, matrices);
    if (done) {
        p->key = *key;
        done = fill_product(p, description, matrices);
        dnnl_primitive_desc_destroy(description);
    }
    for (int i = 0; i < 3; i++) layout_free(matrices[i]);
    if (done) return p;
    if (p) product_free(p);
    return NULL;
}

/* ---- finding it again ---- */

static product **bucket_of(product_cache *c, const product_key *key) {
    uint64_t flags = (uint64_t)key->type | (uint64_t)key->c_type << 8 | (uint64_t)key->transpose_a << 16 |
                     (uint64_t)key->transpose_b << 17 | (uint64_t)key->add << 18 | (uint64_t)key->packed_b << 19;
    uint64_t hash = flags;
    int64_t sizes[] = {key->m, key->n, key->k};
    for (int i = 0; i < 3; i++) hash = (hash ^ (uint64_t)sizes[i]) * 0x9e3779b97f4a7c15u, hash ^= hash >> 29;
    return &c->buckets[hash % BUCKETS];
}

static void unlink_use(product_cache *c, product *p) {
    *(p->newer ? &p->newer->older : &c->newest) = p->older;
    *(p->older ? &p->older->newer : &c->oldest) = p->newer;
}

static void link_newest(product_cache *c, product *p) {
    p->newer = NULL;
    p->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = p;
    c->newest = p;
}

static void forget_oldest(product_cache *c) {
    product *p = c->oldest, **link = bucket_of(c, &p->key);
    while (*link != p) link = &(*link)->next_in_bucket;
    *link = p->next_in_bucket;
    unlink_use(c, p);
    product_free(p);
    c->count--;
}

static bool same_key(const product_key *a, const product_key *b) {
    return a->m == b->m && a->n == b->n && a->k == b->k && a->type == b->type && a->c_type == b->c_type &&
           a->transpose_a == b->transpose_a && a->transpose_b == b->transpose_b && a->add == b->add &&
           a->packed_b == b->packed_b;
}

product *product_find(const product_key *key) {
    product_cache *c = thread_cache();
    if (!c) return NULL;
    product **bucket = bucket_of(c, key), *p = *bucket;
    while (p && !same_key(&p->key, key)) p = p->next_in_bucket;
    if (p) {
        unlink_use(c, p);
        link_newest(c, p);
        return p;
    }
    if (c->count == PRODUCT_LIMIT) forget_oldest(c);
    if (!(p = product_create(key))) return NULL;
    p->next_in_bucket = *bucket;
    *bucket = p;
    c->count++;
    link_newest(c, p);
    return p;
}

layout_view product_b_layout(const product *p) {
    return p->b_layout;
}

bool product_run(product *p, const void *a, const void *b, void *c) {
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, p->a}, {DNNL_ARG_WEIGHTS, p->b}, {DNNL_ARG_DST, p->c}};
    return worked(dnnl_memory_set_data_handle(p->a, (void *)a)) &&
           worked(dnnl_memory_set_data_handle(p->b, (void *)b)) && worked(dnnl_memory_set_data_handle(p->c, c)) &&
           worked(dnnl_primitive_execute(p->primitive, own->stream, 3, args)) && worked(dnnl_stream_wait(own->stream));
}
