#include "eval/parity_case.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

double parity_largest(const float *a, const float *b, int64_t count, double *largest_b) {
    double difference = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        difference = fmax(difference, isfinite(a[i]) ? fabs((double)a[i] - (double)b[i]) : INFINITY);
        largest = fmax(largest, fabs((double)b[i]));
    }
    if (largest_b) *largest_b = largest;
    return difference;
}

status parity_reference(const safetensors *file, const char *name, int ndim, const int64_t *shape, float **values) {
    const safetensor *t;
    *values = NULL;
    TRY(safetensors_expect(file, name, ndim, shape, &t)); /* so that the file's size bounds the memory */
    int64_t count = (int64_t)(t->bytes / dtype_bytes(t->type));
    float *read = xmalloc((size_t)count * sizeof *read);
    status s = safetensors_read_f32(file, name, ndim, shape, read);
    for (int64_t i = 0; i < count && s == STATUS_OK; i++)
        if (!isfinite(read[i]))
            s = fail("%s: tensor %s: expected finite numbers to compare with, found %g at element %lld", file->path,
                     name, (double)read[i], (long long)i);
    if (s == STATUS_OK)
        *values = read;
    else
        free(read);
    return s;
}

/* The kernels take ids as indices. */
status parity_ids(const safetensors *io, const char *name, int64_t batch, int64_t seq, int vocabulary, int32_t **ids) {
    const int64_t shape[2] = {batch, seq};
    *ids = xmalloc((size_t)(batch * seq) * sizeof **ids);
    TRY(safetensors_read_i32(io, name, 2, shape, *ids));
    for (int64_t i = 0; i < batch * seq; i++)
        if ((*ids)[i] < 0 || (*ids)[i] >= vocabulary)
            return fail("%s: tensor %s: expected ids from 0 to %d, found %d at token %lld", io->path, name,
                        vocabulary - 1, (int)(*ids)[i], (long long)i);
    return STATUS_OK;
}

status parity_logits(pass *p, const safetensors *io, const batch *b, double *difference) {
    const int64_t V = pass_model(p)->config.vocab_size, count = b->batch * b->length * V;
    const int64_t shape[3] = {b->batch, b->length, V};
    float *theirs;
    TRY(parity_reference(io, "logits", 3, shape, &theirs));
    float *ours = xmalloc((size_t)count * sizeof *ours);
    status s = pass_logits(p, b, ours);
    if (s == STATUS_OK) *difference = parity_largest(ours, theirs, count, NULL);
    free(ours);
    free(theirs);
    return s;
}
