#include "base/file.h"
#include "base/memory.h"
#include "store/artifact_format.h"
#include "store/pack_plan.h"
#include "store/score_filter.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

pack_options pack_options_default(void) {
    return (pack_options){.quant = quant_options_default};
}

const char *section_name(int kind) {
    static const char *const names[] = {"?", "config", "tokenizer", "tensors", "scales", "halves", "floats", "codes"};
    return kind >= 1 && kind <= SECTION_COUNT ? names[kind] : names[0];
}

/* ---- sections ---- */

typedef struct section {
    byte_buffer stored;
    size_t raw_bytes;
    section_coding coding;
} section;

/* LZMA, or as it is where that is not larger. */
static status section_fill(section *s, const void *bytes, size_t count, bool try_lzma) {
    s->raw_bytes = count;
    if (try_lzma && count) TRY(lzma_pack(bytes, count, &s->stored));
    const bool pays = s->stored.count > 0 && s->stored.count < count && count <= s->stored.count * MAX_LZMA_RATIO;
    s->coding = pays ? SECTION_LZMA : SECTION_PLAIN;
    if (pays) return STATUS_OK;
    s->stored.count = 0;
    buffer_add(&s->stored, bytes, count);
    return STATUS_OK;
}

static status section_fill_planes(section *s, const void *values, size_t count, int width) {
    byte_buffer planes = {0};
    planes_split(&planes, values, count, width);
    status result = section_fill(s, planes.bytes, planes.count, true);
    free(planes.bytes);
    return result;
}

/* By their own coder, or as planes where that is not larger. */
static status fill_scales(section *s, const packed_tensors *t) {
    uint8_t *coded;
    size_t count;
    TRY(section_fill_planes(s, t->scales, t->scale_count, sizeof *t->scales));
    scales_encode(t->scales, t->runs, t->run_count, &coded, &count);
    if (count < s->stored.count && s->raw_bytes <= count * MAX_LZMA_RATIO) {
        s->coding = SECTION_SCALE_CODED;
        s->stored.count = 0;
        buffer_add(&s->stored, coded, count);
    }
    free(coded);
    return STATUS_OK;
}

static char *config_text(const model *m, const pack_options *options) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "moec", MOEC_VERSION);
    cJSON_AddNumberToObject(root, "context_tokens", options->context_tokens);
    if (options->weights) cJSON_AddStringToObject(root, "weights", options->weights);
    if (!options->plan) {
        cJSON_AddNumberToObject(root, "bits", options->quant.bits);
        cJSON_AddNumberToObject(root, "embed_bits", quant_embed_bits(&options->quant));
    } else if (options->allocation.bits > 0) {
        cJSON_AddNumberToObject(root, "bits", options->allocation.bits);
    }
    cJSON_AddItemToObject(root, "model", model_config_to_json(&m->config));
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}

/* *count: its bytes; malloc'ed, NULL where there is none. */
static uint8_t *tokenizer_text(const tokenizer *tok, size_t *count) {
    const void *bytes;
    *count = 0;
    if (!tok) return NULL;
    tokenizer_bytes(tok, &bytes, count);
    uint8_t *filtered = xmalloc(*count + 1);
    memcpy(filtered, bytes, *count);
    score_filter_apply(filtered, *count);
    return filtered;
}

static status fill_sections(section *sections, const packed_tensors *t, const artifact_texts *texts) {
    TRY(section_fill(&sections[SECTION_CONFIG], texts->config, texts->config_bytes, true));
    if (texts->tokenizer_bytes)
        TRY(section_fill(&sections[SECTION_TOKENIZER], texts->tokenizer, texts->tokenizer_bytes, true));
    TRY(section_fill(&sections[SECTION_TENSORS], t->directory.bytes, t->directory.count, true));
    TRY(fill_scales(&sections[SECTION_SCALES], t));
    TRY(section_fill_planes(&sections[SECTION_HALVES], t->halves, t->half_count, sizeof *t->halves));
    TRY(section_fill_planes(&sections[SECTION_FLOATS], t->floats, t->float_count, sizeof *t->floats));
    return section_fill(&sections[SECTION_CODES], t->codes.bytes, t->codes.count, false);
}

/* The whole file from its sections (1 … SECTION_COUNT). */
static void join_sections(byte_buffer *file, const section *sections, int version) {
    uint64_t offset = HEADER_BYTES + SECTION_COUNT * SECTION_ENTRY_BYTES, end = offset;
    for (int i = 1; i <= SECTION_COUNT; i++) end += sections[i].stored.count;
    buffer_add(file, ARTIFACT_MAGIC, 4);
    buffer_add_number(file, (uint64_t)(version ? version : ARTIFACT_USUAL_VERSION), 4);
    buffer_add_number(file, end + CHECKSUM_BYTES, 8);
    buffer_add_number(file, SECTION_COUNT, 4);
    buffer_add_number(file, 0, 4);
    for (int i = 1; i <= SECTION_COUNT; i++) {
        buffer_add_number(file, (uint64_t)i, 4);
        buffer_add_number(file, sections[i].coding, 4);
        buffer_add_number(file, offset, 8);
        buffer_add_number(file, sections[i].stored.count, 8);
        buffer_add_number(file, sections[i].raw_bytes, 8);
        offset += sections[i].stored.count;
    }
    for (int i = 1; i <= SECTION_COUNT; i++) buffer_add(file, sections[i].stored.bytes, sections[i].stored.count);
    buffer_add_number(file, crc64(0, file->bytes, file->count), CHECKSUM_BYTES);
}

static void free_sections(section *sections) {
    for (int i = 1; i <= SECTION_COUNT; i++) free(sections[i].stored.bytes);
}

status artifact_assemble(byte_buffer *file, const packed_tensors *t, const artifact_texts *texts) {
    section sections[SECTION_COUNT + 1] = {0};
    const status s = fill_sections(sections, t, texts);
    file->count = 0;
    if (s == STATUS_OK) join_sections(file, sections, t->version);
    free_sections(sections);
    return s;
}

/* ---- the report ---- */

/* A component's part of a section that holds `all` values of all components. */
static int64_t part_of(const section *s, int64_t values, size_t all) {
    return all ? llround((double)s->stored.count * (double)values / (double)all) : 0;
}

static void fill_report(pack_report *r, const section *sections, const packed_tensors *t, const component_share *shares,
                        const model *m, const byte_buffer *file) {
    for (int i = 0; i < COMPONENTS; i++) {
        pack_component *c = &r->components[i];
        c->bytes += part_of(&sections[SECTION_SCALES], shares[i].scales, t->scale_count);
        c->bytes += part_of(&sections[SECTION_HALVES], shares[i].halves, t->half_count);
        c->bytes += part_of(&sections[SECTION_FLOATS], shares[i].floats, t->float_count);
    }
    const int64_t elements = model_param_total(m);
    const int64_t quantised = elements - (int64_t)(t->half_count + t->float_count);
    r->artifact_bytes = (int64_t)file->count;
    r->config_bytes = (int64_t)(sections[SECTION_CONFIG].stored.count + sections[SECTION_TENSORS].stored.count);
    r->tokenizer_bytes = (int64_t)sections[SECTION_TOKENIZER].stored.count;
    for (int i = SECTION_SCALES; i <= SECTION_CODES; i++) r->weight_bytes += (int64_t)sections[i].stored.count;
    r->raw_bytes = 4 * elements;
    r->bits_per_weight = 8.0 * (double)r->weight_bytes / (double)elements;
    r->entropy_bits = quantised ? r->entropy_bits / (double)quantised : 0;
}

/* ---- building ---- */

/* No reader would take it. */
static status check_density(const model *m, const byte_buffer *file) {
    const int64_t elements = model_param_total(m);
    if ((uint64_t)elements <= (uint64_t)file->count * MAX_PER_FILE_BYTE) return STATUS_OK;
    return fail("expected at most %d weights a byte of the artifact, found %lld in %zu bytes: nearly all are zero",
                MAX_PER_FILE_BYTE, (long long)elements, file->count);
}

status artifact_build(byte_buffer *file, const model *m, const tokenizer *tok, hessians *h, const pack_options *options,
                      pack_report *report) {
    section sections[SECTION_COUNT + 1] = {0};
    component_share shares[COMPONENTS];
    packed_tensors tensors;
    TRY(pack_tensors(&tensors, m, h, options, report, shares));
    char *config = config_text(m, options);
    artifact_texts texts = {.config = config, .config_bytes = strlen(config)};
    uint8_t *of_tokenizer = tokenizer_text(tok, &texts.tokenizer_bytes);
    texts.tokenizer = of_tokenizer;
    status s = fill_sections(sections, &tensors, &texts);
    if (s == STATUS_OK) {
        file->count = 0;
        join_sections(file, sections, tensors.version);
        fill_report(report, sections, &tensors, shares, m, file);
        report->least_step = options->quant.least_step;
        report->embed_least_step = options->quant.embed_least_step;
        s = check_density(m, file);
    }
    cJSON_free(config);
    free(of_tokenizer);
    free_sections(sections);
    packed_tensors_free(&tensors);
    return s;
}

static status check_quant_options(const quant_options *o) {
    if (o->bits < 2 || o->bits > 8) return fail_usage("bits: expected 2 to 8, found %d", o->bits);
    if (o->embed_bits != 0 && (o->embed_bits < 2 || o->embed_bits > 8))
        return fail_usage("embed_bits: expected 2 to 8, or 0 for as many as bits, found %d", o->embed_bits);
    if (!(o->prune_fraction >= 0 && o->prune_fraction < 1))
        return fail_usage("prune_fraction: expected a number from 0 to under 1, found %g", o->prune_fraction);
    if (!(o->least_scale >= 0 && isfinite(o->least_scale)))
        return fail_usage("scale_floor: expected a number from 0 on, found %g", o->least_scale);
    if (!(o->least_step >= 0 && o->least_step <= PACK_MOST_STEP))
        return fail_usage("step: expected a number from 0 to %g, found %g", PACK_MOST_STEP, o->least_step);
    if (!(o->embed_least_step >= 0 && o->embed_least_step <= PACK_MOST_STEP))
        return fail_usage("embed_step: expected a number from 0 to %g, found %g", PACK_MOST_STEP, o->embed_least_step);
    return STATUS_OK;
}

static status check_allocation(const pack_options *o) {
    const pack_allocation *a = &o->allocation;
    if (!a->on) return STATUS_OK;
    if (a->bits != 0 && !(a->bits >= RATE_LEAST && a->bits <= RATE_MOST))
        return fail_usage("bits: expected %g to %g a weight, found %g", RATE_LEAST, RATE_MOST, a->bits);
    if (a->bits == 0 && o->budget_bytes == 0)
        return fail_usage("bits: expected bits a weight or a budget to share out, found neither");
    return STATUS_OK;
}

static status check_options(const pack_options *o, const model *m, const tokenizer *tok, hessians *h) {
    TRY(check_quant_options(&o->quant));
    TRY(check_allocation(o));
    const bool gptq = o->allocation.on ? o->allocation.quantizer != QUANTIZER_ROUND : o->quant.gptq;
    if (gptq && !h) return fail_usage("GPTQ needs Hessians of calibration batches, found none");
    if (tok && tokenizer_vocab_size(tok) > m->config.vocab_size)
        return fail("expected at most %d pieces in the tokenizer, the model's vocabulary, found %d",
                    m->config.vocab_size, tokenizer_vocab_size(tok));
    return STATUS_OK;
}

static status write_file(const char *path, const byte_buffer *file) {
    file_writer w;
    TRY(file_create(&w, path));
    file_write(&w, file->bytes, file->count);
    return file_commit(&w);
}

status artifact_write(const char *path, const model *m, const tokenizer *tok, hessians *h, const pack_options *options,
                      pack_report *report) {
    byte_buffer file = {0};
    pack_report unused = {0};
    if (!report) report = &unused;
    *report = (pack_report){0};
    TRY(check_options(options, m, tok, h));
    if (options->context_tokens < 1)
        return fail_usage("context_tokens: expected at least one token, found %d", options->context_tokens);
    TRY(artifact_check_weights(m));
    const int64_t budget = options->budget_bytes;
    const bool leads = !options->allocation.ranks || options->allocation.ranks->rank == 0;
    const bool uniform = !options->plan && !options->allocation.on;
    status s;
    if (h) hessians_pool_experts(h, uniform && options->quant.pool_experts);
    if (options->allocation.on)
        s = artifact_allocate(&file, m, tok, h, *options, report, path);
    else if (leads)
        s = hessians_dismiss(h, artifact_build(&file, m, tok, h, options, report));
    else
        s = hessians_follow(h);
    if (s == STATUS_OK && budget > 0 && report->artifact_bytes > budget)
        s = fail("%s: expected at most %lld bytes (the budget), found %lld; --budget %lld shares so many out among all "
                 "tensors",
                 path, (long long)budget, (long long)report->artifact_bytes, (long long)budget);
    if (s == STATUS_OK && leads) s = write_file(path, &file);
    free(file.bytes);
    pack_report_free(&unused);
    return s;
}

void pack_report_free(pack_report *r) {
    free(r->tensors);
    r->tensors = NULL;
    r->tensor_count = 0;
}
