/* Memory that a kernel needs while it runs. Each thread keeps its own and it only grows: after the first steps nothing
 * allocates any more. The contents are left over from earlier calls. */
#ifndef MOEC_KERNEL_CPU_ISA_SCRATCH_H
#define MOEC_KERNEL_CPU_ISA_SCRATCH_H

#include "kernel/cpu/variant.h"

typedef enum scratch_use {
    SCRATCH_SHARED, /* asked for before a parallel region, by the thread that opens it */
    SCRATCH_OWN,    /* asked for by each thread inside */
    SCRATCH_USES
} scratch_use;

/* Before a parallel region: let each of its threads have `bytes` of SCRATCH_OWN, since inside nobody could say that memory is
 * out (base/memory.h). Costs nothing where they have them. */
void KERNEL(scratch_reserve)(size_t bytes);
/* At least `bytes`, 64-byte aligned; valid until this thread asks for the same use again. */
void *KERNEL(scratch)(scratch_use use, size_t bytes);

/* Lays arrays out one after another: start at 0 to learn how much they need, at the scratch's address to place them. */
static inline void *scratch_take(uintptr_t *at, size_t bytes) {
    uintptr_t here = *at;
    *at = here + (bytes + 63) / 64 * 64;
    return (void *)here;
}

#endif
