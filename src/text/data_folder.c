#include "text/data_folder.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/temporary.h"
#include "text/checksums.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what moec makes ---- */

static bool ends_with(const char *text, size_t length, const char *ending) {
    size_t ending_length = strlen(ending);
    return length >= ending_length && memcmp(text + length - ending_length, ending, ending_length) == 0;
}

/* NAME_train_000000.bin, NAME_val_000000.docs.tsv: NAME is that of the folder when it was made, and folders get renamed. */
static bool is_shard_name(const char *name, size_t length) {
    static const char *const endings[] = {".bin", ".docs.tsv"}, *const kinds[] = {"_train_", "_val_"};
    for (int e = 0; e < 2; e++) {
        if (!ends_with(name, length, endings[e])) continue;
        size_t stem = length - strlen(endings[e]), digits = 0;
        while (digits < stem && name[stem - digits - 1] >= '0' && name[stem - digits - 1] <= '9') digits++;
        if (digits != 6) return false;
        return ends_with(name, stem - digits, kinds[0]) || ends_with(name, stem - digits, kinds[1]);
    }
    return false;
}

/* The length of `name` without what a temporary file has behind its final name. */
static size_t final_length(const char *name) {
    size_t length = strlen(name);
    for (size_t end = length; end > 0; end--) {
        if (name[end - 1] != '.') continue;
        char *final = xasprintf("%.*s", (int)(end - 1), name);
        bool temporary = temporary_is_of(name, final);
        free(final);
        if (temporary) return end - 1;
    }
    return length;
}

static bool is_one_of(const char *name, size_t length, char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (length == strlen(names[i]) && memcmp(name, names[i], length) == 0) return true;
    return false;
}

/* What data.json lists, and itself. Where it lists nothing (one that is damaged, and folders that were not finished) names have to tell. */
typedef struct made_names {
    char **listed;
    size_t count;
} made_names;

static made_names made_names_of(const char *folder) {
    made_names m = {0};
    if (checksums_names(folder, &m.listed, &m.count) != STATUS_OK) m = (made_names){0};
    return m;
}

static void made_names_free(made_names *m) {
    for (size_t i = 0; i < m->count; i++) free(m->listed[i]);
    free(m->listed);
}

static bool is_made_name(const made_names *m, const char *name) {
    char *const others[] = {"tokenizer.model", "heldout.txt"}, *const itself[] = {DATA_JSON};
    size_t length = final_length(name);
    if (is_one_of(name, length, itself, 1)) return true;
    if (m->count > 0) return is_one_of(name, length, m->listed, m->count);
    return is_one_of(name, length, others, 2) || is_shard_name(name, length);
}

/* ---- an older folder ---- */

static bool is_made(const made_names *m, const char *folder, const char *name) {
    char *path = path_join(folder, name);
    struct stat info;
    bool file = lstat(path, &info) == 0 && (S_ISREG(info.st_mode) || S_ISLNK(info.st_mode));
    free(path);
    return file && is_made_name(m, name);
}

/* Remove a folder and the files in it that moec made. Anything else moves to `refuge` or, where that has something of the
 * same name, stays. */
static status remove_made(const char *folder, const char *refuge, char **kept) {
    char **names;
    size_t count;
    TRY(folder_list(folder, &names, &count));
    made_names made = made_names_of(folder);
    bool empty = true;
    status s = STATUS_OK;
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(folder, names[i]), *moved = path_join(refuge, names[i]);
        if (is_made(&made, folder, names[i])) {
            if (unlink(path) != 0 && s == STATUS_OK) s = fail("%s: cannot be removed: %s", path, strerror(errno));
        } else {
            bool away = renameat2(AT_FDCWD, path, AT_FDCWD, moved, RENAME_NOREPLACE) == 0;
            path_note(kept, away ? refuge : folder, names[i]);
            empty = empty && away;
        }
        free(moved);
        free(path);
        free(names[i]);
    }
    free(names);
    made_names_free(&made);
    if (s == STATUS_OK && empty && rmdir(folder) != 0) s = fail("%s: cannot be removed: %s", folder, strerror(errno));
    return s;
}

typedef enum occupant { NOTHING, EMPTY_FOLDER, DATA_FOLDER } occupant;

/* What stands at the path, where that may be replaced. */
static status check_place(const data_folder *f, occupant *found) {
    path_kind kind;
    char **names;
    size_t count;
    *found = NOTHING;
    TRY(path_look(f->path, &kind));
    if (kind == PATH_ABSENT) return STATUS_OK;
    if (kind != PATH_FOLDER) return fail("%s: expected a folder or nothing, found %s", f->path, path_describe(f->path));
    TRY(folder_list(f->path, &names, &count));
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
    const bool made_here = data_json_is_own(f->path);
    *found = count == 0 ? EMPTY_FOLDER : DATA_FOLDER;
    if (count == 0 || (made_here && f->replace)) return STATUS_OK;
    return made_here
               ? fail("%s: exists already; --overwrite replaces it", f->path)
               : fail("%s: expected nothing, an empty folder or one with a data.json of moec's to replace", f->path);
}

/* ---- what killed processes left ---- */

/* Behind PATH: ".tmp-PID", and with "-old" behind that where an exchange in steps had taken the older folder away. */
static status clean_up_one(const data_folder *f, const char *parent, const char *name) {
    const char *final = strrchr(f->path, '/') ? strrchr(f->path, '/') + 1 : f->path;
    size_t length = strlen(name);
    bool old = ends_with(name, length, "-old");
    char *plain = xasprintf("%.*s", (int)(length - (old ? strlen("-old") : 0)), name);
    char *path = path_join(parent, name), *kept = NULL;
    status s = STATUS_OK;
    if (temporary_is_of(plain, final) && path_is_folder(path)) {
        if (!old || path_exists(f->path))
            s = remove_made(path, path, &kept);
        else if (rename(path, f->path) != 0)
            s = fail("%s: cannot rename %s to it: %s", f->path, path, strerror(errno));
    }
    free(kept); /* it stays where it is, and is named when it is in the way of something */
    free(path);
    free(plain);
    return s;
}

static status clean_up(const data_folder *f, const char *parent) {
    char **names;
    size_t count;
    TRY(folder_list(parent, &names, &count));
    status s = STATUS_OK;
    for (size_t i = 0; i < count; i++) {
        if (s == STATUS_OK) s = clean_up_one(f, parent, names[i]);
        free(names[i]);
    }
    free(names);
    return s;
}

/* ---- from beginning to end ---- */

static status begin(data_folder *f, const char *parent) {
    occupant found;
    TRY(folder_create(parent));
    char *lock_path = xasprintf("%s.lock", f->path);
    status s = lock_take(&f->lock, lock_path, "moec data");
    free(lock_path);
    TRY(s);
    TRY(clean_up(f, parent));
    return check_place(f, &found);
}

status data_folder_begin(data_folder *f, const char *path, bool replace) {
    *f = (data_folder){.path = xstrdup(path), .temporary = temporary_name(path), .replace = replace};
    char *parent = path_parent(path);
    status s = begin(f, parent);
    free(parent);
    if (s != STATUS_OK) data_folder_end(f);
    return s;
}

status data_folder_commit(data_folder *f) {
    occupant found;
    TRY(check_place(f, &found));
    if (found == DATA_FOLDER) {
        TRY(folder_exchange(f->temporary, f->path));
        return remove_made(f->temporary, f->path, &f->kept);
    }
    if (found == EMPTY_FOLDER && rmdir(f->path) != 0)
        return fail("%s: cannot be replaced: %s", f->path, strerror(errno));
    return folder_commit(f->temporary, f->path);
}

void data_folder_end(data_folder *f) {
    char *left = NULL, *message = xstrdup(error_message()); /* removing must not hide it */
    if (f->lock.path && path_is_folder(f->temporary)) remove_made(f->temporary, f->temporary, &left);
    (void)fail("%s", message);
    lock_release(&f->lock);
    free(message);
    free(left);
    free(f->kept);
    free(f->temporary);
    free(f->path);
    *f = (data_folder){0};
}
