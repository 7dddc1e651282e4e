#include "text/shard.h"
#include "base/memory.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int32_t little_int32(const uint8_t *b) {
    return (int32_t)((uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24);
}

static status check_header(const char *path, const uint8_t *bytes, size_t count) {
    if (count < SHARD_HEADER_BYTES)
        return fail("%s: expected a shard with a header of %d bytes, found %zu bytes", path, SHARD_HEADER_BYTES, count);
    int32_t magic = little_int32(bytes), version = little_int32(bytes + 4), tokens = little_int32(bytes + 8);
    if (magic != SHARD_MAGIC) return fail("%s: expected the shard magic %d, found %d", path, SHARD_MAGIC, magic);
    if (version != SHARD_VERSION) return fail("%s: expected shard version %d, found %d", path, SHARD_VERSION, version);
    if (tokens < 0) return fail("%s: expected a token count of 0 or more, found %d", path, tokens);
    size_t expected = SHARD_HEADER_BYTES + (size_t)tokens * sizeof(uint16_t);
    if (count != expected)
        return fail("%s: expected %zu bytes for the header's %d tokens, found %zu", path, expected, tokens, count);
    return STATUS_OK;
}

status shard_parse(shard *s, const char *path, const uint8_t *bytes, size_t count, int vocab_size) {
    memset(s, 0, sizeof *s);
    TRY(check_header(path, bytes, count));
    const uint16_t *tokens = (const uint16_t *)(const void *)(bytes + SHARD_HEADER_BYTES);
    int64_t token_count = little_int32(bytes + 8);
    for (int64_t i = 0; vocab_size > 0 && i < token_count; i++)
        if (tokens[i] >= vocab_size)
            return fail("%s: expected token ids below the vocabulary's %d, found %d at token %lld", path, vocab_size,
                        tokens[i], (long long)i);
    s->path = xstrdup(path);
    s->tokens = tokens;
    s->count = token_count;
    return STATUS_OK;
}

status shard_open(shard *s, const char *path, int vocab_size) {
    file_map map;
    memset(s, 0, sizeof *s);
    TRY(file_map_open(&map, path));
    status result = shard_parse(s, path, map.bytes, map.count, vocab_size);
    if (result == STATUS_OK)
        s->map = map;
    else
        file_map_close(&map);
    return result;
}

void shard_close(shard *s) {
    if (s->map.bytes) file_map_close(&s->map);
    free(s->path);
    memset(s, 0, sizeof *s);
}

status shard_write(const char *path, const uint16_t *tokens, int64_t count) {
    if (count < 0 || count > INT32_MAX)
        return fail("%s: expected at most %d tokens in a shard, found %lld", path, INT32_MAX, (long long)count);
    uint8_t header[SHARD_HEADER_BYTES] = {0};
    const int32_t fields[3] = {SHARD_MAGIC, SHARD_VERSION, (int32_t)count};
    for (int i = 0; i < 12; i++) header[i] = (uint8_t)((uint32_t)fields[i / 4] >> (i % 4 * 8));
    file_writer w;
    TRY(file_create(&w, path));
    file_write(&w, header, sizeof header);
    file_write(&w, tokens, (size_t)count * sizeof *tokens);
    return file_commit(&w);
}

/* ---- NAME.docs.tsv ---- */

static char *table_path(const char *shard_path) {
    size_t length = strlen(shard_path);
    if (length > 4 && strcmp(shard_path + length - 4, ".bin") == 0) length -= 4;
    return xasprintf("%.*s.docs.tsv", (int)length, shard_path);
}

static int domain_index(document_table *d, const char *name) {
    for (int i = 0; i < d->domain_count; i++)
        if (strcmp(d->domains[i], name) == 0) return i;
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
    if ((d->count & (d->count - 1)) == 0) /* grow at powers of two */
        d->documents = xrealloc(d->documents, (size_t)(d->count ? 2 * d->count : 1) * sizeof *d->documents);
    d->documents[d->count++] = doc;
    return STATUS_OK;
}

static status parse_table(document_table *d, char *text, size_t bytes, const char *path, int64_t token_count) {
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

status document_table_read(document_table *d, const char *shard_path, int64_t token_count) {
    memset(d, 0, sizeof *d);
    char *path = table_path(shard_path);
    uint8_t *text = NULL;
    size_t bytes;
    status s = file_read(path, FILE_ANY_SIZE, &text, &bytes);
    if (s == STATUS_OK) s = parse_table(d, (char *)text, bytes, path, token_count);
    if (s != STATUS_OK) document_table_free(d);
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
