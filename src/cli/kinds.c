#include "cli/kinds.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "formats/pretrained.h"
#include "store/artifact.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what it is ---- */

static kind kind_of_folder(const char *path) {
    if (path_holds(path, "data.json")) return KIND_DATA;
    if (path_holds(path, "checkpoint.json")) return KIND_CHECKPOINT;
    if (path_holds(path, "checkpoints")) return KIND_RUN;
    if (pretrained_is(path)) return KIND_PRETRAINED;
    return path_ends_with(path, "checkpoints") || path_ends_with(path, "checkpoints/") ? KIND_CHECKPOINTS : KIND_OTHER;
}

/* One of the two magic numbers of text/shard.c. */
static bool is_shard(const char *path) {
    int32_t magic = 0;
    int fd;
    if (file_open(path, O_RDONLY, &fd) != STATUS_OK) return false;
    bool whole = read(fd, &magic, sizeof magic) == sizeof magic;
    close(fd);
    return whole && (magic == 20240520 || magic == 20240801);
}

kind kind_of(const char *path) {
    path_kind found;
    if (path_look(path, &found) != STATUS_OK) return KIND_OTHER;
    if (found == PATH_ABSENT) return KIND_ABSENT;
    if (found == PATH_FOLDER) return kind_of_folder(path);
    if (found != PATH_FILE) return KIND_OTHER;
    if (artifact_is(path)) return KIND_ARTIFACT;
    if (pretrained_is(path)) return KIND_PRETRAINED;
    if (is_shard(path)) return KIND_SHARD;
    if (path_ends_with(path, ".yaml") || path_ends_with(path, ".yml")) return KIND_PRESET;
    return path_ends_with(path, ".model") ? KIND_TOKENIZER : KIND_OTHER;
}

static const char *noun_of(kind k) {
    switch (k) {
    case KIND_PRESET:
        return "a YAML file";
    case KIND_RUN:
        return "a run folder";
    case KIND_CHECKPOINT:
        return "a checkpoint";
    case KIND_CHECKPOINTS:
        return "the folder of a run's checkpoints";
    case KIND_ARTIFACT:
        return "an artifact";
    case KIND_DATA:
        return "a folder made by moec data";
    case KIND_SHARD:
        return "a token shard";
    case KIND_PRETRAINED:
        return "a pretrained model";
    case KIND_TOKENIZER:
        return "a tokenizer";
    default:
        return "something else";
    }
}

/* ---- what to say ---- */

/* What somebody who gives a command this kind may want. %s: the path. */
static const struct {
    const char *command; /* NULL: any */
    int kinds;
    const char *hint;
} hints[] = {
    {"train", KIND_DATA, "the text goes behind the preset: moec train configs/demo.yaml data=%s"},
    {"train", KIND_RUN, "its preset is %s/config.yaml"},
    {"train", KIND_SHARD, "the text goes behind the preset: moec train configs/demo.yaml data=%s"},
    {"pack", KIND_ARTIFACT, "it is packed already; moec inspect %s shows what is in it"},
    {"inspect", KIND_DATA, "what is in it stands in %s/data.json"},
    {"sweep", KIND_RUN, "moec eval %s scores it"},
    {"train", KIND_PRETRAINED, "it goes behind the preset: moec train configs/finetune.yaml init=%s"},
    {NULL, KIND_PRESET, "moec train %s makes a model as it describes"},
    {NULL, KIND_DATA | KIND_SHARD,
     "that is text to train on: moec train configs/demo.yaml data=%s makes a model of it"},
    {NULL, KIND_CHECKPOINTS, "the folder that it lies in is the run"},
};

static char *hint_of(const char *command, kind k, const char *path) {
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        if ((hints[i].command && strcmp(hints[i].command, command) != 0) || !(hints[i].kinds & (int)k)) continue;
        const char *at = strstr(hints[i].hint, "%s");
        return at ? xasprintf("; %.*s%s%s", (int)(at - hints[i].hint), hints[i].hint, path, at + 2)
                  : xasprintf("; %s", hints[i].hint);
    }
    return xstrdup("");
}

/* The name in the same folder that is spelt like path's; NULL: none is. A new string. */
static char *nearest_path(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = slash ? xasprintf("%.*s", slash > path ? (int)(slash - path) : 1, path) : xstrdup(".");
    char **names, *found = NULL;
    size_t count;
    nearest n = {.word = name};
    status listed = folder_list(folder, &names, &count);
    for (size_t i = 0; listed == STATUS_OK && i < count; i++) nearest_offer(&n, names[i]);
    if (n.name && n.distance <= 1 + strlen(name) / 4)
        found = slash ? xasprintf("%.*s%s", (int)(name - path), path, n.name) : xstrdup(n.name);
    for (size_t i = 0; listed == STATUS_OK && i < count; i++) free(names[i]);
    if (listed == STATUS_OK) free(names);
    free(folder);
    return found;
}

static status refuse_absent(const char *path) {
    char *near = nearest_path(path);
    status s = near ? fail("%s: no such file or folder; the nearest is %s", path, near)
                    : fail("%s: no such file or folder", path);
    free(near);
    return s;
}

status kind_expect(const char *command, const char *path, const char *next, int kinds, const char *noun) {
    kind found = kinds ? kind_of(path) : KIND_OTHER;
    if (found == KIND_OTHER || (kinds & (int)found)) return STATUS_OK;
    if (next && (kinds & (int)kind_of(next)))
        return fail_usage("%s: expected %s first, found `%.60s`, and %s behind it", command, noun, path, next);
    if (found == KIND_ABSENT) return refuse_absent(path);
    char *hint = hint_of(command, found, path);
    status s = fail("%s: expected %s, found %s%s", path, noun, noun_of(found), hint);
    free(hint);
    return s;
}
