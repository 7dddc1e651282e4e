/* A thin layer over oneDNN's C interface, the same for 2.6 (Debian 12) and 3.x: cached matrix products, and the packed
 * layouts that they like best.
 *
 * Creating a primitive costs 0.2 ms (10 ms for the first of its kind), running a known one 0.01 ms, so each thread keeps the
 * PRODUCT_LIMIT that it used last: a primitive is only run by the thread that made it (oneDNN's scratch memory asks for that).
 * Called by one thread, OpenMP works inside; called from a parallel region, a product runs on the caller alone.
 *
 * oneDNN refuses for one reason only, memory: functions then return NULL or false. */
#ifndef MOEC_KERNEL_CPU_ONEDNN_H
#define MOEC_KERNEL_CPU_ONEDNN_H

#include "kernel/kernel.h"
#include <dnnl.h>

enum { PRODUCT_LIMIT = 256 };

/* 2.x: a description of memory is a struct; 3.x: a handle. Here both are pointers that layout_free releases. */
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t layout;
typedef const_dnnl_memory_desc_t layout_view;
#else
typedef dnnl_memory_desc_t *layout;
typedef const dnnl_memory_desc_t *layout_view;
#endif

/* C[m, n] (+)= op(A)[m, k] · op(B)[k, n]: what tells one product from another */
typedef struct product_key {
    int64_t m, n, k;
    dtype type;   /* of A and B */
    dtype c_type; /* of C */
    bool transpose_a, transpose_b, add;
    bool packed_b; /* B lies in the layout that the product likes best instead of row-major */
} product_key;

typedef struct product product;

/* Let oneDNN use nothing above this instruction set. Before anything else here; later calls have no effect. */
void onednn_limit_isa(dnnl_cpu_isa_t isa);

/* The product for a key; valid until this thread asked for PRODUCT_LIMIT other keys. NULL: no memory. */
product *product_find(const product_key *key);
/* The layout of B; belongs to the product. */
layout_view product_b_layout(const product *p);
bool product_run(product *p, const void *a, const void *b, void *c);

layout layout_copy(layout_view from);
layout layout_plain(dtype type, int64_t rows, int64_t cols, bool transposed); /* transposed: stored [cols, rows] */
void layout_free(layout l);
bool layout_equal(layout_view a, layout_view b);
size_t layout_bytes(layout_view l);
/* Copy a matrix from one layout to another. */
bool layout_convert(layout_view to_layout, void *to, layout_view from_layout, const void *from);

#endif
