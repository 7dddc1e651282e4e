/* A hub with one repository, org/name, whose downloads go wrong as a test says; in a scratch folder of its own with a cache. */
#ifndef MOEC_TESTS_FETCH_FAKE_HUB_H
#define MOEC_TESTS_FETCH_FAKE_HUB_H

#include "fetch/digest.h"
#include "server.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
enum { HUB_FILES = 8, WEIGHTS = 300000 };

/* What happens to one answer for a file's bytes. */
typedef enum fault {
    WELL,
    CUT,    /* the connection ends in the middle of what was asked for */
    STALLS, /* the same, but it stays open */
    ERROR_500,
    BUSY,
    WHOLE,        /* Range is ignored: 200 with everything */
    OTHER_ETAG,   /* 206 of another version, whatever If-Range says */
    OTHER_RANGE,  /* 206 that begins elsewhere */
    BEYOND,       /* 416 */
    LONGER,       /* more bytes than listed */
    WRONG,        /* as many bytes as listed, one of them another */
    HTML,         /* 200 with a page of a proxy, in the place of the file */
    CHUNKED,      /* no length */
    UNENDED,      /* no length, and the connection's end is the file's */
    OTHER_COMMIT, /* X-Repo-Commit of something else */
    TO_FILE,
    ENDLESS
} fault;

typedef struct hub_fixture {
    server s;
    char *scratch;
    struct {
        const char *name, *bytes;
        size_t count;
        bool lfs;
    } files[HUB_FILES];
    int count;
    const char *listing; /* the whole answer, instead of that of the files */
    const char *listing_code;
    bool bare;        /* the listing says neither sizes nor checksums */
    bool weak;        /* its ETags say nothing of bytes */
    fault faults[16]; /* for the first answers for files that are not empty of faults, in order */
    int next, fault_count;
    int listings, downloads;
    char ranges[16][64];     /* what each download asked for, "" for all */
    char conditions[16][64]; /* If-Range */
    char weights[WEIGHTS + 1];
} hub_fixture;

static inline void hub_listing(hub_fixture *h, int fd) {
    char *text =
        xasprintf("{\"id\": \"org/name\", \"tags\": [\"a\", {\"b\": null}], \"sha\": \"" COMMIT "\", \"siblings\": [");
    for (int i = 0; i < h->count; i++) {
        char digest[DIGEST_HEX], *more, *about = xstrdup("");
        digest_bytes(h->files[i].bytes, h->files[i].count, h->files[i].lfs ? DIGEST_SHA256 : DIGEST_GIT_BLOB, digest);
        if (!h->bare) {
            free(about);
            about = h->files[i].lfs ? xasprintf(", \"size\": %zu, \"blobId\": \"%040d\", \"lfs\": {\"sha256\": \"%s\", "
                                                "\"size\": %zu, \"pointerSize\": 134}",
                                                h->files[i].count, 7, digest, h->files[i].count)
                                    : xasprintf(", \"size\": %zu, \"blobId\": \"%s\"", h->files[i].count, digest);
        }
        more = xasprintf("%s%s{\"rfilename\": \"%s\"%s}", text, i ? ", " : "", h->files[i].name, about);
        free(text);
        free(about);
        text = more;
    }
    /* A copy: the test goes on, and may free its own, as soon as it has the answer. */
    char *whole = h->listing ? xstrdup(h->listing) : xasprintf("%s]}", text);
    if (h->listing_code)
        say_whole(fd, h->listing_code, "", "", 0);
    else
        say_whole(fd, "200 OK", "", whole, strlen(whole));
    free(text);
    free(whole);
}

static inline void hub_bytes(hub_fixture *h, int fd, const char *request, const char *bytes, size_t count) {
    const int number = h->downloads++ & 15;
    fault f = h->next < h->fault_count ? h->faults[h->next++] : WELL;
    const char *etag = h->weak           ? "W/\"v1\""
                       : f == OTHER_ETAG ? "\"v2\""
                                         : "\"v1\"",
               *commit = f == OTHER_COMMIT ? "f00" : COMMIT;
    size_t from = 0, sent;
    char *head, *damaged = NULL;
    if (asked_header(request, "range", h->ranges[number], 64)) from = strtoul(h->ranges[number] + 6, NULL, 10);
    asked_header(request, "if-range", h->conditions[number], 64);
    if (f == ERROR_500 || f == BUSY) {
        say_whole(fd, f == BUSY ? "429 Slow" : "500 Oops", "", "", 0);
        return;
    }
    if (f == BEYOND && from) {
        say_whole(fd, "416 Range Not Satisfiable", "", "", 0);
        return;
    }
    if (f == TO_FILE) {
        say_whole(fd, "302 Found", "Location: file:///etc/passwd\r\n", "", 0);
        return;
    }
    if (f == HTML) bytes = "<html>Please log in</html>", count = 26, from = 0;
    if (f == WHOLE) from = 0;
    if (f == OTHER_RANGE && from) from--;
    if (f == WRONG) {
        damaged = xmalloc(count + 1);
        memcpy(damaged, bytes, count);
        damaged[count / 3] ^= 1;
        bytes = damaged;
    }
    sent = count - from + (f == LONGER ? 1 : 0);
    char *range = xasprintf("Content-Range: bytes %zu-%zu/%zu\r\n", from, count - 1, count);
    char *length = f == CHUNKED ? xstrdup("Transfer-Encoding: chunked\r\n")
                                : xasprintf("Content-Length: %zu\r\n", f == ENDLESS ? (size_t)1 << 60 : sent);
    if (f == UNENDED) *length = '\0';
    head = xasprintf("HTTP/1.1 %s\r\nETag: %s\r\nX-Repo-Commit: %s\r\nConnection: close\r\n%s%s\r\n",
                     from ? "206 Partial Content" : "200 OK", etag, commit, from ? range : "", length);
    say_text(fd, head);
    if (f == CHUNKED) {
        char size[32];
        snprintf(size, sizeof size, "%zx\r\n", sent);
        say_text(fd, size);
        say(fd, bytes + from, sent);
        say_text(fd, "\r\n0\r\n\r\n");
    } else if (f == CUT || f == STALLS) {
        say(fd, bytes + from, sent / 2);
        if (f == STALLS) stall(&h->s, fd);
    } else {
        say(fd, bytes + from, sent);
    }
    free(length);
    free(range);
    free(head);
    free(damaged);
}

static inline void hub_answer(server *s, int fd, const char *request) {
    hub_fixture *h = s->context;
    char path[4096];
    const char *bytes = "/org/name/resolve/" COMMIT "/";
    asked_path(request, path, sizeof path);
    if (strncmp(path, "/api/models/org/name/revision/", 30) == 0 ||
        strncmp(path, "/api/datasets/org/name/revision/", 32) == 0) {
        h->listings++;
        hub_listing(h, fd);
        return;
    }
    if (strncmp(path, "/datasets", 9) == 0) memmove(path, path + 9, strlen(path + 9) + 1);
    for (int i = 0; i < h->count; i++)
        if (strncmp(path, bytes, strlen(bytes)) == 0 && strcmp(path + strlen(bytes), h->files[i].name) == 0) {
            hub_bytes(h, fd, request, h->files[i].bytes, h->files[i].count);
            return;
        }
    say_whole(fd, "404 Not Found", "", "", 0);
}

static inline void hub_add(hub_fixture *h, const char *name, const char *bytes, size_t count, bool lfs) {
    h->files[h->count].name = name;
    h->files[h->count].bytes = bytes;
    h->files[h->count].count = count;
    h->files[h->count++].lfs = lfs;
}

static inline hub_fixture *hub_start(void) {
    hub_fixture *h = calloc(1, sizeof *h);
    h->scratch = scratch_create();
    setenv("XDG_CACHE_HOME", h->scratch, 1);
    for (int i = 0; i < WEIGHTS; i++) h->weights[i] = (char)(i * 7 + i / 251);
    hub_add(h, "README.md", "# a model", 9, false);
    hub_add(h, "config.json", "{\"model_type\": \"llama\"}", 23, false);
    hub_add(h, "model.safetensors", h->weights, WEIGHTS, true);
    hub_add(h, "pytorch_model.bin", "pickle", 6, true);
    hub_add(h, "onnx/model.onnx", "onnx", 4, true);
    server_start(&h->s, hub_answer, h);
    return h;
}

static inline void hub_stop(hub_fixture *h) {
    server_stop(&h->s);
    scratch_remove(h->scratch);
    free(h);
}

#endif
