#include "base/file.h"
#include "base/json_seal.h"
#include "text/checksums.h"
#include "text/corpus.h"
#include <stdlib.h>

double corpus_bytes_per_token(const corpus_domain *d) {
    int64_t tokens = d->train.tokens + d->heldout.tokens - d->train.documents - d->heldout.documents;
    return tokens > 0 ? (double)(d->train.bytes + d->heldout.bytes) / (double)tokens : 0;
}

static void add_amount(corpus_amount *sum, const corpus_amount *a) {
    sum->documents += a->documents;
    sum->bytes += a->bytes;
    sum->tokens += a->tokens;
}

corpus_domain corpus_total(const corpus *c) {
    corpus_domain total = {0};
    for (int i = 0; i < c->domain_count; i++) {
        const corpus_domain *d = &c->domains[i];
        total.files += d->files;
        total.skipped_files += d->skipped_files;
        total.short_documents += d->short_documents;
        total.duplicates += d->duplicates;
        total.unchosen += d->unchosen;
        add_amount(&total.train, &d->train);
        add_amount(&total.heldout, &d->heldout);
    }
    return total;
}

static void put(cJSON *object, const char *key, int64_t value) {
    cJSON_AddNumberToObject(object, key, (double)value);
}

static void put_amount(cJSON *object, const char *key, const corpus_amount *a) {
    cJSON *json = cJSON_AddObjectToObject(object, key);
    put(json, "documents", a->documents);
    put(json, "bytes", a->bytes);
    put(json, "tokens", a->tokens);
}

static void put_domain(cJSON *object, const corpus_domain *d) {
    if (d->name) cJSON_AddStringToObject(object, "name", d->name);
    if (d->path) cJSON_AddStringToObject(object, "path", d->path);
    put(object, "files", d->files);
    put(object, "skipped_files", d->skipped_files);
    put(object, "short_documents", d->short_documents);
    put(object, "duplicates", d->duplicates);
    put(object, "unchosen_documents", d->unchosen);
    put_amount(object, "train", &d->train);
    put_amount(object, "heldout", &d->heldout);
    cJSON_AddNumberToObject(object, "bytes_per_token", corpus_bytes_per_token(d));
}

status corpus_write_summary(const corpus *c, const tokenizer *t, const char *tokenizer_source, const char *folder) {
    cJSON *root = cJSON_CreateObject();
    put(root, "seed", (int64_t)c->options.seed);
    cJSON_AddNumberToObject(root, "heldout", c->options.heldout);
    put(root, "max_bytes", c->options.max_bytes);
    cJSON *model = cJSON_AddObjectToObject(root, "tokenizer");
    cJSON_AddStringToObject(model, "source",
                            tokenizer_source     ? tokenizer_source
                            : c->train_count > 0 ? "trained on this corpus"
                                                 : "trained on this corpus, which is held out");
    put(model, "pieces", tokenizer_vocab_size(t));
    put(model, "inexact_documents", c->inexact);
    cJSON *domains = cJSON_AddArrayToObject(root, "domains");
    for (int i = 0; i < c->domain_count; i++) {
        cJSON *domain = cJSON_CreateObject();
        put_domain(domain, &c->domains[i]);
        cJSON_AddItemToArray(domains, domain);
    }
    corpus_domain total = corpus_total(c);
    put_domain(cJSON_AddObjectToObject(root, "total"), &total);
    cJSON_AddItemToObject(root, "files", cJSON_Duplicate(c->files, true));
    json_seal(root);
    char *path = path_join(folder, DATA_JSON);
    status s = json_write_file(path, root);
    free(path);
    cJSON_Delete(root);
    return s;
}
