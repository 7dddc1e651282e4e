#include "fetch/listing.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "fetch/json_members.h"
#include "fetch/url.h"
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

void listing_free(listing *l) {
    for (size_t i = 0; i < l->count; i++) free(l->files[i].name);
    free(l->files);
    *l = (listing){0};
}

/* ---- names ---- */

static const char *fault_of_name(const char *name) {
    if (!*name) return "an empty one";
    if (strlen(name) > LISTING_MAX_NAME) return "one of more than 1024 bytes";
    if (*name == '/') return "an absolute one";
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127 || *c == '\\') return "one with a control character or a backslash";
    for (const char *part = name;; part++) {
        size_t length = strcspn(part, "/");
        if (length == 0) return "one with an empty part";
        if (length > NAME_MAX) return "one with a part of more than 255 bytes";
        if (length == strspn(part, ".") && length <= 2) return "one with the part . or ..";
        part += length;
        if (!*part) break;
    }
    return strncmp(name, ".moec-fetch", 11) == 0 ? "one that moec keeps for itself" : NULL;
}

static bool is_hex(const char *text, size_t digits) {
    return strlen(text) == digits && strspn(text, "0123456789abcdef") == digits;
}

/* ---- parsing ---- */

/* A string member into `out` if it has the form that it should have, else "". */
static status take_hex(json_members *p, char *out, size_t digits) {
    *out = '\0';
    if (json_scan_peek(&p->scan) != '"') return json_scan_skip(&p->scan) ? STATUS_OK : json_malformed(p, "a value");
    if (!json_scan_string(&p->scan, p->text)) return json_malformed(p, "a string");
    if (is_hex(p->text, digits)) memcpy(out, p->text, digits + 1);
    return STATUS_OK;
}

static status take_size(json_members *p, int64_t *size) {
    uint64_t value;
    if (json_scan_peek(&p->scan) < '0' || json_scan_peek(&p->scan) > '9')
        return json_scan_skip(&p->scan) ? STATUS_OK : json_malformed(p, "a value");
    if (!json_scan_size(&p->scan, &value)) return json_malformed(p, "a size of at most 2^53 bytes");
    *size = (int64_t)value;
    return STATUS_OK;
}

static status take_lfs(json_members *p, listed_file *f) {
    bool first = true, more;
    if (!json_scan_take(&p->scan, '{')) return json_scan_skip(&p->scan) ? STATUS_OK : json_malformed(p, "a value");
    for (;;) {
        TRY(json_next_key(p, &first, &more));
        if (!more) return STATUS_OK;
        if (strcmp(p->text, "sha256") == 0 || strcmp(p->text, "oid") == 0)
            TRY(take_hex(p, f->sha256, 64));
        else if (strcmp(p->text, "size") == 0)
            TRY(take_size(p, &f->size));
        else if (!json_scan_skip(&p->scan))
            return json_malformed(p, "a value");
    }
}

static status take_name(json_members *p, listed_file *f) {
    if (!json_scan_string(&p->scan, p->text)) return json_malformed(p, "a file's name");
    const char *fault = fault_of_name(p->text);
    if (fault) {
        char *shown = text_shown(p->text, 80);
        status s = fail("%s: expected the name of a file, found %s: %s", p->where, fault, shown);
        free(shown);
        return s;
    }
    free(f->name);
    f->name = xstrdup(p->text);
    return STATUS_OK;
}

static status take_file(json_members *p, listing *l) {
    bool first = true, more;
    if (l->count == LISTING_MAX_FILES)
        return fail("%s: expected at most %d files, found more", p->where, LISTING_MAX_FILES);
    if ((l->count & (l->count - 1)) == 0)
        l->files = xrealloc(l->files, (l->count ? 2 * l->count : 1) * sizeof *l->files);
    listed_file *f = &l->files[l->count++];
    *f = (listed_file){.size = -1};
    if (!json_scan_take(&p->scan, '{')) return json_malformed(p, "'{'");
    for (;;) {
        TRY(json_next_key(p, &first, &more));
        if (!more) break;
        if (strcmp(p->text, "rfilename") == 0)
            TRY(take_name(p, f));
        else if (strcmp(p->text, "blobId") == 0)
            TRY(take_hex(p, f->blob, 40));
        else if (strcmp(p->text, "size") == 0)
            TRY(take_size(p, &f->size));
        else if (strcmp(p->text, "lfs") == 0)
            TRY(take_lfs(p, f));
        else if (!json_scan_skip(&p->scan))
            return json_malformed(p, "a value");
    }
    if (!f->name) return json_malformed(p, "\"rfilename\"");
    if (*f->sha256) *f->blob = '\0'; /* that of the LFS pointer */
    return STATUS_OK;
}

static status take_files(json_members *p, listing *l) {
    if (!json_scan_take(&p->scan, '[')) return json_malformed(p, "'['");
    if (json_scan_take(&p->scan, ']')) return STATUS_OK;
    do TRY(take_file(p, l));
    while (json_scan_take(&p->scan, ','));
    return json_scan_take(&p->scan, ']') ? STATUS_OK : json_malformed(p, "']'");
}

static status take_listing(json_members *p, listing *l) {
    bool first = true, more, files = false;
    if (!json_scan_take(&p->scan, '{')) return fail("%s: expected JSON, an object, found something else", p->where);
    for (;;) {
        TRY(json_next_key(p, &first, &more));
        if (!more) break;
        if (strcmp(p->text, "sha") == 0)
            TRY(take_hex(p, l->commit, 40));
        else if (strcmp(p->text, "siblings") == 0 && !files) {
            files = true;
            TRY(take_files(p, l));
        } else if (!json_scan_skip(&p->scan))
            return json_malformed(p, "a value");
    }
    if (!json_scan_at_end(&p->scan)) return json_malformed(p, "its end");
    if (!*l->commit) return fail("%s: \"sha\": expected a commit of 40 hexadecimal digits", p->where);
    return files ? STATUS_OK : fail("%s: \"siblings\": expected the list of files, found nothing", p->where);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const listed_file *)a)->name, ((const listed_file *)b)->name);
}

status listing_parse(listing *l, const char *text, size_t bytes, const char *where) {
    *l = (listing){0};
    json_members p = {
        .scan = {text, text + bytes}, .where = where, .what = " in the list of files", .text = xmalloc(bytes + 1)};
    status s = take_listing(&p, l);
    free(p.text);
    TRY(s);
    if (l->count) qsort(l->files, l->count, sizeof *l->files, by_name);
    for (size_t i = 1; i < l->count; i++)
        if (strcmp(l->files[i - 1].name, l->files[i].name) == 0)
            return fail("%s: expected each file once, found %s twice", where, l->files[i].name);
    return STATUS_OK;
}

/* ---- kept ---- */

status listing_write(const listing *l, const char *path) {
    cJSON *root = cJSON_CreateObject(), *files = cJSON_AddArrayToObject(root, "siblings");
    cJSON_AddStringToObject(root, "sha", l->commit);
    for (size_t i = 0; i < l->count; i++) {
        const listed_file *f = &l->files[i];
        cJSON *file = cJSON_CreateObject();
        cJSON_AddStringToObject(file, "rfilename", f->name);
        if (f->size >= 0) cJSON_AddNumberToObject(file, "size", (double)f->size);
        if (*f->blob) cJSON_AddStringToObject(file, "blobId", f->blob);
        if (*f->sha256) cJSON_AddStringToObject(cJSON_AddObjectToObject(file, "lfs"), "sha256", f->sha256);
        cJSON_AddItemToArray(files, file);
    }
    status s = json_write_file(path, root);
    cJSON_Delete(root);
    return s;
}

status listing_read(listing *l, const char *path) {
    uint8_t *bytes;
    size_t count;
    *l = (listing){0};
    TRY(file_read(path, LISTING_MAX_BYTES, &bytes, &count));
    status s = listing_parse(l, (const char *)bytes, count, path);
    free(bytes);
    return s;
}

/* ---- choosing ---- */

static const char *const of_a_model[] = {"config.json",     "generation_config.json",  "tokenizer*.json",
                                         "tokenizer.model", "special_tokens_map.json", "chat_template*",
                                         "*.safetensors",   "*.safetensors.index.json"};

static bool is_chosen(const char *name, const char *const *patterns, int count, int flags) {
    for (int i = 0; i < count; i++)
        if (fnmatch(patterns[i], name, flags) == 0) return true;
    return false;
}

/* Mistral's repositories hold the same weights twice, once under this name. */
static bool is_second_copy(const listing *l, const char *name) {
    if (fnmatch("consolidated*.safetensors", name, 0) != 0) return false;
    for (size_t i = 0; i < l->count; i++)
        if (fnmatch("model*.safetensors", l->files[i].name, FNM_PATHNAME) == 0) return true;
    return false;
}

void listing_select(listing *l, const char *const *patterns, int count) {
    const int usual = sizeof of_a_model / sizeof *of_a_model;
    bool *chosen = xcalloc(l->count ? l->count : 1, sizeof *chosen);
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        const char *name = l->files[i].name;
        chosen[i] = count ? is_chosen(name, patterns, count, 0)
                          : is_chosen(name, of_a_model, usual, FNM_PATHNAME) && !is_second_copy(l, name);
    }
    for (size_t i = 0; i < l->count; i++)
        if (chosen[i])
            l->files[kept++] = l->files[i];
        else
            free(l->files[i].name);
    l->count = kept;
    free(chosen);
}
