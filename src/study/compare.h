/* Models beside one another: what they cost and what they are worth, on the same text.
 *
 * Each model is measured in a process of its own, so that its peak memory is its own, one after another, so that none slows
 * another down. All are opened once before, so that a model that cannot be is known before any long work. */
#ifndef MOEC_STUDY_COMPARE_H
#define MOEC_STUDY_COMPARE_H

#include "eval/pieces.h"
#include "generate/generate.h"
#include "kernel/kernel.h"
#include "study/paired.h"
#include <cjson/cJSON.h>

enum {
    COMPARE_MAX_MODELS = 16,
    COMPARE_PREFILL = 512, /* tokens that are read, and written one by one behind them, for the speeds */
    COMPARE_DECODE = 128,
    COMPARE_REPEATS = 3,   /* of which the median is taken */
    COMPARE_DOCUMENTS = 12 /* with so many in a domain they are the units of its error, with fewer their pieces */
};

typedef struct compare_subject {
    const char *path; /* as it was named */
    const char *open; /* what is opened: of a run the checkpoint that is held */
    const char *kind; /* "artifact", "checkpoint, averaged weights", … for the table */
    bool held_out;    /* the text was held out from its training, as far as is known */
} compare_subject;

typedef struct compare_options {
    const compare_subject *models; /* the first is what the others are held against */
    int count;
    const kernels *k;
    const char *data;         /* a data folder or a shard; NULL: files */
    const char *const *files; /* [file_count] */
    int file_count;
    int64_t tokens;             /* that the first model has of what is scored, about; 0: the whole text */
    int64_t seq;                /* window; 0: as each was trained, of pretrained ones at most 2048 */
    const char *const *prompts; /* [prompt_count]; NULL: the beginning of a document of each domain */
    int prompt_count;
    int samples;        /* texts behind each prompt, with the seeds seed, seed + 1, …; 0: none */
    int64_t new_tokens; /* at most, in each */
    sampler sampler;
} compare_options;

typedef struct compare_sample {
    char *prompt, *text; /* UTF-8 */
    uint64_t seed;
    int64_t tokens;
    bool ended; /* by an end token, within new_tokens */
} compare_sample;

typedef struct compare_speed {
    double median, least, most; /* tokens a second */
} compare_speed;

/* What one model's process found. */
typedef struct compare_model {
    const char *name; /* its path's last part, or all of it where two have the same */
    int vocab_size;
    int64_t parameters, active, disk_bytes;
    double load_seconds;
    compare_speed prefill, decode;
    int64_t peak_bytes, scoring_bytes; /* of memory: after loading, reading and writing; after scoring too */
    int64_t seq, stride;               /* of the windows */
    piece_score *pieces;               /* [comparison.pieces.count] */
    piece_score domain[EVAL_MAX_DOMAINS], total;
    paired_difference difference[EVAL_MAX_DOMAINS], in_all; /* to the first model */
    compare_sample *samples;
    int sample_count;
    int64_t grams, repeated, ended; /* over all samples */
    double mean_tokens, mean_bytes; /* of a sample; NaN: there are none */
} compare_model;

typedef struct comparison {
    const compare_options *options;
    text_pieces pieces;
    char *domain_name[EVAL_MAX_DOMAINS];
    int64_t domain_bytes[EVAL_MAX_DOMAINS];
    bool by_document[EVAL_MAX_DOMAINS]; /* the units of its error are documents, not pieces */
    int domain_count;
    compare_model models[COMPARE_MAX_MODELS];
    int count;
} comparison;

/* options live as long as c. Shows its progress. To be freed either way. */
status compare_run(const compare_options *options, comparison *c);
void comparison_free(comparison *c);
double compare_bpb(const piece_score *s, int64_t bytes);
double compare_perplexity(const piece_score *s);

/* Tables in Markdown; samples: the texts too. plot: the name of a file to be shown, or NULL. */
void compare_print(const comparison *c, bool samples, const char *plot, FILE *out);
cJSON *compare_json(const comparison *c);
/* folder gets compare.md, compare.json, compare.svg, .tsv and .gp; *plotted is false where there is no gnuplot. */
status compare_write(const comparison *c, const char *folder, bool *plotted);

#endif
