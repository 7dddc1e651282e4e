#include "text/corpus.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/random.h"
#include "text/sentencepiece.h"
#include <stdlib.h>
#include <string.h>

corpus *corpus_create(const corpus_options *options) {
    corpus *c = xcalloc(1, sizeof *c);
    c->options = *options;
    return c;
}

void corpus_destroy(corpus *c) {
    if (!c) return;
    for (int64_t i = 0; i < c->count; i++) {
        free(c->documents[i].text);
        free(c->documents[i].source);
    }
    for (int i = 0; i < c->domain_count; i++) {
        free(c->domains[i].name);
        free(c->domains[i].path);
    }
    cJSON_Delete(c->files);
    free(c->documents);
    free(c->slots);
    free(c->train);
    free(c->heldout);
    free(c);
}

/* ---- adding, without copies ---- */

/* The slot of this text in the hash table: holds it already, or is free. */
static int64_t *find_slot(const corpus *c, const char *text, size_t bytes) {
    uint64_t slot = crc64(0, text, bytes) % (uint64_t)c->slot_count;
    for (;; slot = (slot + 1) % (uint64_t)c->slot_count) {
        int64_t held = c->slots[slot];
        if (held == 0) return &c->slots[slot];
        const corpus_document *d = &c->documents[held - 1];
        if ((size_t)d->bytes == bytes && memcmp(d->text, text, bytes) == 0) return &c->slots[slot];
    }
}

/* At most half of the slots are taken. */
static void grow(corpus *c) {
    if (c->count < c->capacity) return;
    c->capacity = c->capacity ? 2 * c->capacity : 1024;
    c->documents = xrealloc(c->documents, (size_t)c->capacity * sizeof *c->documents);
    free(c->slots);
    c->slot_count = 2 * c->capacity;
    c->slots = xcalloc((size_t)c->slot_count, sizeof *c->slots);
    for (int64_t i = 0; i < c->count; i++) *find_slot(c, c->documents[i].text, (size_t)c->documents[i].bytes) = i + 1;
}

static int64_t visible_bytes(const char *text, size_t bytes) {
    int64_t visible = 0;
    for (size_t i = 0; i < bytes; i++) visible += (unsigned char)text[i] > ' ';
    return visible;
}

/* A source stands in a line of the .docs.tsv: no tabs and line ends. */
static char *printable_source(const char *source) {
    char *copy = xstrdup(source);
    for (char *p = copy; *p; p++)
        if ((unsigned char)*p < ' ') *p = '?';
    return copy;
}

void corpus_add_document(corpus *c, const char *text, size_t bytes, const char *source) {
    corpus_domain *domain = &c->domains[c->domain_count - 1];
    while (bytes > 0 && *text == '\n') text++, bytes--;
    while (bytes > 0 && text[bytes - 1] == '\n') bytes--;
    if (visible_bytes(text, bytes) < CORPUS_LEAST_BYTES) {
        domain->short_documents++;
        return;
    }
    grow(c);
    char *copy = xasprintf("%.*s\n", (int)bytes, text);
    int64_t *slot = find_slot(c, copy, bytes + 1);
    if (*slot) {
        domain->duplicates++;
        free(copy);
        return;
    }
    c->documents[c->count++] = (corpus_document){
        .text = copy, .bytes = (int64_t)bytes + 1, .source = printable_source(source), .domain = c->domain_count - 1};
    *slot = c->count;
}

/* ---- splitting ---- */

static void shuffle(int64_t *items, int64_t count, rng *r) {
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = (int64_t)rng_below(r, (uint64_t)i + 1), kept = items[i];
        items[i] = items[j];
        items[j] = kept;
    }
}

/* Takes documents in the given order while they fit into max_bytes; the others are left out. */
static int64_t choose(corpus *c, corpus_domain *domain, const int64_t *order, int64_t count) {
    int64_t taken = 0;
    for (int64_t i = 0; i < count; i++) {
        corpus_document *d = &c->documents[order[i]];
        d->chosen = c->options.max_bytes == 0 || taken + d->bytes <= c->options.max_bytes;
        if (d->chosen)
            taken += d->bytes;
        else
            domain->unchosen++;
    }
    return taken;
}

/* Holds out documents in the given order while they fit into the share; one at least, and one is left to train on. */
static status hold_out(corpus *c, const corpus_domain *domain, const int64_t *order, int64_t count, int64_t bytes) {
    if (c->options.heldout <= 0) return STATUS_OK;
    for (int64_t i = 0; c->options.heldout >= 1 && i < count; i++)
        c->documents[order[i]].heldout = c->documents[order[i]].chosen;
    if (c->options.heldout >= 1) return STATUS_OK;
    int64_t left = count - domain->unchosen, held = 0, budget = (int64_t)((double)bytes * c->options.heldout);
    if (left < 2)
        return fail("domain \"%s\": %s: expected at least 2 documents to split into training and held-out, found %lld "
                    "(--heldout 0 trains on all of it, 1 on nothing)",
                    domain->name, domain->path, (long long)left);
    int64_t smallest = -1;
    for (int64_t i = 0; i < count; i++) {
        corpus_document *d = &c->documents[order[i]];
        if (!d->chosen) continue;
        if (smallest < 0 || d->bytes < c->documents[smallest].bytes) smallest = order[i];
        if (held + d->bytes > budget || left == 1) continue;
        d->heldout = true;
        held += d->bytes;
        left--;
    }
    if (held == 0) c->documents[smallest].heldout = true;
    return STATUS_OK;
}

static status split_domain(corpus *c, int index) {
    corpus_domain *domain = &c->domains[index];
    int64_t *order = xmalloc((size_t)c->count * sizeof *order), count = 0;
    for (int64_t i = 0; i < c->count; i++)
        if (c->documents[i].domain == index) order[count++] = i;
    rng r = rng_named(c->options.seed, domain->name);
    shuffle(order, count, &r);
    status s = hold_out(c, domain, order, count, choose(c, domain, order, count));
    free(order);
    return s;
}

status corpus_split(corpus *c) {
    for (int i = 0; i < c->domain_count; i++) TRY(split_domain(c, i));
    c->train = xmalloc((size_t)c->count * sizeof *c->train);
    c->heldout = xmalloc((size_t)c->count * sizeof *c->heldout);
    for (int64_t i = 0; i < c->count; i++) { /* reading order: held-out domains come one after another */
        const corpus_document *d = &c->documents[i];
        if (!d->chosen) continue;
        corpus_amount *amount = d->heldout ? &c->domains[d->domain].heldout : &c->domains[d->domain].train;
        amount->documents++;
        amount->bytes += d->bytes;
        if (d->heldout)
            c->heldout[c->heldout_count++] = i;
        else
            c->train[c->train_count++] = i;
    }
    rng r = rng_named(c->options.seed, "order of the training documents");
    shuffle(c->train, c->train_count, &r);
    return STATUS_OK;
}

/* ---- the tokenizer's text ---- */

typedef struct sample {
    const corpus *c;
    const int64_t *documents;
    int64_t count, next, bytes;
    progress *shown;
} sample;

static bool next_of_sample(void *context, const char **text, size_t *bytes) {
    sample *s = context;
    const corpus *c = s->c;
    if (s->next == s->count || s->bytes >= CORPUS_SAMPLE_BYTES) {
        if (s->shown) progress_show(s->shown, 0.5, "merging");
        return false;
    }
    const corpus_document *d = &c->documents[s->documents[s->next++]];
    *text = d->text;
    *bytes = (size_t)d->bytes;
    s->bytes += d->bytes;
    return true;
}

status corpus_train_tokenizer(corpus *c, tokenizer **out, int vocab_size) {
    progress shown = progress_start("tokenizer");
    bool train = c->train_count > 0;
    sample s = {.c = c, .documents = train ? c->train : c->heldout, .count = train ? c->train_count : c->heldout_count};
    s.shown = c->options.show_progress ? &shown : NULL;
    TRY(sentencepiece_train(out, vocab_size, next_of_sample, &s, c->options.seed));
    if (s.shown) {
        char *detail = xasprintf("%d pieces from %.1f MB%s", tokenizer_vocab_size(*out), (double)s.bytes / 1e6,
                                 train ? "" : " of held-out text: nothing else is there");
        progress_end(s.shown, detail);
        free(detail);
    }
    return STATUS_OK;
}
