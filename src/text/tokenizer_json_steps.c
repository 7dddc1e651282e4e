/* The small members of a tokenizer.json: normalizer, pre_tokenizer, decoder, post_processor. Each is an object with a "type", and
 * "Sequence" is a list of them. */
#include "text/bpe_tokenizer.h"

#include "base/memory.h"
#include "text/utf8.h"
#include <stdlib.h>
#include <string.h>

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* ---- reading members ---- */

static const cJSON *member(const cJSON *json, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(json, key);
}

static bool flag_of(const cJSON *json, const char *key, bool fallback) {
    const cJSON *item = member(json, key);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : fallback;
}

/* "" where it is absent */
static const char *text_of(const cJSON *json, const char *key) {
    const cJSON *item = member(json, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static const char *type_of(const cJSON *json) {
    return text_of(json, "type");
}

static status unsupported(const char *where, const char *what, const cJSON *json, const char *known) {
    const char *type = type_of(json);
    return fail("%s: expected a %s of a type that moec supports (%s), found %.60s", where, what, known,
                *type ? type : "none");
}

/* {"String": …} or {"Regex": …} */
static status read_pattern(const cJSON *json, regex **pattern, const char *where) {
    const cJSON *p = member(json, "pattern");
    const char *literal = text_of(p, "String"), *expression = text_of(p, "Regex");
    if (*literal) return regex_create_literal(pattern, literal, where);
    if (*expression) return regex_create(pattern, expression, where);
    return fail("%s: expected a pattern with a String or a Regex in %.60s, found none", where, type_of(json));
}

enum { NESTED = 8 }; /* sequences within one another, at most */

typedef status (*step_reader)(const cJSON *json, void *out, const char *where);

/* A sequence's members one after another, or the step itself. `list` is the key of the members. */
static status each_step(const cJSON *json, const char *list, step_reader read, void *out, int depth,
                        const char *where) {
    if (!json) return STATUS_OK;
    if (strcmp(type_of(json), "Sequence") != 0) return read(json, out, where);
    const cJSON *steps = member(json, list), *step;
    if (!cJSON_IsArray(steps)) return fail("%s: expected a list %s in a Sequence, found none", where, list);
    if (depth == NESTED) return fail("%s: expected sequences within at most %d others, found more", where, NESTED);
    cJSON_ArrayForEach(step, steps) TRY(each_step(step, list, read, out, depth + 1, where));
    return STATUS_OK;
}

/* ---- normalizer ---- */

enum { NORMAL_STEPS = 64 };

/* What a step writes for each thing that it finds: a long text there would grow without bound. */
static status check_length(const char *text, const char *where) {
    enum { MOST = 4096 };
    if (strlen(text) <= MOST) return STATUS_OK;
    return fail("%s: expected at most %d bytes for a step to write, found %zu", where, MOST, strlen(text));
}

static status read_normal_step(const cJSON *json, void *out, const char *where) {
    static const struct {
        const char *type;
        normal_kind kind;
    } plain[] = {{"NFC", NORMAL_NFC},
                 {"NFD", NORMAL_NFD},
                 {"NFKC", NORMAL_NFKC},
                 {"NFKD", NORMAL_NFKD},
                 {"Lowercase", NORMAL_LOWERCASE},
                 {"StripAccents", NORMAL_STRIP_ACCENTS},
                 {"ByteLevel", NORMAL_BYTES}};
    normalizer *n = out;
    const char *type = type_of(json);
    if (n->count == NORMAL_STEPS) return fail("%s: expected at most %d normalizers, found more", where, NORMAL_STEPS);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(type, plain[i].type) == 0) {
            normalizer_add(n, (normal_step){.kind = plain[i].kind});
            return STATUS_OK;
        }
    if (strcmp(type, "Strip") == 0) {
        normalizer_add(n, (normal_step){.kind = NORMAL_STRIP,
                                        .left = flag_of(json, "strip_left", true),
                                        .right = flag_of(json, "strip_right", true)});
        return STATUS_OK;
    }
    if (strcmp(type, "Prepend") == 0) {
        TRY(check_length(text_of(json, "prepend"), where));
        normalizer_add(n, (normal_step){.kind = NORMAL_PREPEND, .content = xstrdup(text_of(json, "prepend"))});
        return STATUS_OK;
    }
    if (strcmp(type, "Replace") != 0)
        return unsupported(
            where, "normalizer", json,
            "NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace, ByteLevel, Sequence");
    normal_step step = {.kind = NORMAL_REPLACE};
    TRY(check_length(text_of(json, "content"), where));
    TRY(read_pattern(json, &step.pattern, where));
    step.content = xstrdup(text_of(json, "content"));
    normalizer_add(n, step);
    return STATUS_OK;
}

status read_normalizer(const cJSON *json, normalizer *n, const char *where) {
    return each_step(json, "normalizers", read_normal_step, n, 0, where);
}

/* ---- pre_tokenizer ---- */

static status read_behavior(const char *name, split_behavior *behavior, const char *where) {
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    for (int i = 0; i < 5; i++)
        if (strcmp(name, names[i]) == 0) {
            *behavior = (split_behavior)i;
            return STATUS_OK;
        }
    return fail(
        "%s: expected a behavior of Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous, found %.60s",
        where, *name ? name : "none");
}

static status add_split(pre_tokenizer *p, const char *expression, split_behavior behavior, bool inverted,
                        const char *where) {
    split_step step = {.kind = STEP_SPLIT, .behavior = behavior, .inverted = inverted};
    TRY(regex_create(&step.pattern, expression, where));
    pre_tokenizer_add(p, step);
    return STATUS_OK;
}

static status read_split(const cJSON *json, pre_tokenizer *p, const char *where) {
    split_step step = {.kind = STEP_SPLIT, .inverted = flag_of(json, "invert", false)};
    TRY(read_behavior(text_of(json, "behavior"), &step.behavior, where));
    TRY(read_pattern(json, &step.pattern, where));
    pre_tokenizer_add(p, step);
    return STATUS_OK;
}

static status read_byte_level(const cJSON *json, pre_tokenizer *p, const char *where) {
    if (flag_of(json, "add_prefix_space", true))
        pre_tokenizer_add(p, (split_step){.kind = STEP_PREFIX, .string = xstrdup(" ")});
    if (flag_of(json, "use_regex", true)) TRY(add_split(p, GPT2, SPLIT_ISOLATED, false, where));
    pre_tokenizer_add(p, (split_step){.kind = STEP_BYTES});
    return STATUS_OK;
}

static status read_metaspace(const cJSON *json, pre_tokenizer *p, const char *where) {
    const char *space = text_of(json, "replacement"), *scheme = text_of(json, "prepend_scheme");
    if (!*space) space = "\xE2\x96\x81";
    TRY(check_length(space, where));
    /* Files of an older make say add_prefix_space alone. */
    bool never = strcmp(scheme, "never") == 0 || (!*scheme && !flag_of(json, "add_prefix_space", true));
    bool first = strcmp(scheme, "first") == 0;
    if (*scheme && !never && !first && strcmp(scheme, "always") != 0)
        return fail("%s: expected a prepend_scheme of always, first or never, found %.60s", where, scheme);
    pre_tokenizer_add(p, (split_step){.kind = STEP_SPACES, .string = xstrdup(space)});
    if (!never) pre_tokenizer_add(p, (split_step){.kind = STEP_PREFIX, .only_first = first, .string = xstrdup(space)});
    if (!flag_of(json, "split", true)) return STATUS_OK;
    split_step step = {.kind = STEP_SPLIT, .behavior = SPLIT_WITH_NEXT};
    TRY(regex_create_literal(&step.pattern, space, where));
    pre_tokenizer_add(p, step);
    return STATUS_OK;
}

static status read_digits(const cJSON *json, pre_tokenizer *p, const char *where) {
    return add_split(p, "\\p{N}", flag_of(json, "individual_digits", false) ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, false,
                     where);
}

static status read_punctuation(const cJSON *json, pre_tokenizer *p, const char *where) {
    split_behavior behavior = SPLIT_ISOLATED;
    if (member(json, "behavior")) TRY(read_behavior(text_of(json, "behavior"), &behavior, where));
    return add_split(p, "[!-/:-@\\[-`{-~\\p{P}]", behavior, false, where);
}

static status read_whitespace(const cJSON *json, pre_tokenizer *p, const char *where) {
    (void)json;
    return add_split(p, "\\w+|[^\\w\\s]+", SPLIT_REMOVED, true, where);
}

static status read_whitespace_split(const cJSON *json, pre_tokenizer *p, const char *where) {
    (void)json;
    return add_split(p, "\\s", SPLIT_REMOVED, false, where);
}

static status read_word_step(const cJSON *json, void *out, const char *where) {
    static const struct {
        const char *type;
        status (*read)(const cJSON *json, pre_tokenizer *p, const char *where);
    } kinds[] = {{"Split", read_split},
                 {"ByteLevel", read_byte_level},
                 {"Metaspace", read_metaspace},
                 {"Digits", read_digits},
                 {"Punctuation", read_punctuation},
                 {"Whitespace", read_whitespace},
                 {"WhitespaceSplit", read_whitespace_split}};
    pre_tokenizer *p = out;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(type_of(json), kinds[i].type) != 0) continue;
        TRY(kinds[i].read(json, p, where));
        return p->count <= PRE_TOKENIZER_STEPS
                   ? STATUS_OK
                   : fail("%s: expected at most %d steps of pre_tokenizers, found more", where, PRE_TOKENIZER_STEPS);
    }
    return unsupported(where, "pre_tokenizer", json,
                       "Split, ByteLevel, Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit, Sequence");
}

status read_pre_tokenizer(const cJSON *json, pre_tokenizer *p, const char *where) {
    return each_step(json, "pretokenizers", read_word_step, p, 0, where);
}

/* ---- decoder ---- */

/* {"pattern": {"String": "▁"}, "content": " "} */
static status read_replace_decoder(const cJSON *json, piece_decoder *d, const char *where) {
    const char *from = text_of(member(json, "pattern"), "String"), *to = text_of(json, "content");
    if (!*from || strcmp(to, " ") != 0 || d->space)
        return fail("%s: expected a Replace in decoder that writes a space for one string, found another", where);
    d->space = xstrdup(from);
    return STATUS_OK;
}

/* {"content": " ", "start": 1, "stop": 0} */
static status read_strip_decoder(const cJSON *json, piece_decoder *d, const char *where) {
    const cJSON *start = member(json, "start"), *stop = member(json, "stop");
    if (strcmp(text_of(json, "content"), " ") != 0 || !cJSON_IsNumber(start) || start->valuedouble != 1 ||
        !cJSON_IsNumber(stop) || stop->valuedouble != 0)
        return fail("%s: expected a Strip in decoder of one space in front, found another", where);
    d->strips_space = true;
    return STATUS_OK;
}

static status read_decoder_step(const cJSON *json, void *out, const char *where) {
    piece_decoder *d = out;
    const char *type = type_of(json);
    if (strcmp(type, "Replace") == 0) return read_replace_decoder(json, d, where);
    if (strcmp(type, "Strip") == 0) return read_strip_decoder(json, d, where);
    if (strcmp(type, "Fuse") == 0) return STATUS_OK;
    if (strcmp(type, "ByteLevel") == 0) {
        d->byte_level = true;
    } else if (strcmp(type, "ByteFallback") == 0) {
        d->byte_fallback = true;
    } else if (strcmp(type, "Metaspace") == 0 && !d->space) {
        const char *space = text_of(json, "replacement"), *scheme = text_of(json, "prepend_scheme");
        d->space = xstrdup(*space ? space : "\xE2\x96\x81");
        d->strips_space = *scheme ? strcmp(scheme, "never") != 0 : flag_of(json, "add_prefix_space", true);
    } else {
        return unsupported(where, "decoder", json,
                           "ByteLevel, ByteFallback, Metaspace, Replace, Fuse, Strip, Sequence");
    }
    return STATUS_OK;
}

status read_decoder(const cJSON *json, piece_decoder *d, const char *where) {
    return each_step(json, "decoders", read_decoder_step, d, 0, where);
}

/* ---- post_processor ---- */

/* {"single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": …}]}: what stands in front of the text. */
static status read_template(const cJSON *json, char **bos) {
    const cJSON *part;
    cJSON_ArrayForEach(part, member(json, "single")) {
        if (member(part, "Sequence")) break;
        const char *token = text_of(member(part, "SpecialToken"), "id");
        if (*token && !*bos) *bos = xstrdup(token);
    }
    return STATUS_OK;
}

static status read_processor_step(const cJSON *json, void *out, const char *where) {
    const char *type = type_of(json);
    if (strcmp(type, "ByteLevel") == 0) return STATUS_OK; /* it moves offsets */
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(json, out);
    return unsupported(where, "post_processor", json, "TemplateProcessing, ByteLevel, Sequence");
}

status read_post_processor(const cJSON *json, char **bos, const char *where) {
    *bos = NULL;
    status s = each_step(json, "processors", read_processor_step, bos, 0, where);
    if (s == STATUS_OK) return s;
    free(*bos);
    *bos = NULL;
    return s;
}
