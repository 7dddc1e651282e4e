#include "fetch/download.h"
#include "base/file.h"
#include "base/memory.h"
#include "fetch/digest.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ETAG_MAX_BYTES = 1024 };

typedef struct transfer {
    const download *d;
    FILE *file; /* the partial one, at its end */
    char *tag_path;
    char *etag;   /* of what is in it; NULL: not known */
    int64_t have; /* bytes in it */
    int64_t size; /* -1: not known yet */
    char sha256[65];
    int64_t fresh; /* bytes that this attempt brought */
    bool begun;    /* the answer's headers were looked at */
    bool pieces;   /* it holds bytes of more than one answer */
    bool stale;    /* what is there belongs to another version: begin anew */
} transfer;

static int64_t size_of(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISREG(about.st_mode) ? (int64_t)about.st_size : -1;
}

status download_verify(const char *path, int64_t size, const char *sha256, const char *blob) {
    char found[DIGEST_HEX];
    if (size >= 0 && size_of(path) != size)
        return fail("%s: expected %" PRId64 " bytes, found %" PRId64, path, size, size_of(path));
    if (*sha256) {
        TRY(digest_file(path, DIGEST_SHA256, found));
        if (strcmp(found, sha256) != 0) return fail("%s: expected SHA-256 %s, found %s", path, sha256, found);
    } else if (*blob) {
        TRY(digest_file(path, DIGEST_GIT_BLOB, found));
        if (strcmp(found, blob) != 0) return fail("%s: expected git blob %s, found %s", path, blob, found);
    }
    return STATUS_OK;
}

/* ---- the partial file ---- */

static void forget(transfer *t) {
    unlink(t->d->partial);
    unlink(t->tag_path);
    free(t->etag);
    t->etag = NULL;
    t->have = 0;
    t->pieces = false;
}

/* A weak ETag says nothing about bytes (RFC 9110, 8.8.1). */
static bool is_usable_etag(const char *etag) {
    return etag && *etag == '"' && strlen(etag) < ETAG_MAX_BYTES && !strpbrk(etag, "\r\n");
}

static void look_at_partial(transfer *t) {
    uint8_t *bytes;
    size_t count;
    free(t->etag);
    t->etag = NULL;
    t->have = size_of(t->d->partial);
    if (t->have > 0 && file_read(t->tag_path, ETAG_MAX_BYTES, &bytes, &count) == STATUS_OK) {
        if (is_usable_etag((char *)bytes)) t->etag = xstrdup((char *)bytes);
        free(bytes);
    }
    const bool checkable = *t->d->sha256 || *t->d->blob;
    if (t->have <= 0 || (t->size >= 0 && t->have > t->size) || (!t->etag && !checkable)) forget(t);
    t->pieces = t->have > 0;
}

/* Before its first byte is written, so that the ETag beside a partial file is never that of another version. */
static status begin_anew(transfer *t, const char *etag) {
    if (ftruncate(fileno(t->file), 0) != 0) return fail("%s: cannot cut off: %s", t->d->partial, strerror(errno));
    unlink(t->tag_path);
    free(t->etag);
    t->etag = NULL;
    t->have = 0;
    t->pieces = false;
    if (t->d->moved) t->d->moved(t->d->context, 0);
    if (!is_usable_etag(etag)) return STATUS_OK;
    t->etag = xstrdup(etag);
    return file_write_whole(t->tag_path, etag, strlen(etag));
}

/* ---- what the headers say ---- */

static bool parse_count(const char *text, int64_t *value) {
    char *end;
    if (!text || *text < '0' || *text > '9') return false;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno == 0 && (*end == '\0' || *end == '-' || *end == '/');
}

/* "bytes FIRST-LAST/TOTAL" or "…/" and an asterisk: *total is -1 then */
static bool parse_range(const char *text, int64_t *first, int64_t *total) {
    const char *slash = text ? strchr(text, '/') : NULL;
    *total = -1;
    if (!slash || strncmp(text, "bytes ", 6) != 0 || !parse_count(text + 6, first)) return false;
    return strcmp(slash, "/*") == 0 || parse_count(slash + 1, total);
}

static status check_size(transfer *t, int64_t found) {
    if (found < 0) return STATUS_OK;
    if (t->size >= 0 && found != t->size)
        return fail("expected %" PRId64 " bytes, found a file of %" PRId64, t->size, found);
    t->size = found;
    return STATUS_OK;
}

/* What the hub says of a file in its first answer, which may be a redirect to where the bytes are. */
static status take_hub_headers(transfer *t, const http_response *r) {
    const char *commit = http_header_first(r, "x-repo-commit"), *etag = http_header_first(r, "x-linked-etag");
    int64_t size;
    if (commit && t->d->commit && strcmp(commit, t->d->commit) != 0) {
        return fail("expected the file of commit %s, found that of another one", t->d->commit);
    }
    if (parse_count(http_header_first(r, "x-linked-size"), &size)) TRY(check_size(t, size));
    if (!*t->sha256 && etag && strlen(etag) == 66 && strspn(etag + 1, "0123456789abcdef") == 64)
        memcpy(t->sha256, etag + 1, 64);
    return STATUS_OK;
}

static status begin(transfer *t, const http_response *r) {
    const char *etag = http_header(r, "etag");
    int64_t first = 0, total = -1;
    t->begun = true;
    TRY(take_hub_headers(t, r));
    if (r->code == 206) {
        if (!parse_range(http_header(r, "content-range"), &first, &total) || first != t->have)
            return fail("expected a range from byte %" PRId64 " on, found another one", t->have);
        t->stale = t->have > 0 && t->etag && is_usable_etag(etag) && strcmp(etag, t->etag) != 0;
        if (t->stale) return fail("the file has changed since its first part was fetched");
    } else if (!parse_count(http_header(r, "content-length"), &total)) {
        total = -1;
    }
    TRY(check_size(t, total));
    if (t->size < 0 && !*t->sha256 && !*t->d->blob && !http_header(r, "transfer-encoding"))
        return fail("expected a size or a checksum to know a whole file by, found neither");
    return first == 0 ? begin_anew(t, etag) : STATUS_OK;
}

static status receive(void *context, const http_response *r, const uint8_t *bytes, size_t count) {
    transfer *t = context;
    if (!t->begun) TRY(begin(t, r));
    if (t->size >= 0 && t->have + (int64_t)count > t->size)
        return fail("expected %" PRId64 " bytes, found more", t->size);
    size_t allowed = file_write_budget(count), written = fwrite(bytes, 1, allowed, t->file);
    t->have += (int64_t)written;
    t->fresh += (int64_t)written;
    if (written < count)
        return fail("%s: cannot write: %s", t->d->partial, strerror(written < allowed ? errno : ENOSPC));
    if (t->d->moved) t->d->moved(t->d->context, t->have);
    return STATUS_OK;
}

/* ---- attempts ---- */

static status attempt(http_client *c, transfer *t, http_response *r) {
    *r = (http_response){0};
    look_at_partial(t);
    if (t->size > 0 && t->have == t->size) return STATUS_OK; /* it came whole, and was not verified yet */
    TRY(file_open_stream(t->d->partial, O_WRONLY | O_CREAT | O_APPEND, "ab", &t->file));
    char *range = xasprintf("Range: bytes=%" PRId64 "-", t->have);
    char *condition = t->etag ? xasprintf("If-Range: %s", t->etag) : NULL;
    const char *const headers[] = {t->have > 0 ? range : NULL, condition, NULL};
    const http_request q = {
        .url = t->d->url, .headers = headers, .most_bytes = (size_t)INT64_MAX, .receive = receive, .context = t};
    t->begun = t->stale = false;
    t->fresh = 0;
    status s = http_attempt(c, &q, r);
    if (s == STATUS_OK && !t->begun) s = begin(t, r); /* a file of no bytes */
    if (s == STATUS_OK && t->size >= 0 && t->have != t->size) {
        r->again = true;
        s = fail("expected %" PRId64 " bytes, found %" PRId64, t->size, t->have);
    }
    bool flushed = fflush(t->file) == 0 && (s != STATUS_OK || fsync(fileno(t->file)) == 0 || errno == EINVAL);
    if (!flushed && s == STATUS_OK) s = fail("%s: cannot write: %s", t->d->partial, strerror(errno));
    fclose(t->file);
    t->file = NULL;
    free(range);
    free(condition);
    return s;
}

static status transfer_whole(http_client *c, transfer *t) {
    bool restarted = false;
    for (int number = 1;; number++) {
        http_response r;
        status s = attempt(c, t, &r);
        /* 416: there is nothing behind what is here, so it is not what the server has. */
        const bool restart = !restarted && (t->stale || (r.code == 416 && t->have > 0));
        if (restart) {
            forget(t);
            restarted = true;
        } else if (s == STATUS_OK || !r.again) {
            http_response_clear(&r);
            return s;
        } else {
            if (t->fresh >= HTTP_PROGRESS_BYTES) number = 1;
            s = http_pause(c, &r, number);
            if (s != STATUS_OK) {
                http_response_clear(&r);
                return s;
            }
        }
        http_response_clear(&r);
    }
}

static status finish(transfer *t) {
    const download *d = t->d;
    status s = download_verify(d->partial, t->size, t->sha256, d->blob);
    if (s == STATUS_INTERRUPTED) return s;
    if (s != STATUS_OK) {
        const bool again = t->pieces;
        forget(t);
        t->stale = again;
        return s;
    }
    if (rename(d->partial, d->path) != 0)
        return fail("%s: cannot rename %s to it: %s", d->path, d->partial, strerror(errno));
    unlink(t->tag_path);
    return path_sync_parent(d->path);
}

status download_file(http_client *c, const download *d) {
    transfer t = {.d = d, .size = d->size, .tag_path = xasprintf("%s.etag", d->partial)};
    memcpy(t.sha256, d->sha256, strlen(d->sha256) == 64 ? 65 : 0);
    status s = STATUS_OK;
    for (int round = 0; round < 2; round++) {
        t.stale = false;
        s = transfer_whole(c, &t);
        if (s == STATUS_OK) {
            t.stale = false;
            s = finish(&t);
        }
        if (s == STATUS_OK || !t.stale) break;
    }
    fail_in(s, "%s", d->path);
    free(t.tag_path);
    free(t.etag);
    return s;
}
