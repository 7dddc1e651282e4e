/* A table of kernels that times another: each call is passed on, and its seconds, calls and floating-point operations are
 * added up by kernel. `moec bench` runs a model with it; nothing else pays for it. One profile is active at a time; calls
 * may come from several threads. */
#ifndef MOEC_KERNEL_PROFILE_H
#define MOEC_KERNEL_PROFILE_H

#include "kernel/kernel.h"

/* One number a kernel of the list: KERNEL_ID_linear … */
typedef enum kernel_id {
#define KERNEL(name, parameters, arguments, flops) KERNEL_ID_##name,
#define KERNEL_STATUS KERNEL
#include "kernel/kernel_list.h"
#undef KERNEL
#undef KERNEL_STATUS
    KERNELS
} kernel_id;
const char *kernel_name(kernel_id id); /* as in kernel_list.h */

typedef struct profile_entry {
    double seconds;
    int64_t calls;
    double flops; /* counted from the shapes, 2 a multiply-add; 0 for what moves memory */
} profile_entry;

/* A distinct matrix product with a weight, so that its rate can be measured by itself. */
typedef enum product_kind {
    PRODUCT_FORWARD,
    PRODUCT_BACKWARD_INPUT,
    PRODUCT_BACKWARD_WEIGHT,
    PRODUCT_GROUPED /* of all experts together: is not measured by itself */
} product_kind;
typedef struct profile_product {
    product_kind kind;
    int64_t rows, cols, N;
    int64_t calls;
} profile_product;

enum { PROFILE_MAX_PRODUCTS = 256 };

typedef struct profile {
    profile_entry entries[KERNELS]; /* by kernel_id */
    profile_product products[PROFILE_MAX_PRODUCTS];
    int product_count;
} profile;

/* A table that counts into *p and computes with k. */
kernels profile_kernels(profile *p, const kernels *k);
void profile_clear(profile *p);
double profile_flops(const profile *p);

#endif
