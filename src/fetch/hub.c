#include "fetch/hub.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/progress.h"
#include "fetch/digest.h"
#include "fetch/download.h"
#include "fetch/listing.h"
#include "fetch/url.h"
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { REPO_MAX_BYTES = 200, REVISION_MAX_BYTES = 80, ATTEMPTS_WITH_A_CACHE = 2, LISTING_SECONDS = 300 };

void hub_result_free(hub_result *r) {
    for (size_t i = 0; i < r->files; i++) free(r->names[i]);
    free(r->names);
    free(r->folder);
    free(r->unreached);
    *r = (hub_result){0};
}

/* ---- names ---- */

status hub_check_repo(const char *repo) {
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
    const char *name = strchr(repo, '/') ? strchr(repo, '/') + 1 : repo;
    const size_t owner = name == repo ? 0 : (size_t)(name - repo - 1);
    const bool fits = *name && *name != '.' && strspn(name, allowed) == strlen(name) &&
                      (name == repo || (owner > 0 && *repo != '.' && strspn(repo, allowed) == owner));
    if (fits && strlen(repo) <= REPO_MAX_BYTES) return STATUS_OK;
    return fail_usage("expected a repository as ORG/NAME, found `%.80s`", repo);
}

static status check_revision(const char *revision) {
    bool plain = *revision && strlen(revision) <= REVISION_MAX_BYTES && *revision != '.';
    for (const char *c = revision; *c; c++) plain = plain && *c > ' ' && *c <= '~';
    return plain ? STATUS_OK
                 : fail_usage("expected the name of a revision of at most %d bytes, found `%.90s`", REVISION_MAX_BYTES,
                              revision);
}

static bool is_commit(const char *revision) {
    return strlen(revision) == 40 && strspn(revision, "0123456789abcdef") == 40;
}

/* ---- the cache ---- */

typedef struct cache {
    char *folder, *ref; /* of the repository; where the revision's commit stands */
} cache;

static status cache_open(cache *k, const hub_request *q) {
    char *top = cache_folder(), *owner = xasprintf("%.*s", (int)strcspn(q->repo, "/"), q->repo);
    const char *name = strchr(q->repo, '/') ? strchr(q->repo, '/') + 1 : NULL;
    char *revision = url_escape(q->revision, "");
    k->folder = xasprintf("%s/hub/%s--%s%s%s", top, q->dataset ? "datasets" : "models", owner, name ? "--" : "",
                          name ? name : "");
    k->ref = xasprintf("%s/refs/%s", k->folder, revision);
    char *refs = path_parent(k->ref);
    status s = folder_create(refs);
    free(refs);
    free(revision);
    free(owner);
    free(top);
    return s;
}

static void cache_close(cache *k) {
    free(k->folder);
    free(k->ref);
}

/* What was listed of the revision before; STATUS_FAILED, with an empty list, where nothing is known. */
static status cache_listing(const cache *k, const char *revision, listing *l) {
    char commit[41] = "";
    uint8_t *bytes;
    size_t count;
    *l = (listing){0};
    if (is_commit(revision)) {
        memcpy(commit, revision, 41);
    } else {
        TRY(file_read(k->ref, 64, &bytes, &count));
        bytes[strcspn((char *)bytes, "\n")] = '\0';
        if (is_commit((char *)bytes)) memcpy(commit, bytes, 41);
        free(bytes);
        if (!*commit) return fail("%s: expected a commit", k->ref);
    }
    char *path = xasprintf("%s/%s.json", k->folder, commit);
    status s = listing_read(l, path);
    if (s == STATUS_OK && strcmp(l->commit, commit) != 0) s = fail("%s: expected the list of another commit", path);
    if (s != STATUS_OK) listing_free(l);
    free(path);
    return s;
}

static status cache_keep(const cache *k, const char *revision, const listing *l) {
    char *path = xasprintf("%s/%s.json", k->folder, l->commit), line[42];
    status s = path_exists(path) ? STATUS_OK : listing_write(l, path);
    snprintf(line, sizeof line, "%s\n", l->commit);
    if (s == STATUS_OK && !is_commit(revision)) s = file_write_whole(k->ref, line, 41);
    free(path);
    return s;
}

/* ---- the list of files ---- */

static status explain(const http_client *c, const hub_request *q, const http_response *r, status s) {
    if (r->code != 401 && r->code != 403 && r->code != 404) return s;
    return fail("%s; %s `%s` at revision `%s` is absent, private or gated%s", error_message(),
                q->dataset ? "the data set" : "the model", q->repo, q->revision,
                c->token ? ", and the token in HF_TOKEN does not open it" : "; a token for it goes into HF_TOKEN");
}

static status ask_listing(http_client *c, const hub_request *q, listing *l, bool *reached) {
    char *revision = url_escape(q->revision, "");
    char *url = xasprintf("%s/api/%s/%s/revision/%s?blobs=true", c->endpoint, q->dataset ? "datasets" : "models",
                          q->repo, revision);
    http_response r;
    const http_request request = {.url = url, .most_bytes = LISTING_MAX_BYTES, .most_seconds = LISTING_SECONDS};
    status s = http_send(c, &request, &r);
    *reached = s == STATUS_OK || !r.again;
    if (s == STATUS_OK) {
        char *shown = url_shown(url);
        s = listing_parse(l, (char *)r.body, r.bytes, shown);
        free(shown);
    } else if (s == STATUS_FAILED) {
        s = explain(c, q, &r, s);
    }
    http_response_clear(&r);
    free(url);
    free(revision);
    return s;
}

/* From the hub, or where that cannot be reached from the cache; a commit never changes, so a cached one is not asked for. */
static status find_listing(http_client *c, const hub_request *q, listing *l, char **unreached) {
    cache k;
    listing cached = {0};
    bool reached;
    status s = cache_open(&k, q);
    const bool known = s == STATUS_OK && cache_listing(&k, q->revision, &cached) == STATUS_OK;
    if (s == STATUS_OK && !(known && is_commit(q->revision))) {
        const int attempts = c->attempts;
        if (known && attempts > ATTEMPTS_WITH_A_CACHE) c->attempts = ATTEMPTS_WITH_A_CACHE;
        s = ask_listing(c, q, l, &reached);
        c->attempts = attempts;
        if (s == STATUS_OK) {
            s = cache_keep(&k, q->revision, l);
        } else if (s == STATUS_FAILED && !reached && known) {
            *unreached = xstrdup(error_message());
            s = STATUS_OK;
        }
    }
    if (s == STATUS_OK && l->count == 0 && !*l->commit) {
        *l = cached;
        cached = (listing){0};
    }
    listing_free(&cached);
    cache_close(&k);
    return s;
}

/* ---- what is chosen ---- */

/* "a, b, c and 4 more"; a new string */
static char *some_names(const listing *l, const char *pattern) {
    char *text = xstrdup("");
    size_t found = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (fnmatch(pattern, l->files[i].name, 0) != 0 || ++found > 5) continue;
        char *shown = text_shown(l->files[i].name, 60), *longer = xasprintf("%s%s%s", text, *text ? ", " : "", shown);
        free(shown);
        free(text);
        text = longer;
    }
    if (found > 5) {
        char *longer = xasprintf("%s and %zu more", text, found - 5);
        free(text);
        text = longer;
    }
    return text;
}

static status choose(const hub_request *q, listing *l) {
    char *all = some_names(l, "*"), *ggufs = some_names(l, "*.gguf");
    bool weights = q->include_count > 0;
    listing_select(l, q->include, q->include_count);
    for (size_t i = 0; i < l->count; i++) weights = weights || fnmatch("*.safetensors", l->files[i].name, 0) == 0;
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && q->check && i < l->count; i++)
        s = fail_in(q->check(l->files[i].name), "%s", q->repo);
    if (s == STATUS_OK && l->count == 0 && q->include_count)
        s = fail("%s: expected files that match %s%s, found %s", q->repo, q->include[0],
                 q->include_count > 1 ? " (or the other patterns)" : "", *all ? all : "none at all");
    else if (s == STATUS_OK && !weights && *ggufs)
        s = fail("%s: has no safetensors, but GGUF files: choose by --include '*NAME.gguf' among %s", q->repo, ggufs);
    else if (s == STATUS_OK && !weights)
        s = fail("%s: expected *.safetensors (pickles are not fetched), found %s", q->repo, *all ? all : "no files");
    free(all);
    free(ggufs);
    return s;
}

/* ---- the files ---- */

typedef struct work {
    const listing *l;
    const char *folder, *own; /* "own": for partial files and the lock */
    progress shown;
    size_t file, files;      /* number of the one that is fetched, and how many are */
    int64_t before, missing; /* bytes fetched by this call with earlier files, and to be fetched in all */
    int64_t resumed;         /* bytes of this file that were there; -1: not known yet */
    const listed_file *now;
} work;

static void show(void *context, int64_t bytes) {
    work *w = context;
    if (w->resumed < 0 || bytes < w->resumed) w->resumed = bytes;
    const double seconds = clock_seconds() - w->shown.started;
    const double done = (double)w->before + (double)(bytes - w->resumed);
    char detail[300];
    snprintf(detail, sizeof detail, "%.120s (%zu of %zu), %.1f of %.1f MB, %.1f MB/s", w->now->name, w->file, w->files,
             (double)bytes / 1e6, w->now->size < 0 ? (double)bytes / 1e6 : (double)w->now->size / 1e6,
             seconds > 0 ? done / 1e6 / seconds : 0.0);
    double fraction = w->missing > 0 ? done / (double)w->missing : 0;
    progress_show(&w->shown, fraction > 1 ? 1 : fraction, detail);
}

static char *partial_path(const work *w, const char *name) {
    char hex[DIGEST_HEX];
    digest_bytes(name, strlen(name), DIGEST_SHA256, hex);
    return xasprintf("%s/%.16s.partial", w->own, hex);
}

/* In the cache a folder belongs to one commit, and what has its name there was verified; elsewhere it may be anything. */
static status is_there(const listed_file *f, const char *path, bool cached, bool *there) {
    struct stat about;
    *there = false;
    if (stat(path, &about) != 0) return STATUS_OK;
    if (!S_ISREG(about.st_mode)) return fail("%s: expected a file or nothing, found %s", path, path_describe(path));
    if (f->size >= 0 && about.st_size != f->size) return STATUS_OK;
    if (cached) {
        *there = true;
        return STATUS_OK;
    }
    if (!*f->sha256 && !*f->blob) return STATUS_OK;
    status s = download_verify(path, f->size, f->sha256, f->blob);
    *there = s == STATUS_OK;
    return s == STATUS_INTERRUPTED ? s : STATUS_OK;
}

static status fetch_file(http_client *c, const hub_request *q, work *w, const listed_file *f) {
    char *name = url_escape(f->name, "/"), *path = path_join(w->folder, f->name), *parent = path_parent(path);
    char *partial = partial_path(w, f->name);
    char *url =
        xasprintf("%s/%s%s/resolve/%s/%s", c->endpoint, q->dataset ? "datasets/" : "", q->repo, w->l->commit, name);
    w->now = f;
    w->resumed = -1;
    struct stat about;
    if (stat(partial, &about) == 0) w->resumed = about.st_size;
    const download d = {.url = url,
                        .path = path,
                        .partial = partial,
                        .size = f->size,
                        .sha256 = f->sha256,
                        .blob = f->blob,
                        .commit = w->l->commit,
                        .moved = show,
                        .context = w};
    status s = folder_create(parent);
    if (s == STATUS_OK) s = download_file(c, &d);
    if (s == STATUS_OK && f->size > 0) w->before += f->size - (w->resumed > 0 ? w->resumed : 0);
    free(url);
    free(partial);
    free(parent);
    free(path);
    free(name);
    return s;
}

static status check_space(const work *w) {
    struct statvfs disk;
    if (statvfs(w->folder, &disk) != 0) return STATUS_OK;
    const double free_bytes = (double)disk.f_bavail * (double)disk.f_frsize;
    if (free_bytes >= (double)w->missing) return STATUS_OK;
    return fail("%s: expected room for %.1f MB, found %.1f MB", w->folder, (double)w->missing / 1e6, free_bytes / 1e6);
}

static status fetch_missing(http_client *c, const hub_request *q, hub_result *r, work *w, const bool *there) {
    const listing *l = w->l;
    for (size_t i = 0; i < l->count; i++) {
        if (there[i]) continue;
        char *partial = partial_path(w, l->files[i].name);
        struct stat about;
        int64_t have = stat(partial, &about) == 0 ? (int64_t)about.st_size : 0;
        if (l->files[i].size > have) w->missing += l->files[i].size - have;
        w->files++;
        free(partial);
    }
    if (r->unreached && w->files > 0)
        return fail("%s; %zu of %zu files are not in %s yet", r->unreached, w->files, l->count, w->folder);
    TRY(check_space(w));
    w->shown = progress_start("fetch");
    for (size_t i = 0; i < l->count; i++) {
        if (there[i]) continue;
        w->file++;
        TRY(fetch_file(c, q, w, &l->files[i]));
        r->fetched++;
    }
    if (w->files > 0) {
        char detail[80];
        snprintf(detail, sizeof detail, "%zu file%s, %.1f MB", w->files, w->files == 1 ? "" : "s",
                 (double)w->before / 1e6);
        progress_end(&w->shown, detail);
    }
    return STATUS_OK;
}

static status fetch_files(http_client *c, const hub_request *q, hub_result *r, const listing *l) {
    work w = {.l = l, .folder = r->folder};
    char *own = path_join(r->folder, ".moec-fetch"), *lock_path = path_join(own, "lock");
    bool *there = xcalloc(l->count, sizeof *there);
    lock held = {0};
    w.own = own;
    status s = folder_create(own);
    if (s == STATUS_OK) s = lock_take(&held, lock_path, "moec fetch");
    for (size_t i = 0; s == STATUS_OK && i < l->count; i++) {
        char *path = path_join(r->folder, l->files[i].name);
        s = is_there(&l->files[i], path, !q->folder, &there[i]);
        free(path);
    }
    if (s == STATUS_OK) s = fetch_missing(c, q, r, &w, there);
    lock_release(&held);
    rmdir(own); /* unless there is a partial file to go on from */
    free(there);
    free(lock_path);
    free(own);
    return s;
}

static char *folder_of(const hub_request *q, const char *commit) {
    if (q->folder) return xstrdup(q->folder);
    cache k;
    if (cache_open(&k, q) != STATUS_OK) return NULL;
    char *folder = path_join(k.folder, commit);
    cache_close(&k);
    return folder;
}

status hub_fetch(http_client *c, const hub_request *q, hub_result *r) {
    listing l = {0};
    *r = (hub_result){0};
    TRY(hub_check_repo(q->repo));
    TRY(check_revision(q->revision));
    status s = find_listing(c, q, &l, &r->unreached);
    if (s == STATUS_OK) s = choose(q, &l);
    if (s == STATUS_OK) {
        memcpy(r->commit, l.commit, sizeof r->commit);
        r->folder = folder_of(q, l.commit);
        s = r->folder ? fetch_files(c, q, r, &l) : STATUS_FAILED;
    }
    if (s == STATUS_OK) {
        r->names = xcalloc(l.count, sizeof *r->names);
        for (size_t i = 0; i < l.count; i++) {
            char *path = path_join(r->folder, l.files[i].name);
            struct stat about;
            r->names[r->files++] = xstrdup(l.files[i].name);
            if (stat(path, &about) == 0) r->bytes += about.st_size;
            free(path);
        }
    }
    listing_free(&l);
    return s;
}
