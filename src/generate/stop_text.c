#include "generate/stop_text.h"

#include "base/memory.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct stop_text {
    char **stops;
    int count;
    char *text; /* [shown, NUL where it was cut,] held */
    size_t bytes, capacity;
    size_t shown; /* of bytes, those that the last call gave away */
    char cut;     /* what the NUL behind them stands for */
};

stop_text *stop_text_create(const char *const *stops, int count) {
    stop_text *s = xcalloc(1, sizeof *s);
    s->stops = xcalloc((size_t)count + 1, sizeof *s->stops);
    for (; s->count < count; s->count++) s->stops[s->count] = xstrdup(stops[s->count]);
    s->text = xcalloc(1, s->capacity = 64);
    return s;
}

void stop_text_free(stop_text *s) {
    if (!s) return;
    for (int i = 0; i < s->count; i++) free(s->stops[i]);
    free(s->stops);
    free(s->text);
    free(s);
}

/* Put the held text to the front again, and more behind it. */
static void add(stop_text *s, const char *text, size_t bytes) {
    s->text[s->shown] = s->cut;
    s->bytes -= s->shown;
    memmove(s->text, s->text + s->shown, s->bytes);
    s->shown = 0;
    if (s->bytes + bytes + 1 > s->capacity) {
        s->capacity = 2 * (s->bytes + bytes + 1);
        s->text = xrealloc(s->text, s->capacity);
    }
    memcpy(s->text + s->bytes, text, bytes);
    s->bytes += bytes;
    s->text[s->bytes] = s->cut = 0;
}

/* The longest end of the text that is a beginning of this string. */
static size_t beginning(const stop_text *s, const char *stop) {
    size_t length = strlen(stop) - 1;
    if (length > s->bytes) length = s->bytes;
    while (length > 0 && memcmp(s->text + s->bytes - length, stop, length) != 0) length--;
    return length;
}

static const char *show(stop_text *s, size_t bytes) {
    s->shown = bytes;
    s->cut = s->text[bytes];
    s->text[bytes] = 0;
    return s->text;
}

/* The stop string whose end comes first, of those the longest; *at: where it begins. */
static const char *find(const stop_text *s, size_t *at) {
    const char *found = NULL;
    size_t end = 0;
    for (int i = 0; i < s->count; i++) {
        const size_t length = strlen(s->stops[i]);
        const char *place = memmem(s->text, s->bytes, s->stops[i], length);
        const size_t from = place ? (size_t)(place - s->text) : 0;
        if (!place || (found && (from + length > end || (from + length == end && from > *at)))) continue;
        found = s->stops[i];
        end = from + length;
        *at = from;
    }
    return found;
}

const char *stop_text_feed(stop_text *s, const char *text, size_t bytes, const char **shown, size_t *shown_bytes) {
    size_t at = 0, held = 0;
    add(s, text, bytes);
    const char *found = find(s, &at);
    for (int i = 0; i < s->count && !found; i++) {
        const size_t length = beginning(s, s->stops[i]);
        held = length > held ? length : held;
    }
    *shown_bytes = found ? at : s->bytes - held;
    *shown = show(s, *shown_bytes);
    if (found) { /* nothing of it is ever shown */
        s->bytes = s->shown;
        s->cut = 0;
    }
    return found;
}

const char *stop_text_all(stop_text *s, size_t *bytes) {
    s->text[s->shown] = s->cut;
    *bytes = s->shown = s->bytes;
    s->cut = 0;
    return s->text;
}

const char *stop_text_rest(stop_text *s, size_t *bytes) {
    add(s, "", 0);
    *bytes = s->bytes;
    return show(s, s->bytes);
}
