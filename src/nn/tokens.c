/* Token ids and the hashes of their last two or three, made on the host and copied to the device. No hash looks into
 * another document. */
#include "base/memory.h"
#include "nn/pass_state.h"
#include <stdlib.h>
#include <string.h>

static status reserve(pass *p, int64_t count) {
    if (count <= p->capacity) return STATUS_OK;
    int32_t **arrays[] = {&p->ids, &p->targets, &p->first, &p->positions, &p->bigram_ids, &p->trigram_ids, &p->labels};
    p->capacity = 0;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        p->m->k->release(*arrays[i]);
        *arrays[i] = NULL;
        TRY(p->m->k->alloc((void **)arrays[i], (size_t)count * sizeof(int32_t)));
    }
    p->host = xrealloc(p->host, (size_t)count * sizeof(int32_t));
    p->capacity = count;
    return STATUS_OK;
}

/* The token `back` places before position t of sequence b, or −1 where that is before its document. */
static int32_t token_before(const pass_input *in, int64_t b, int64_t t, int back) {
    const int64_t start = input_start(in, b), from = in->first ? in->first[start + t] : 0, at = t - back;
    if (in->first && at < from) return -1;
    if (at >= 0) return in->ids[start + at];
    const int64_t before = input_past(in, b) + at;
    return before >= 0 ? in->earlier[b][before] : -1;
}

static int32_t hash_linear(int32_t previous, int32_t current, int buckets) {
    return (int32_t)((31 * (int64_t)(previous < 0 ? 0 : previous) + current) % buckets);
}

/* Products wrap around as int32 does; the remainder of a negative number is raised into the range. */
static int32_t hash_xor(int32_t previous, int32_t current, int buckets) {
    if (previous < 0) return buckets - 1;
    int32_t mixed = (int32_t)(36313u * (uint32_t)current ^ 27191u * (uint32_t)previous);
    int32_t rest = mixed % (buckets - 1);
    return rest < 0 ? rest + buckets - 1 : rest;
}

static int32_t hash_three(int32_t two_before, int32_t previous, int32_t current, int buckets) {
    if (two_before < 0) return 0;
    return (int32_t)((961 * (int64_t)two_before + 31 * (int64_t)previous + current) % buckets);
}

static void hash_bigrams(int32_t *out, const pass_input *in, const model_config *c) {
    for (int64_t b = 0; b < in->batch; b++)
        for (int64_t n = input_start(in, b); n < input_start(in, b + 1); n++) {
            int32_t previous = token_before(in, b, n - input_start(in, b), 1);
            out[n] = c->stem.bigram_hash == BIGRAM_XOR ? hash_xor(previous, in->ids[n], c->stem.bigram_buckets)
                                                       : hash_linear(previous, in->ids[n], c->stem.bigram_buckets);
        }
}

static void hash_trigrams(int32_t *out, const pass_input *in, const model_config *c) {
    for (int64_t b = 0; b < in->batch; b++)
        for (int64_t n = input_start(in, b); n < input_start(in, b + 1); n++) {
            int64_t t = n - input_start(in, b);
            out[n] =
                hash_three(token_before(in, b, t, 2), token_before(in, b, t, 1), in->ids[n], c->stem.trigram_buckets);
        }
}

/* A batch says of targets which domain they are of: a token's own stands a place before it. A row's first token has its first
 * target's, which is another one's only where a document ends with it. */
static void put_labels(int32_t *out, const pass_input *in, const label_args *a) {
    for (int64_t n = 0; n < in->batch * in->length; n++) {
        const int32_t domain = in->domain[n % in->length ? n - 1 : n];
        out[n] = domain >= 0 && domain < a->domains ? a->expert_of[domain] : -1;
    }
}

/* ---- upload ---- */

static status check_ids(const int32_t *ids, int64_t count, int32_t least, int vocab_size, const char *what) {
    for (int64_t n = 0; n < count; n++)
        if (ids[n] < least || ids[n] >= vocab_size)
            return fail("%s %lld of the batch: id %d is beyond the vocabulary of %d", what, (long long)n, ids[n],
                        vocab_size);
    return STATUS_OK;
}

static void put_positions(int32_t *out, const pass_input *in) {
    for (int64_t b = 0; b < in->batch; b++)
        for (int64_t n = input_start(in, b); n < input_start(in, b + 1); n++)
            out[n] = (int32_t)(input_past(in, b) + n - input_start(in, b));
}

/* A mask of some sequences is not one of others. */
static status check_mask(const pass *p, const pass_input *in) {
    if (!p->mask || p->mask_rows == 1 || (p->mask_rows == in->batch && !in->starts)) return STATUS_OK;
    return fail("experts that may be chosen: expected the %lld sequences that they are said of, found %lld",
                (long long)p->mask_rows, (long long)in->batch);
}

status pass_upload(pass *p, const pass_input *in) {
    const kernels *k = p->m->k;
    const model_config *c = &p->m->config;
    const model_parts *s = p->m->parts;
    int64_t N = input_rows(in);
    size_t bytes = (size_t)N * sizeof(int32_t);
    TRY(check_mask(p, in));
    TRY(check_ids(in->ids, N, 0, c->vocab_size, "token"));
    if (in->targets) TRY(check_ids(in->targets, N, INT32_MIN, c->vocab_size, "target"));
    TRY(reserve(p, N));
    TRY(pass_control_experts(p, in));
    k->upload(p->ids, in->ids, bytes);
    if (in->targets) k->upload(p->targets, in->targets, bytes);
    if (in->first) k->upload(p->first, in->first, bytes);
    put_positions(p->host, in);
    k->upload(p->positions, p->host, bytes);
    if (s->bigram.table) {
        hash_bigrams(p->host, in, c);
        k->upload(p->bigram_ids, p->host, bytes);
    }
    if (s->trigram.table) {
        hash_trigrams(p->host, in, c);
        k->upload(p->trigram_ids, p->host, bytes);
    }
    p->labelled = in->domain && p->label.domains > 0;
    if (p->labelled) {
        put_labels(p->host, in, &p->label);
        k->upload(p->labels, p->host, bytes);
    }
    return STATUS_OK;
}
