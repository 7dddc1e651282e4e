/* Readers: a folder, a text file. */
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "text/corpus.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Is it text at all? Sets the message if not. */
static status check_text(const char *path, const char *text, size_t bytes) {
    if (bytes == 0) return fail("%s: expected text, found an empty file (byte offset 0)", path);
    size_t valid = utf8_valid_prefix(text, bytes);
    if (valid < bytes)
        return fail("%s: expected UTF-8 text, found the byte 0x%02X at byte offset %zu", path,
                    (unsigned char)text[valid], valid);
    return STATUS_OK;
}

void corpus_add_text(corpus *c, const char *path, char *text, size_t bytes, bool split) {
    bytes = clean_lines(text, bytes);
    if (!split) {
        corpus_add_document(c, text, bytes, path);
        return;
    }
    bool wikitext = is_wikitext(text, bytes);
    int part = 1;
    for (size_t at = 0, length; at < bytes; at += length, part++) {
        length = first_part(text + at, bytes - at, wikitext);
        char *source = xasprintf("%s#%d", path, part);
        corpus_add_document(c, text + at, length, source);
        free(source);
    }
}

/* ---- files and folders ---- */

static status add_file(corpus *c, const char *path, bool named) {
    corpus_domain *domain = &c->domains[c->domain_count - 1];
    uint8_t *bytes;
    size_t count;
    if (interrupt_requested()) return STATUS_INTERRUPTED;
    TRY(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    char *text = (char *)bytes;
    status s = check_text(path, text, count);
    if (s != STATUS_OK && !named) {
        domain->skipped_files++;
        s = STATUS_OK;
    } else if (s == STATUS_OK) {
        domain->files++;
        if (path_ends_with(path, ".jsonl"))
            s = corpus_add_jsonl(c, path, text, count);
        else
            corpus_add_text(c, path, text, count, named || count > CORPUS_LONG_FILE);
    }
    free(bytes);
    return s;
}

static status add_folder(corpus *c, const char *folder);

/* Links to folders are not followed: they may lead back. */
static status add_entry(corpus *c, const char *path) {
    struct stat link, target;
    if (lstat(path, &link) != 0 || stat(path, &target) != 0) return STATUS_OK; /* gone, or a link to nothing */
    if (S_ISDIR(link.st_mode)) return add_folder(c, path);
    return S_ISREG(target.st_mode) ? add_file(c, path, false) : STATUS_OK;
}

static status add_folder(corpus *c, const char *folder) {
    char **names;
    size_t count;
    TRY(folder_list(folder, &names, &count));
    status s = STATUS_OK;
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(folder, names[i]);
        if (s == STATUS_OK && names[i][0] != '.') s = add_entry(c, path);
        free(path);
        free(names[i]);
    }
    free(names);
    return s;
}

static status check_name(const corpus *c, const char *name) {
    const char *allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    if (*name == '\0' || name[strspn(name, allowed)] != '\0')
        return fail_usage("domain \"%s\": expected a name of letters, digits, '_', '.' and '-'", name);
    for (int i = 0; i < c->domain_count; i++)
        if (strcmp(c->domains[i].name, name) == 0) return fail_usage("domain \"%s\" is given twice", name);
    if (c->domain_count == CORPUS_MAX_DOMAINS)
        return fail_usage("domain \"%s\": expected at most %d domains", name, CORPUS_MAX_DOMAINS);
    return STATUS_OK;
}

status corpus_add_domain(corpus *c, const char *name, const char *path) {
    TRY(check_name(c, name));
    path_kind kind;
    TRY(fail_in(path_look(path, &kind), "domain \"%s\"", name));
    if (kind == PATH_ABSENT) return fail("domain \"%s\": %s: expected a folder or a file, found nothing", name, path);
    c->domains[c->domain_count++] = (corpus_domain){.name = xstrdup(name), .path = xstrdup(path)};
    int64_t before = c->count;
    TRY(kind == PATH_FOLDER ? add_folder(c, path) : add_file(c, path, true));
    const corpus_domain *domain = &c->domains[c->domain_count - 1];
    if (c->count == before)
        return fail(
            "domain \"%s\": %s: expected documents, found none in %lld files (%lld more are empty or not UTF-8, "
            "%lld documents too short, %lld copies)",
            name, path, (long long)domain->files, (long long)domain->skipped_files, (long long)domain->short_documents,
            (long long)domain->duplicates);
    return STATUS_OK;
}
