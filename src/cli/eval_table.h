/* What `moec eval` found, and its ways of saying it; private to cli/eval*.c. */
#ifndef MOEC_CLI_EVAL_TABLE_H
#define MOEC_CLI_EVAL_TABLE_H

#include "eval/scored_text.h"

/* Bits per byte of one kind of weights, with or without the blend; or of xz. */
typedef struct eval_row {
    const char *name, *key; /* for people; for JSON */
    double total, domain[EVAL_MAX_DOMAINS];
    double perplexity, domain_perplexity[EVAL_MAX_DOMAINS]; /* per token; NaN: it has no tokens */
} eval_row;

enum { EVAL_MAX_ROWS = 8 };

typedef struct eval_table {
    eval_row *rows[EVAL_MAX_ROWS];
    int count;
    const scored_text *text;
    bpb_score scored,
        scored_domain[EVAL_MAX_DOMAINS]; /* tokens and bytes of the last model; what has none is not shown */
    bool whole;                          /* not a sample: to be compared with xz, and to be kept as the run's result */
    double seconds;
    bool files;           /* the domains are files that were named */
    char *title;          /* which text it is: "held-out text", "2 files", …; owned */
    const char *kind;     /* the same for JSON: "held_out", "other", "files" */
    const char *chosen;   /* "live" or "ema": which of the run's weights are better; NULL: there is no run */
    char *note;           /* the same in words, owned; NULL: none */
    routing_probe *probe; /* of the model that was probed last; NULL: none was */
    const char *probed;   /* its name */
} eval_table;

void eval_table_free(eval_table *t);
/* A model's row, and a second one with the blend where it has a name. */
void eval_table_add(eval_table *t, const bpb_result *r, const char *name, const char *key, const char *blend_name,
                    const char *blend_key);
/* xz's row, where the text is there and all of it was scored. */
status eval_table_add_xz(eval_table *t);
const eval_row *eval_table_find(const eval_table *t, const char *key); /* NULL: there is none */

void eval_table_print(const eval_table *t);
void eval_table_print_json(const eval_table *t);

#endif
