/* moec's coder alone, on what dump_codes left: bytes and speeds. With twins, an expert is coded given the first one of its layer.
 * Decoding is repeated, and the fastest turn of each matrix counts: others use the machine too.
 *   codec_speed FOLDER [--twins] [--each] [--turns N] */
#include "base/file.h"
#include "base/memory.h"
#include "store/weight_codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct matrix {
    char name[128];
    quantized q;
    size_t before; /* bytes in the artifact that it was dumped from */
} matrix;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static FILE *open_in(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    FILE *f = fopen(path, "rb");
    if (!f) perror(path), exit(1);
    free(path);
    return f;
}

static void read_all(void *to, size_t width, int64_t count, FILE *f) {
    if (fread(to, width, (size_t)count, f) != (size_t)count) fprintf(stderr, "codec_speed: too short\n"), exit(1);
}

/* Reads the next matrix; false at the end. */
static bool next_matrix(matrix *m, FILE *index, FILE *codes, FILE *scales) {
    long long rows, cols;
    if (fscanf(index, "%127s %lld %lld %d %zu %d", m->name, &rows, &cols, &m->q.levels, &m->before, &m->q.trellis) != 6)
        return false;
    m->q.rows = rows, m->q.cols = m->q.group = cols, m->q.input_scale = NULL;
    m->q.q = xmalloc((size_t)(rows * cols));
    m->q.scale = xmalloc((size_t)rows * sizeof(float));
    uint16_t *stored = xmalloc((size_t)rows * sizeof *stored);
    read_all(m->q.q, 1, rows * cols, codes);
    read_all(stored, sizeof *stored, rows, scales);
    for (int64_t r = 0; r < rows; r++) {
        const uint32_t bits = (uint32_t)stored[r] << 16;
        memcpy(&m->q.scale[r], &bits, sizeof bits);
    }
    free(stored);
    return true;
}

/* Up to and with ".experts_fc." the same: experts of one layer. */
static bool same_experts(const char *a, const char *b) {
    const char *expert = strstr(a, ".experts_");
    const char *end = expert ? strchr(expert + 1, '.') : NULL;
    return end && strncmp(a, b, (size_t)(end - a)) == 0;
}

/* The least of `turns`; exits where the integers do not come back. */
static double time_decoding(const quantized *q, const quantized *twin, const uint8_t *bytes, size_t count, int turns) {
    quantized back = *q;
    double least = INFINITY;
    back.q = xmalloc((size_t)(q->rows * q->cols));
    for (int i = 0; i < turns; i++) {
        memset(back.q, 0, (size_t)(q->rows * q->cols));
        const double start = seconds();
        if (weights_decode(&back, twin, bytes, count) != STATUS_OK) exit(1);
        least = fmin(least, seconds() - start);
        if (memcmp(back.q, q->q, (size_t)(q->rows * q->cols)) != 0) fprintf(stderr, "differs\n"), exit(1);
    }
    free(back.q);
    return least;
}

int main(int count, char **arguments) {
    bool twins = false, each = false;
    int turns = 1;
    for (int i = 2; i < count; i++) {
        if (strcmp(arguments[i], "--turns") == 0 && i + 1 < count) turns = atoi(arguments[i + 1]);
        twins |= strcmp(arguments[i], "--twins") == 0;
        each |= strcmp(arguments[i], "--each") == 0;
    }
    if (count < 2) return fprintf(stderr, "usage: codec_speed FOLDER [--twins] [--each] [--turns N]\n"), 2;
    FILE *index = open_in(arguments[1], "index.tsv"), *codes = open_in(arguments[1], "codes.i8"),
         *scales = open_in(arguments[1], "scales.u16");
    matrix m = {.name = ""}, first = m;
    size_t before = 0, after = 0;
    int64_t weights = 0;
    double encoding = 0, decoding = 0, entropy = 0;
    while (next_matrix(&m, index, codes, scales)) {
        const bool has_twin = twins && same_experts(m.name, first.name);
        uint8_t *bytes;
        size_t bytes_count;
        const double start = seconds();
        if (weights_encode(&m.q, has_twin ? &first.q : NULL, &bytes, &bytes_count) != STATUS_OK) return 1;
        const double middle = seconds();
        decoding += time_decoding(&m.q, has_twin ? &first.q : NULL, bytes, bytes_count, turns);
        encoding += middle - start;
        weights += m.q.rows * m.q.cols;
        before += m.before, after += bytes_count, entropy += weights_entropy(&m.q) / 8;
        if (each) printf("%s\t%zu\t%zu\t%d\n", m.name, m.before, bytes_count, bytes[0]);
        free(bytes);
        if (has_twin || !strstr(m.name, ".experts_")) {
            quantized_free(&m.q);
        } else {
            quantized_free(&first.q);
            first = m;
        }
    }
    printf("weights %lld\tin the artifact %zu\torder 0 %.0f\tbytes %zu\tbits %.4f\tencode %.1f ns\tdecode %.1f ns a "
           "weight, %.2f s "
           "for 16 MB\n",
           (long long)weights, before, entropy, after, 8.0 * (double)after / (double)weights,
           1e9 * encoding / (double)weights, 1e9 * decoding / (double)weights, decoding * 16e6 / (double)after);
    return 0;
}
