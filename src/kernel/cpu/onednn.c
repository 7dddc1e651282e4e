#include "kernel/cpu/onednn.h"

#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- the engine ---- */

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void must(dnnl_status_t s, const char *what) {
    if (s == dnnl_success) return;
    fprintf(stderr, "moec: oneDNN cannot %s (status %d): out of memory?\n", what, (int)s);
    exit(1);
}

/* oneDNN's own cache would keep another thousand products, half a megabyte of code each, as experts see new numbers of
 * tokens; it is only of use for reorderings. */
enum { OWN_CACHE = 64 };

static void start(void) {
    if (engine) return;
    must(dnnl_set_primitive_cache_capacity(OWN_CACHE), "limit its cache");
    must(dnnl_engine_create(&engine, dnnl_cpu, 0), "start its CPU engine");
    must(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "start a stream");
}

void onednn_limit_isa(dnnl_cpu_isa_t isa) {
    if (!engine) dnnl_set_max_cpu_isa(isa);
}

/* ---- where 2.x and 3.x differ ---- */

static dnnl_data_type_t data_type(dtype type) {
    return type == DTYPE_BF16 ? dnnl_bf16 : dnnl_f32;
}

#if DNNL_VERSION_MAJOR >= 3
static layout layout_create(dtype type, int64_t rows, int64_t cols, dnnl_format_tag_t tag) {
    layout l;
    dnnl_dims_t dims = {rows, cols};
    must(dnnl_memory_desc_create_with_tag(&l, 2, dims, data_type(type), tag), "describe a matrix");
    return l;
}

layout layout_copy(layout_view from) {
    layout l;
    must(dnnl_memory_desc_clone(&l, from), "copy a layout");
    return l;
}

void layout_free(layout l) {
    if (l) dnnl_memory_desc_destroy(l);
}

static void append_sum(dnnl_post_ops_t operations) {
    must(dnnl_post_ops_append_sum(operations, 1, 0, dnnl_data_type_undef), "add to a matrix");
}

static dnnl_primitive_desc_t describe_product(layout_view a, layout_view b, layout_view c, dnnl_primitive_attr_t attr) {
    dnnl_primitive_desc_t description;
    must(dnnl_matmul_primitive_desc_create(&description, engine, a, b, NULL, c, attr), "describe a product");
    return description;
}
#else
static layout layout_create(dtype type, int64_t rows, int64_t cols, dnnl_format_tag_t tag) {
    layout l = xmalloc(sizeof *l);
    dnnl_dims_t dims = {rows, cols};
    must(dnnl_memory_desc_init_by_tag(l, 2, dims, data_type(type), tag), "describe a matrix");
    return l;
}

layout layout_copy(layout_view from) {
    layout l = xmalloc(sizeof *l);
    *l = *from;
    return l;
}

void layout_free(layout l) {
    free(l);
}

static void append_sum(dnnl_post_ops_t operations) {
    must(dnnl_post_ops_append_sum(operations, 1), "add to a matrix");
}

static dnnl_primitive_desc_t describe_product(layout_view a, layout_view b, layout_view c, dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t operation;
    dnnl_primitive_desc_t description;
    must(dnnl_matmul_desc_init(&operation, a, b, NULL, c), "describe a product");
    must(dnnl_primitive_desc_create(&description, &operation, attr, engine, NULL), "describe a product");
    return description;
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
    must(dnnl_memory_create(&memory, l, engine, (void *)bytes), "attach memory");
    return memory;
}

void layout_convert(layout_view to_layout, void *to, layout_view from_layout, const void *from) {
    start();
    dnnl_primitive_desc_t description;
    dnnl_primitive_t reorder;
    must(dnnl_reorder_primitive_desc_create(&description, from_layout, engine, to_layout, engine, NULL),
         "describe a reordering");
    must(dnnl_primitive_create(&reorder, description), "create a reordering"); /* oneDNN keeps a cache of its own */
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, memory_of(from_layout, from)}, {DNNL_ARG_TO, memory_of(to_layout, to)}};
    must(dnnl_primitive_execute(reorder, stream, 2, args), "reorder a matrix");
    must(dnnl_stream_wait(stream), "reorder a matrix");
    for (int i = 0; i < 2; i++) dnnl_memory_destroy(args[i].memory);
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(description);
}

/* ---- products ---- */

struct product {
    product_key key;
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, c; /* descriptions; product_run attaches the bytes */
    layout b_layout;
    product *next_in_bucket;
    product *newer, *older; /* the order of use */
};

enum { BUCKETS = 1024 };
static product *buckets[BUCKETS];
static product *newest, *oldest;
static int64_t products;

static product **bucket_of(const product_key *key) {
    uint64_t flags = (uint64_t)key->type | (uint64_t)key->c_type << 8 | (uint64_t)key->transpose_a << 16 |
                     (uint64_t)key->transpose_b << 17 | (uint64_t)key->add << 18 | (uint64_t)key->packed_b << 19;
    uint64_t hash = flags;
    int64_t sizes[] = {key->m, key->n, key->k};
    for (int i = 0; i < 3; i++) hash = (hash ^ (uint64_t)sizes[i]) * 0x9e3779b97f4a7c15u, hash ^= hash >> 29;
    return &buckets[hash % BUCKETS];
}

static void unlink_use(product *p) {
    *(p->newer ? &p->newer->older : &newest) = p->older;
    *(p->older ? &p->older->newer : &oldest) = p->newer;
}

static void link_newest(product *p) {
    p->newer = NULL;
    p->older = newest;
    *(newest ? &newest->newer : &oldest) = p;
    newest = p;
}

static void product_destroy(product *p) {
    product **link = bucket_of(&p->key);
    while (*link != p) link = &(*link)->next_in_bucket;
    *link = p->next_in_bucket;
    unlink_use(p);
    dnnl_memory_t memories[] = {p->a, p->b, p->c};
    for (int i = 0; i < 3; i++) dnnl_memory_destroy(memories[i]);
    dnnl_primitive_destroy(p->primitive);
    layout_free(p->b_layout);
    free(p);
    products--;
}

static void describe_matrices(layout matrices[3], const product_key *key) {
    dnnl_format_tag_t b_tag = key->packed_b ? dnnl_format_tag_any : key->transpose_b ? dnnl_ba : dnnl_ab;
    matrices[0] = layout_create(key->type, key->m, key->k, key->transpose_a ? dnnl_ba : dnnl_ab);
    matrices[1] = layout_create(key->type, key->k, key->n, b_tag);
    matrices[2] = layout_create(key->c_type, key->m, key->n, dnnl_ab);
}

static product *product_create(const product_key *key) {
    start();
    product *p = xcalloc(1, sizeof *p);
    p->key = *key;
    layout matrices[3];
    describe_matrices(matrices, key);
    dnnl_primitive_attr_t attributes;
    must(dnnl_primitive_attr_create(&attributes), "create attributes");
    if (key->add) {
        dnnl_post_ops_t operations;
        must(dnnl_post_ops_create(&operations), "create attributes");
        append_sum(operations);
        must(dnnl_primitive_attr_set_post_ops(attributes, operations), "create attributes");
        dnnl_post_ops_destroy(operations);
    }
    dnnl_primitive_desc_t description = describe_product(matrices[0], matrices[1], matrices[2], attributes);
    must(dnnl_primitive_create(&p->primitive, description), "create a product");
    p->b_layout = layout_copy(dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0));
    p->a = memory_of(matrices[0], DNNL_MEMORY_NONE);
    p->b = memory_of(p->b_layout, DNNL_MEMORY_NONE);
    p->c = memory_of(matrices[2], DNNL_MEMORY_NONE);
    for (int i = 0; i < 3; i++) layout_free(matrices[i]);
    dnnl_primitive_attr_destroy(attributes);
    dnnl_primitive_desc_destroy(description);
    return p;
}

static bool same_key(const product_key *a, const product_key *b) {
    return a->m == b->m && a->n == b->n && a->k == b->k && a->type == b->type && a->c_type == b->c_type &&
           a->transpose_a == b->transpose_a && a->transpose_b == b->transpose_b && a->add == b->add &&
           a->packed_b == b->packed_b;
}

product *product_find(const product_key *key) {
    product **bucket = bucket_of(key), *p = *bucket;
    while (p && !same_key(&p->key, key)) p = p->next_in_bucket;
    if (p) {
        unlink_use(p);
    } else {
        if (products == PRODUCT_LIMIT) product_destroy(oldest);
        p = product_create(key);
        p->next_in_bucket = *bucket;
        *bucket = p;
        products++;
    }
    link_newest(p);
    return p;
}

layout_view product_b_layout(const product *p) {
    return p->b_layout;
}

void product_run(product *p, const void *a, const void *b, void *c) {
    must(dnnl_memory_set_data_handle(p->a, (void *)a), "attach memory");
    must(dnnl_memory_set_data_handle(p->b, (void *)b), "attach memory");
    must(dnnl_memory_set_data_handle(p->c, c), "attach memory");
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, p->a}, {DNNL_ARG_WEIGHTS, p->b}, {DNNL_ARG_DST, p->c}};
    must(dnnl_primitive_execute(p->primitive, stream, 3, args), "multiply");
    must(dnnl_stream_wait(stream), "multiply");
}
