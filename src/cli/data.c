/* moec data */
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "store/open.h"
#include "text/corpus.h"
#include "text/data_folder.h"
#include "text/sentencepiece.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "moec data OUT --domain NAME=PATH [--domain NAME=PATH ...] [options]";

static const char help[] =
    "usage: moec data OUT --domain NAME=PATH [--domain NAME=PATH ...] [options]\n"
    "\n"
    "Read text, clean it, split it by document into training and held-out text, and write token shards to the folder\n"
    "OUT. A PATH is a folder of text files, one text file, or a .jsonl file; a file or a row is a document, and long\n"
    "files are cut at blank lines or article titles.\n"
    "\n"
    "  --domain NAME=PATH  text of one domain; give it once for each\n"
    "  --vocab N           pieces of the SentencePiece BPE tokenizer that is trained on the text, 300 to 1048576 "
    "(4096);\n"
    "                      fewer where the text is small. A model's vocab_size is at least that\n"
    "  --tokenizer MODEL   use this one instead: any model's, tokenizer.json, or SentencePiece's tokenizer.model\n"
    "  --heldout SHARE     of each domain's bytes to keep from training (0.05); 0: none, 1: all, for scoring only\n"
    "  --max-bytes BYTES   of each domain at most, such as 150M or 64KiB (0: all); whole documents, drawn by the seed\n"
    "  --field NAMES       members of a .jsonl row that make its text, with commas (text); of GSM8K question,answer\n"
    "  --seed N            of the split and of the order (1)\n"
    "  --overwrite         replace OUT if an earlier run made it\n"
    "\n"
    "OUT gets tokenizer.model, OUT_train_000000.bin and OUT_val_000000.bin with their .docs.tsv, heldout.txt and\n"
    "data.json.\n"
    "\n"
    "example: moec data data/mine --domain code=src --domain prose=docs --vocab 2048\n";

typedef struct settings {
    char *out;                               /* without a trailing slash */
    const char *name;                        /* its base name; part of out */
    const char *domains[CORPUS_MAX_DOMAINS]; /* NAME=PATH */
    int domain_count;
    const char *tokenizer; /* NULL: train one */
    long long vocab;
    bool overwrite;
    corpus_options corpus;
} settings;

/* --domain may come many times, unlike other options. */
static status take_domains(int *argc, char **argv, settings *s) {
    static const char option[] = "--domain";
    const size_t length = sizeof option - 1;
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        const char *value = NULL;
        if (strncmp(argv[i], option, length) == 0 && argv[i][length] == '=')
            value = argv[i] + length + 1;
        else if (strcmp(argv[i], option) == 0 && i + 1 < *argc)
            value = argv[++i];
        if (!value) {
            argv[kept++] = argv[i];
            continue;
        }
        const char *equals = strchr(value, '=');
        if (!equals) return fail_usage("--domain: expected NAME=PATH, found `%s`; for example text=%s", value, value);
        if (equals == value || !equals[1]) return fail_usage("--domain: expected NAME=PATH, found `%s`", value);
        if (s->domain_count == CORPUS_MAX_DOMAINS)
            return fail_usage("--domain: expected at most %d domains", CORPUS_MAX_DOMAINS);
        s->domains[s->domain_count++] = value;
    }
    argv[kept] = NULL;
    *argc = kept;
    return STATUS_OK;
}

static status parse(int argc, char **argv, settings *s) {
    long long max_bytes = 0, seed = 1;
    TRY(take_domains(&argc, argv, s));
    const char *vocab = cli_option(&argc, argv, "--vocab"), *field = cli_option(&argc, argv, "--field");
    s->tokenizer = cli_option(&argc, argv, "--tokenizer");
    s->overwrite = cli_flag(&argc, argv, "--overwrite");
    TRY(cli_integer("--vocab", vocab, SENTENCEPIECE_LEAST_PIECES, SENTENCEPIECE_MOST_PIECES, &s->vocab));
    TRY(cli_number("--heldout", cli_option(&argc, argv, "--heldout"), 0, 1, &s->corpus.heldout));
    TRY(cli_bytes("--max-bytes", cli_option(&argc, argv, "--max-bytes"), 0, LLONG_MAX, &max_bytes));
    TRY(cli_integer("--seed", cli_option(&argc, argv, "--seed"), 0, LLONG_MAX, &seed));
    if (argc > 2 && argv[2][0] != '-')
        return fail_usage("data: expected only OUT, the folder to write, found `%s` too; --domain %s%s names a text",
                          argv[2], strchr(argv[2], '=') ? "" : "NAME=", argv[2]);
    TRY(cli_rest(argc, argv, 1, 1, usage));
    if (vocab && s->tokenizer) return fail_usage("--vocab and --tokenizer exclude each other");
    if (s->domain_count == 0) return fail_usage("--domain: expected at least one; usage: %s", usage);
    if (field) s->corpus.fields = field;
    s->corpus.max_bytes = max_bytes;
    s->corpus.seed = (uint64_t)seed;
    s->out = path_plain(argv[1]);
    const char *slash = strrchr(s->out, '/');
    s->name = slash ? slash + 1 : s->out;
    if (*s->name == '\0' || strcmp(s->name, ".") == 0 || strcmp(s->name, "..") == 0)
        return fail_usage("%s: expected a folder with a name of its own", argv[1]);
    return STATUS_OK;
}

static status read_corpus(const settings *s, corpus *c) {
    for (int i = 0; i < s->domain_count; i++) {
        const char *equals = strchr(s->domains[i], '=');
        char *name = xasprintf("%.*s", (int)(equals - s->domains[i]), s->domains[i]);
        status result = corpus_add_domain(c, name, equals + 1);
        free(name);
        TRY(result);
    }
    return corpus_split(c);
}

static status fill_folder(const settings *s, corpus *c, const tokenizer *t, const char *folder) {
    TRY(folder_create(folder));
    TRY(corpus_write(c, t, folder, s->name, s->tokenizer == NULL));
    return corpus_write_summary(c, t, s->tokenizer, folder);
}

static void print_row(const char *name, const corpus_domain *d) {
    printf("%-14s %10" PRId64 " %12" PRId64 " %15" PRId64 " %12" PRId64 " %12.3f\n", name,
           d->train.documents + d->heldout.documents, d->train.bytes, d->heldout.bytes,
           d->train.tokens + d->heldout.tokens, corpus_bytes_per_token(d));
}

static void print_dropped(const char *name, const corpus_domain *d) {
    if (d->skipped_files) printf("%s: %" PRId64 " files skipped (empty or not UTF-8 text)\n", name, d->skipped_files);
    if (d->duplicates || d->short_documents || d->unchosen)
        printf("%s: %" PRId64 " documents dropped: %" PRId64 " copies, %" PRId64 " too short, %" PRId64
               " beyond --max-bytes\n",
               name, d->duplicates + d->short_documents + d->unchosen, d->duplicates, d->short_documents, d->unchosen);
}

static void print_table(const settings *s, const corpus *c, const char *kept) {
    printf("%-14s %10s %12s %15s %12s %12s\n", "domain", "documents", "train bytes", "held-out bytes", "tokens",
           "bytes/token");
    for (int i = 0; i < c->domain_count; i++) print_row(c->domains[i].name, &c->domains[i]);
    corpus_domain total = corpus_total(c);
    print_row("all", &total);
    for (int i = 0; i < c->domain_count; i++) print_dropped(c->domains[i].name, &c->domains[i]);
    if (c->inexact)
        printf("%" PRId64 " of %" PRId64 " held-out documents change when %s encodes and decodes them: their bytes are "
               "counted token by token, by the record scripts' formula\n",
               c->inexact, c->heldout_count, s->tokenizer);
    if (kept) printf("kept, since moec data did not make it: %s\n", kept);
}

/* Everything is made beside OUT and takes its place at the end. */
static status make_tokenizer(const settings *s, corpus *c, tokenizer **t) {
    if (s->tokenizer) return open_tokenizer(s->tokenizer, t);
    TRY(corpus_train_tokenizer(c, t, (int)s->vocab));
    if (tokenizer_vocab_size(*t) < s->vocab)
        fprintf(stderr, "the text is small: it has use for %d pieces of the %lld that a vocabulary may have\n",
                tokenizer_vocab_size(*t), s->vocab);
    return STATUS_OK;
}

static status build(const settings *s, corpus *c, data_folder *f) {
    tokenizer *t;
    TRY(read_corpus(s, c));
    TRY(make_tokenizer(s, c, &t));
    status result = fill_folder(s, c, t, f->temporary);
    tokenizer_close(t);
    return result == STATUS_OK ? data_folder_commit(f) : result;
}

static status make_data(const settings *s) {
    data_folder f;
    corpus *c = corpus_create(&s->corpus);
    status result = data_folder_begin(&f, s->out, s->overwrite);
    if (result == STATUS_OK) {
        result = build(s, c, &f);
        if (result == STATUS_INTERRUPTED) (void)fail("interrupted; %s is as it was", s->out);
        if (result == STATUS_OK) print_table(s, c, f.kept);
        if (result == STATUS_OK) cli_results("%s (data.json lists them)", s->out);
        data_folder_end(&f);
    }
    corpus_destroy(c);
    return result;
}

static status run(int argc, char **argv) {
    settings s = {.vocab = 4096, .corpus = {.fields = "text", .heldout = 0.05, .seed = 1, .show_progress = true}};
    status result = parse(argc, argv, &s);
    interrupt_catch();
    if (result == STATUS_OK) result = make_data(&s);
    free(s.out);
    return result;
}

const command command_data = {
    .name = "data", .summary = "text files to token shards: clean, split, tokenize", .help = help, .run = run};
