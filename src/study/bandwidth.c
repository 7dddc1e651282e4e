#include "study/bandwidth.h"

#include "base/memory.h"
#include "base/progress.h"
#include <pthread.h>
#include <stdlib.h>

enum { TIMES = 5, STREAMS = 16 };

typedef struct reader {
    pthread_t thread;
    uint64_t *words;
    int64_t count;
    uint64_t sum; /* so that nobody leaves the reading out */
} reader;

static void *write_words(void *context) {
    reader *r = context;
    for (int64_t i = 0; i < r->count; i++) r->words[i] = (uint64_t)i;
    return NULL;
}

static void *read_words(void *context) {
    reader *r = context;
    uint64_t sums[STREAMS] = {0};
    for (int64_t i = 0; i + STREAMS <= r->count; i += STREAMS)
        for (int j = 0; j < STREAMS; j++) sums[j] += r->words[i + j];
    for (int j = 0; j < STREAMS; j++) r->sum += sums[j];
    return NULL;
}

/* All readers at once; returns the seconds that they took, or < 0 where there are not so many threads. */
static double run_all(reader *readers, int threads, void *(*work)(void *)) {
    const double started = clock_seconds();
    int running = 1;
    while (running < threads && pthread_create(&readers[running].thread, NULL, work, &readers[running]) == 0) running++;
    work(&readers[0]);
    for (int i = 1; i < running; i++) pthread_join(readers[i].thread, NULL);
    return running == threads ? clock_seconds() - started : -1;
}

status bandwidth_measure(int threads, int64_t bytes, double *bytes_per_second) {
    const int64_t own = bytes / threads / (int64_t)sizeof(uint64_t);
    const double whole = (double)(own * threads) * sizeof(uint64_t);
    reader *readers = xcalloc((size_t)threads, sizeof *readers);
    uint64_t *words = malloc((size_t)whole);
    for (int i = 0; words && i < threads; i++) readers[i] = (reader){.words = words + i * own, .count = own};
    /* The first touch of a page gives it memory. */
    double best = words ? run_all(readers, threads, write_words) : -1;
    for (int i = 0; i < TIMES && best >= 0; i++) {
        const double taken = run_all(readers, threads, read_words);
        if (i == 0 || taken < best) best = taken;
    }
    free(words);
    free(readers);
    if (best < 0) return fail("bandwidth: no memory of %lld bytes, or no %d threads", (long long)bytes, threads);
    *bytes_per_second = whole / best;
    return STATUS_OK;
}
