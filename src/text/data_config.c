#include "text/data_config.h"
#include "base/file.h"
#include "base/memory.h"
#include <string.h>

#define FIELD(type, key, member, least, meaning)                                                                       \
    CONFIG_FIELD_CHANGE(data_config, key, type, member, least, 0, NULL, CHANGE_ANOTHER_PLACE, meaning)

static const config_field fields[] = {
    FIELD(FIELD_STRING, "data", path, 1, "folder made by `moec data`, or a shard pattern"),
    FIELD(FIELD_STRING, "tokenizer", tokenizer, 0,
          "a tokenizer.model, a tokenizer.json or a model's folder; empty: the one in data"),
    CONFIG_FIELD(data_config, "mix", FIELD_WEIGHTS, mix, 0, 1e9, NULL,
                 "share of the tokens of each domain; {}: as the text has them"),
};

static const foreign_key foreign[] = {
    {"dataset_text_field", NULL, "`moec data --field NAMES` says which members of a row are its text"},
    {"text_column*", NULL, "`moec data --field NAMES` says which members of a row are its text"},
    {"text_field", NULL, "`moec data --field NAMES` says which members of a row are its text"},
    {"max_train_samples", "data", "and `moec data --max-bytes` takes a part of the text"},
    {"num_train_samples", "data", "and `moec data --max-bytes` takes a part of the text"},
    {"dataset*", "data", "a folder that `moec data` makes of text"},
    {"data_path", "data", "a folder that `moec data` makes of text"},
    {"data_dir", "data", "a folder that `moec data` makes of text"},
    {"train_data", "data", "a folder that `moec data` makes of text"},
    {"train_file*", "data", "a folder that `moec data` makes of text"},
    {"validation_file*", "data", "`moec data --heldout` keeps text for it"},
    {"tokenizer_name*", "tokenizer", "a tokenizer.model, a tokenizer.json or a model's folder"},
    {"tokenizer_path", "tokenizer", "a tokenizer.model, a tokenizer.json or a model's folder"},
    {"vocab_file", "tokenizer", "a tokenizer.model, a tokenizer.json or a model's folder"},
    {"data_mix*", "mix", "weights by domain"},
    {"mixture*", "mix", "weights by domain"},
    {"domain_weights", "mix", "weights by domain"},
    {"data_weights", "mix", "weights by domain"},
    {"sampling_weights", "mix", "weights by domain"},
    {"interleave_probs", "mix", "weights by domain"},
    {"probabilities", "mix", "weights by domain"},
};

const config_section data_section = {"data", TABLE_AND_COUNT(fields), TABLE_AND_COUNT(foreign)};

data_config data_config_default(void) {
    return (data_config){.path = xstrdup("data")};
}

status data_config_look(const data_config *c) {
    path_kind kind;
    if (!c->path || !*c->path) return fail_usage("data: expected a folder made by `moec data`, found nothing");
    TRY(path_look(c->path, &kind));
    if (kind != PATH_ABSENT || c->path[strcspn(c->path, "*?[")]) return STATUS_OK;
    return fail(
        "data: expected a folder made by `moec data`, found nothing at %s: `moec data %s --domain NAME=PATH` makes "
        "it from your text, or data=FOLDER names another one (data/demo comes with `./run demo`)",
        c->path, c->path);
}

char *data_config_tokenizer(const data_config *c) {
    return c->tokenizer && *c->tokenizer ? xstrdup(c->tokenizer) : path_join(c->path, "tokenizer.model");
}
