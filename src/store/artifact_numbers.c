#include "store/artifact_numbers.h"

#include "base/memory.h"
#include "store/artifact_format.h"
#include <stdlib.h>
#include <string.h>

static status read_text(uint8_t **out, size_t *count, container *c, section_kind kind) {
    const uint8_t *bytes;
    TRY(container_section(c, kind, &bytes, count));
    *out = xmalloc(*count + 1);
    if (*count) memcpy(*out, bytes, *count);
    return STATUS_OK;
}

static status read_tensors(artifact_numbers *out, container *c, const directory *d) {
    value_reader v;
    status s = value_reader_open(&v, c, d);
    for (int i = 0; i < d->count && s == STATUS_OK; i++) {
        const tensor_entry *t = &d->tensors[i];
        stored_numbers *n = &out->tensors[out->count++];
        n->count = t->elements;
        if (entry_is_grid(t)) {
            s = value_read_grid(&v, t, &n->q);
        } else {
            n->floats = xmalloc((size_t)t->elements * sizeof *n->floats);
            s = value_read_floats(&v, t, n->floats);
        }
    }
    value_reader_close(&v);
    return s;
}

static status read_all(artifact_numbers *out, container *c, directory *d) {
    artifact_config config;
    TRY(artifact_config_read(&config, c));
    TRY(directory_read(d, c));
    TRY(directory_check_size(d, c, &config.model));
    out->tensors = xcalloc((size_t)d->count + 1, sizeof *out->tensors);
    TRY(read_text(&out->config, &out->config_bytes, c, SECTION_CONFIG));
    TRY(read_text(&out->tokenizer, &out->tokenizer_bytes, c, SECTION_TOKENIZER));
    return read_tensors(out, c, d);
}

status artifact_numbers_read(artifact_numbers *out, const uint8_t *bytes, size_t count, const char *where) {
    container c;
    directory d = {0};
    *out = (artifact_numbers){0};
    TRY(container_open(&c, bytes, count, where, true));
    const status s = read_all(out, &c, &d);
    directory_free(&d);
    container_close(&c);
    if (s != STATUS_OK) artifact_numbers_free(out);
    return s;
}

void artifact_numbers_free(artifact_numbers *n) {
    for (int i = 0; i < n->count; i++) {
        quantized_free(&n->tensors[i].q);
        free(n->tensors[i].floats);
    }
    free(n->tensors);
    free(n->config);
    free(n->tokenizer);
    *n = (artifact_numbers){0};
}

/* ---- and back ---- */

static status add_tensor(packed_tensors *out, const param *p, const stored_numbers *n) {
    size_t code_bytes;
    if (n->count != param_count(p))
        return fail("%s: expected %lld weights, found %lld", p->name, (long long)param_count(p), (long long)n->count);
    if (!n->q.q) {
        packed_add_floats(out, p, n->floats);
        return STATUS_OK;
    }
    quantized q = quantized_copy(&n->q);
    return fail_in(packed_add_grid(out, p, &q, &code_bytes), "%s", p->name);
}

static status add_all(packed_tensors *out, const artifact_numbers *n, const model *m) {
    int next = 0;
    buffer_add_number(&out->directory, (uint64_t)n->count, 4);
    for (int i = 0; i < m->param_count; i++) {
        if (m->params[i]->derived) continue;
        if (next == n->count) return fail("%s: expected no more tensors", m->params[i]->name);
        TRY(add_tensor(out, m->params[i], &n->tensors[next++]));
    }
    return next == n->count ? STATUS_OK : fail("expected %d tensors, found %d", next, n->count);
}

status artifact_numbers_write(byte_buffer *file, const artifact_numbers *n, const model *m) {
    packed_tensors tensors = {0};
    const artifact_texts texts = {.config = n->config,
                                  .config_bytes = n->config_bytes,
                                  .tokenizer = n->tokenizer,
                                  .tokenizer_bytes = n->tokenizer_bytes};
    status s = add_all(&tensors, n, m);
    if (s == STATUS_OK) s = artifact_assemble(file, &tensors, &texts);
    packed_tensors_free(&tensors);
    return s;
}
