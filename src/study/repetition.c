#include "study/repetition.h"

#include "base/memory.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { GRAM = 4 };

typedef struct word {
    const char *text;
    size_t bytes;
} word;

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int64_t find_words(const char *text, size_t bytes, word *words) {
    int64_t count = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (is_space(text[i])) continue;
        const bool begins = i == 0 || is_space(text[i - 1]);
        if (begins) words[count++] = (word){text + i, 0};
        words[count - 1].bytes++;
    }
    return count;
}

static int compare_words(const word *a, const word *b) {
    const size_t shorter = a->bytes < b->bytes ? a->bytes : b->bytes;
    const int order = memcmp(a->text, b->text, shorter);
    return order ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static int compare_grams(const void *left, const void *right) {
    const word *a = *(const word *const *)left, *b = *(const word *const *)right;
    int order = 0;
    for (int i = 0; i < GRAM && order == 0; i++) order = compare_words(&a[i], &b[i]);
    return order;
}

repetition repetition_of(const char *text, size_t bytes) {
    repetition r = {0};
    word *words = xmalloc((bytes / 2 + 1) * sizeof *words);
    const int64_t count = find_words(text, bytes, words);
    if (count >= GRAM) r.grams = count - GRAM + 1;
    const word **grams = xmalloc((size_t)(r.grams + 1) * sizeof(word *));
    for (int64_t i = 0; i < r.grams; i++) grams[i] = &words[i];
    qsort(grams, (size_t)r.grams, sizeof *grams, compare_grams);
    for (int64_t i = 1; i < r.grams; i++) r.repeated += compare_grams(&grams[i - 1], &grams[i]) == 0;
    free(grams);
    free(words);
    return r;
}
