/* From real text to shards: documents of several domains are read, cleaned, split into training and held-out ones, and
 * written as tokens.
 *
 * A domain is a folder (all text files in it, recursively, except hidden ones), one text file, or a JSONL file.
 * One file or one JSONL row is one document, except that a file named by the user and any text longer than
 * CORPUS_LONG_FILE are cut where the text allows it: wikitext at its " = Title = " lines, other text at blank
 * lines, into documents of at most CORPUS_PART_BYTES.
 *
 * Cleaning: line ends become "\n"; blanks at the ends of lines, blank lines at both ends and a byte order mark go; each
 * document ends with one "\n". Documents with fewer than CORPUS_LEAST_BYTES visible bytes and exact copies of an earlier
 * document (of any domain, so that no held-out document is in the training text) are dropped.
 *
 * The whole text is held in memory. */
#ifndef MOEC_TEXT_CORPUS_H
#define MOEC_TEXT_CORPUS_H

#include "base/status.h"
#include "text/tokenizer.h"
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CORPUS_MAX_DOMAINS = 32,
    CORPUS_LONG_FILE = 256 * 1024,
    CORPUS_PART_BYTES = 16 * 1024,
    CORPUS_LEAST_BYTES = 16,
    CORPUS_ROW_BYTES = 64 * 1024 * 1024, /* of JSONL */
    CORPUS_SHARD_TOKENS = 100 * 1000 * 1000,
    CORPUS_SAMPLE_BYTES = 4 * 1024 * 1024 /* of training text for the tokenizer */
};

typedef struct corpus_options {
    const char *fields; /* JSONL: names of the members that make the text, with commas; joined by a line end */
    int64_t max_bytes;  /* of a domain, train and held-out together; 0: all. Whole documents, chosen by the seed */
    double heldout;     /* share of a domain's bytes to hold out, in [0, 1]; 1: nothing is trained on */
    uint64_t seed;
    bool show_progress;
} corpus_options;

typedef struct corpus_document {
    char *text; /* clean, NUL-terminated */
    int64_t bytes;
    char *source; /* path, with ":line" for a JSONL row and "#part" for a part of a long file */
    int domain;
    bool chosen; /* within max_bytes */
    bool heldout;
} corpus_document;

typedef struct corpus_amount {
    int64_t documents, bytes, tokens; /* tokens include one BOS a document; 0 until corpus_write */
} corpus_amount;

typedef struct corpus_domain {
    char *name, *path;
    int64_t files, skipped_files;                  /* read; and passed over because empty or not UTF-8 text */
    int64_t short_documents, duplicates, unchosen; /* dropped documents */
    corpus_amount train, heldout;
} corpus_domain;

typedef struct corpus {
    corpus_options options;
    corpus_domain domains[CORPUS_MAX_DOMAINS];
    int domain_count;
    corpus_document *documents; /* in reading order */
    int64_t count, capacity;
    int64_t *slots; /* hash table of the documents by content: index + 1, or 0 */
    int64_t slot_count;
    int64_t *train, *heldout; /* after corpus_split: document indices, training ones in random order */
    int64_t train_count, heldout_count;
    cJSON *files;    /* after corpus_write: checksums of what it wrote (checksums.h) */
    int64_t inexact; /* after corpus_write: held-out documents that the tokenizer does not give back to the byte */
} corpus;

corpus *corpus_create(const corpus_options *options);
void corpus_destroy(corpus *c);
/* Reads and cleans. A named file that is empty, not UTF-8 or holds bad JSON is an error that says where; such text files
 * inside a folder are counted as skipped. */
status corpus_add_domain(corpus *c, const char *name, const char *path);
/* Chooses what is used and what is held out; call it once, after all domains. */
status corpus_split(corpus *c);
/* Trains a tokenizer on at most CORPUS_SAMPLE_BYTES of the training documents, or of the held-out ones where there are no others.
 * A small text gives fewer pieces than vocab_size. */
status corpus_train_tokenizer(corpus *c, tokenizer **out, int vocab_size);
/* Writes tokenizer.model, NAME_train_*.bin, NAME_val_*.bin with their .docs.tsv, and heldout.txt, whose bytes are those of the
 * held-out documents in the shard's order. must_be_exact: a held-out document that does not decode to itself, or whose tokens
 * do not add up to its bytes, is an error. Fills the tokens of the amounts. */
status corpus_write(corpus *c, const tokenizer *t, const char *folder, const char *name, bool must_be_exact);
/* data.json: what was read, dropped and written, and its checksums; `tokenizer_source` is the given model's path, or NULL: trained here. */
status corpus_write_summary(const corpus *c, const tokenizer *t, const char *tokenizer_source, const char *folder);
double corpus_bytes_per_token(const corpus_domain *d); /* of all its text, BOS not counted */
corpus_domain corpus_total(const corpus *c);           /* sums; name and path are NULL */

/* ---- the parts, for corpus_*.c and tests ---- */

/* Line ends, blanks at line ends, byte order mark: in place; returns the new length. */
size_t clean_lines(char *text, size_t bytes);
/* Length of the first document of a long, clean text: up to the next wikitext title, or at most CORPUS_PART_BYTES. */
size_t first_part(const char *text, size_t bytes, bool wikitext);
bool is_wikitext(const char *text, size_t bytes); /* has at least two title lines */
/* Takes clean lines; trims, drops or keeps. */
void corpus_add_document(corpus *c, const char *text, size_t bytes, const char *source);
/* Cleans the text in place; split: cuts it as a long file. */
void corpus_add_text(corpus *c, const char *source, char *text, size_t bytes, bool split);
status corpus_add_jsonl(corpus *c, const char *path, const char *text, size_t bytes);
/* The members named in `fields` of one row, joined by line ends; *text is malloc'ed, NUL-terminated. Anything but one JSON object
 * is an error that `where` begins. */
status jsonl_row(const char *row, size_t bytes, const char *fields, const char *where, char **text, size_t *count);

#endif
