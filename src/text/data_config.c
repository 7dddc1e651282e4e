#include "text/data_config.h"
#include "base/file.h"
#include "base/memory.h"

#define FIELD(type, key, member, least, meaning) CONFIG_FIELD(data_config, key, type, member, least, 0, NULL, meaning)

static const config_field fields[] = {
    FIELD(FIELD_STRING, "data", path, 1, "folder made by `moec data`, or a shard pattern"),
    FIELD(FIELD_STRING, "tokenizer", tokenizer, 0, "SentencePiece .model; empty: the one in data"),
};

static const foreign_key foreign[] = {
    {"dataset*", "data", "a folder that `moec data` makes of text"},
    {"data_path", "data", "a folder that `moec data` makes of text"},
    {"data_dir", "data", "a folder that `moec data` makes of text"},
    {"train_data", "data", "a folder that `moec data` makes of text"},
    {"train_file*", "data", "a folder that `moec data` makes of text"},
    {"validation_file*", "data", "`moec data --heldout` keeps text for it"},
    {"tokenizer_name*", "tokenizer", "a SentencePiece .model"},
    {"tokenizer_path", "tokenizer", "a SentencePiece .model"},
    {"vocab_file", "tokenizer", "a SentencePiece .model"},
};

const config_section data_section = {"data", TABLE_AND_COUNT(fields), TABLE_AND_COUNT(foreign)};

data_config data_config_default(void) {
    return (data_config){.path = xstrdup("data")};
}

char *data_config_tokenizer(const data_config *c) {
    return c->tokenizer && *c->tokenizer ? xstrdup(c->tokenizer) : path_join(c->path, "tokenizer.model");
}
