#include "config/compare.h"
#include "base/memory.h"
#include "base/text_stream.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether both lead to the same file or folder. */
static bool same_place(const char *a, const char *b) {
    char *real_a = realpath(a, NULL), *real_b = realpath(b, NULL);
    const bool same = real_a && real_b && strcmp(real_a, real_b) == 0;
    free(real_a);
    free(real_b);
    return same;
}

static bool same_value(const config_field *f, const char *was, const char *is) {
    if (!was || !is) return was == is;
    return strcmp(was, is) == 0 || (f->change == CHANGE_ANOTHER_PLACE && same_place(was, is));
}

static bool is_harmless(const config_field *f, const char *was, const char *is) {
    if (f->change == CHANGE_GROWS) return was && is && strtod(is, NULL) > strtod(was, NULL);
    return f->change == CHANGE_HARMLESS;
}

static void add(config_differences *d, config_difference difference) {
    d->items = xrealloc(d->items, (size_t)(d->count + 1) * sizeof *d->items);
    d->items[d->count++] = difference;
}

config_differences config_compare(const config_schema *s, const void *was, const void *is) {
    config_differences d = {.schema = s};
    for (int i = 0; i < schema_size(s); i++) {
        const config_field f = schema_key(s, i).field;
        char *a = field_text(&f, was), *b = field_text(&f, is);
        if (!same_value(&f, a, b)) {
            add(&d, (config_difference){.index = i, .was = a, .is = b, .harmless = is_harmless(&f, a, b)});
            continue;
        }
        free(a);
        free(b);
    }
    return d;
}

void config_differences_free(config_differences *d) {
    for (int i = 0; i < d->count; i++) {
        free(d->items[i].was);
        free(d->items[i].is);
    }
    free(d->items);
    *d = (config_differences){0};
}

int config_differences_count(const config_differences *d, bool harmless) {
    int count = 0;
    for (int i = 0; i < d->count; i++) count += d->items[i].harmless == harmless;
    return count;
}

char *config_differences_text(const config_differences *d, bool harmless) {
    text_stream t;
    FILE *out = text_stream_begin(&t);
    const char *separator = "";
    for (int i = 0; i < d->count; i++) {
        const config_difference *x = &d->items[i];
        if (x->harmless != harmless) continue;
        fprintf(out, "%s%s %s -> %s", separator, schema_key(d->schema, x->index).field.key, x->was ? x->was : "(none)",
                x->is ? x->is : "(none)");
        separator = ", ";
    }
    return text_stream_end(&t);
}
