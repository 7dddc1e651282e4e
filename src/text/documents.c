#include "text/documents.h"
#include "base/file.h"
#include "base/memory.h"
#include "text/checksums.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static char *table_path(const char *shard_path) {
    size_t length = strlen(shard_path);
    if (length > 4 && strcmp(shard_path + length - 4, ".bin") == 0) length -= 4;
    return xasprintf("%.*s.docs.tsv", (int)length, shard_path);
}

/* The index of a domain, new ones included; −1: they are too many. */
static int domain_index(document_table *d, const char *name) {
    for (int i = 0; i < d->domain_count; i++)
        if (strcmp(d->domains[i], name) == 0) return i;
    if (d->domain_count == DOCUMENTS_MAX_DOMAINS) return -1;
    d->domains = xrealloc(d->domains, (size_t)(d->domain_count + 1) * sizeof *d->domains);
    d->domains[d->domain_count] = xstrdup(name);
    return d->domain_count++;
}

/* A whole number ≥ 0 that fills the field. */
static bool parse_count(const char *field, int64_t *value) {
    char *end;
    errno = 0;
    long long parsed = strtoll(field, &end, 10);
    *value = parsed;
    return *field >= '0' && *field <= '9' && *end == '\0' && errno == 0;
}

enum { TABLE_FIELDS = 5 };

/* One line: first token, tokens, bytes of text, domain, source; `next_token` is where the document has to start. */
static status parse_line(document_table *d, char *line, const char *path, int64_t number, int64_t next_token) {
    char *fields[TABLE_FIELDS] = {line};
    int found = 1;
    for (char *c = line; *c; c++) {
        if (*c != '\t') continue;
        *c = '\0';
        if (found == TABLE_FIELDS) return fail("%s:%lld: expected 5 fields, found more", path, (long long)number);
        fields[found++] = c + 1;
    }
    if (found != TABLE_FIELDS)
        return fail("%s:%lld: expected 5 fields (first token, tokens, bytes, domain, source), found %d", path,
                    (long long)number, found);
    document doc;
    int64_t *numbers[3] = {&doc.start, &doc.count, &doc.bytes};
    for (int i = 0; i < 3; i++)
        if (!parse_count(fields[i], numbers[i]))
            return fail("%s:%lld: expected a number in field %d, found \"%s\"", path, (long long)number, i + 1,
                        fields[i]);
    if (doc.start != next_token || doc.count < 1)
        return fail(
            "%s:%lld: expected a document of at least one token from token %lld on, found %lld tokens from %lld", path,
            (long long)number, (long long)next_token, (long long)doc.count, (long long)doc.start);
    doc.domain = domain_index(d, fields[3]);
    if (doc.domain < 0)
        return fail("%s:%lld: expected at most %d domains, found one more: \"%.60s\"", path, (long long)number,
                    DOCUMENTS_MAX_DOMAINS, fields[3]);
    if ((d->count & (d->count - 1)) == 0) /* grow at powers of two */
        d->documents = xrealloc(d->documents, (size_t)(d->count ? 2 * d->count : 1) * sizeof *d->documents);
    d->documents[d->count++] = doc;
    return STATUS_OK;
}

static status parse_lines(document_table *d, char *text, size_t bytes, const char *path, int64_t token_count) {
    int64_t next_token = 0, number = 0;
    for (char *line = text, *end; line < text + bytes; line = end + 1) {
        end = memchr(line, '\n', (size_t)(text + bytes - line));
        number++;
        if (!end) return fail("%s:%lld: expected a line end, found the end of the file", path, (long long)number);
        *end = '\0';
        TRY(parse_line(d, line, path, number, next_token));
        const document *last = &d->documents[d->count - 1];
        if (last->count > token_count - next_token)
            return fail("%s:%lld: expected documents within the shard's %lld tokens, found %lld tokens from %lld", path,
                        (long long)number, (long long)token_count, (long long)last->count, (long long)next_token);
        next_token += last->count;
    }
    if (next_token != token_count)
        return fail("%s: expected documents for all %lld tokens of the shard, found %lld", path, (long long)token_count,
                    (long long)next_token);
    return STATUS_OK;
}

status document_table_parse(document_table *d, char *text, size_t bytes, const char *path, int64_t token_count) {
    memset(d, 0, sizeof *d);
    status s = parse_lines(d, text, bytes, path, token_count);
    if (s != STATUS_OK) document_table_free(d);
    return s;
}

status document_table_read(document_table *d, const char *shard_path, int64_t token_count) {
    memset(d, 0, sizeof *d);
    char *path = table_path(shard_path);
    uint8_t *text = NULL;
    size_t bytes;
    status s = STATUS_OK;
    if (path_exists(path)) {
        s = file_read(path, FILE_ANY_SIZE, &text, &bytes);
        if (s == STATUS_OK) s = checksums_check(path, text, bytes);
        if (s == STATUS_OK) s = document_table_parse(d, (char *)text, bytes, path, token_count);
    }
    free(text);
    free(path);
    return s;
}

void document_table_free(document_table *d) {
    for (int i = 0; i < d->domain_count; i++) free(d->domains[i]);
    free(d->domains);
    free(d->documents);
    memset(d, 0, sizeof *d);
}

int64_t document_at(const document_table *d, int64_t position) {
    int64_t first = 0, behind = d->count;
    while (behind - first > 1) {
        int64_t middle = first + (behind - first) / 2;
        if (d->documents[middle].start <= position)
            first = middle;
        else
            behind = middle;
    }
    return first;
}
