#include "store/candidate_file.h"

#include "base/file.h"
#include "base/memory.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 64 << 20, MOST_LINE = 120 };

typedef struct known {
    uint64_t key;
    candidate candidate;
} known;

struct candidate_file {
    char *path; /* NULL: in memory alone */
    known *known;
    size_t count, capacity;
};

static void remember(candidate_file *f, uint64_t key, const candidate *c) {
    if (f->count == f->capacity) {
        f->capacity = f->capacity ? 2 * f->capacity : 256;
        f->known = xrealloc(f->known, f->capacity * sizeof *f->known);
    }
    f->known[f->count++] = (known){key, *c};
}

static void read_line(candidate_file *f, const char *line, size_t bytes) {
    char text[MOST_LINE + 1];
    uint64_t key;
    candidate c;
    int end = 0;
    if (bytes > MOST_LINE) return;
    memcpy(text, line, bytes);
    text[bytes] = 0;
    if (sscanf(text, "%16" SCNx64 " %lf %lf %lf%n", &key, &c.rate, &c.bytes, &c.error, &end) != 4 || text[end]) return;
    const bool sound = c.rate >= RATE_LEAST && c.rate <= RATE_MOST && isfinite(c.bytes) && c.bytes >= 0 &&
                       isfinite(c.error) && c.error >= 0;
    if (sound) remember(f, key, &c);
}

void candidate_file_parse(candidate_file **out, const char *text, size_t bytes) {
    candidate_file *f = xcalloc(1, sizeof *f);
    /* The last line counts only where it was written to its end. */
    for (const char *at = text, *end = text + bytes, *stop; (stop = memchr(at, '\n', (size_t)(end - at)));
         at = stop + 1)
        read_line(f, at, (size_t)(stop - at));
    *out = f;
}

status candidate_file_open(candidate_file **out, const char *path) {
    uint8_t *text = NULL;
    size_t bytes = 0;
    path_kind kind = PATH_ABSENT;
    *out = NULL;
    if (path) TRY(path_look(path, &kind));
    if (kind != PATH_ABSENT) TRY(file_read(path, MOST_BYTES, &text, &bytes));
    candidate_file_parse(out, text ? (const char *)text : "", bytes);
    if (path) (*out)->path = xstrdup(path);
    free(text);
    return STATUS_OK;
}

void candidate_file_close(candidate_file *f) {
    if (!f) return;
    free(f->path);
    free(f->known);
    free(f);
}

bool candidate_file_find(const candidate_file *f, uint64_t key, double rate, candidate *out) {
    for (size_t i = f->count; i-- > 0;)
        if (f->known[i].key == key && fabs(f->known[i].candidate.rate - rate) < 1e-6) {
            *out = f->known[i].candidate;
            return true;
        }
    return false;
}

status candidate_file_add(candidate_file *f, uint64_t key, const candidate *c) {
    char line[MOST_LINE + 2];
    remember(f, key, c);
    if (!f->path) return STATUS_OK;
    /* A line that was cut is ended first, so that this one begins its own. */
    const int length =
        snprintf(line, sizeof line, "\n%016" PRIx64 " %.6f %.17g %.17g\n", key, c->rate, c->bytes, c->error);
    return file_append(f->path, line, (size_t)length);
}
