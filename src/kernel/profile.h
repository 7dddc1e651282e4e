/* A table of kernels that times another: each call is passed on, and its seconds, calls and floating-point operations are
 * added up by name. `moec bench` runs a model with it; nothing else pays for it. One profile is active at a time. */
#ifndef MOEC_KERNEL_PROFILE_H
#define MOEC_KERNEL_PROFILE_H

#include "kernel/kernel.h"

enum { PROFILE_MAX_ENTRIES = 64, PROFILE_MAX_PRODUCTS = 256 };

typedef struct profile_entry {
    const char *name; /* of the kernel, as in kernel.h */
    double seconds;
    int64_t calls;
    double flops; /* counted from the shapes, 2 a multiply-add; 0 for what moves memory */
} profile_entry;

/* A distinct matrix product with a weight, so that its rate can be measured by itself. */
typedef enum product_kind { PRODUCT_FORWARD, PRODUCT_BACKWARD_INPUT, PRODUCT_BACKWARD_WEIGHT } product_kind;
typedef struct profile_product {
    product_kind kind;
    int64_t rows, cols, N;
    int64_t calls;
} profile_product;

typedef struct profile {
    profile_entry entries[PROFILE_MAX_ENTRIES];
    int entry_count;
    profile_product products[PROFILE_MAX_PRODUCTS];
    int product_count;
} profile;

/* A table that counts into *p and computes with k. */
kernels profile_kernels(profile *p, const kernels *k);
void profile_clear(profile *p); /* forget the counts, keep the names */
double profile_flops(const profile *p);

#endif
