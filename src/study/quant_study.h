/* The quantisation study: published questions asked of one model. What was measured is kept in FOLDER/study.json row by row, so that a study that
 * was stopped goes on; tables are in FOLDER/study.md, plots beside it. */
#ifndef MOEC_STUDY_QUANT_STUDY_H
#define MOEC_STUDY_QUANT_STUDY_H

#include "eval/scored_text.h"
#include "store/checkpoint.h"
#include "store/pack_plan.h"
#include "train/pack.h"
#include <cjson/cJSON.h>

/* What is asked, and with what. */
typedef struct quant_study_options {
    const char *out;  /* folder; made where it is absent */
    const char *data; /* held-out text that is scored: a data folder or a shard */
    int64_t tokens;   /* of it, a sample (eval/sample.h); 0: all */
    double rates[16]; /* bits a weight of the curve and of the layers' errors */
    int rate_count;
    bool five, curve, layers, gap, sensitivity;
    /* Of --gap, which asks a run's checkpoints: the one that the weights are of, and which of them; NULL: no training of
     * moec made the model */
    const checkpoint *saved;
    const char *which;
} quant_study_options;

typedef struct quant_study {
    const quant_study_options *options;
    const kernels *k;
    model *m; /* MODEL_VALUES */
    const tokenizer *tok;
    const run_config *config;
    const char *name; /* of the model, for titles */
    bpb_options windows;
    scored_text text;
    pack_calibration calibration;
    cJSON *results; /* of study.json */
    double float_bpb;
} quant_study;

/* Everything that is asked, in order; tables also to `say`. STATUS_INTERRUPTED leaves what is known. */
status quant_study_run(const quant_study_options *o, const kernels *k, model *m, const tokenizer *tok,
                       const run_config *c, const char *name, const bpb_options *windows, FILE *say);

/* ---- the questions, each of a file of its own ---- */

/* Bits of attention against bits of MLPs (#480): bytes, bits per byte, difference; quant_five.c. */
status quant_five(quant_study *s, FILE *out);
/* Bits per byte against bytes for each quantiser at one rate everywhere, and shared out; and how far each is from the rate-distortion limit;
 * quant_curve.c. */
status quant_curve(quant_study *s, FILE *out);
/* The hidden state against the float model's after every block and pass; quant_layers.c. */
status quant_layers(quant_study *s, FILE *out);
/* The loss of #2102's way of packing taken apart: one cause after another is taken away until what is left is `moec
 * pack`; quant_gap.c. */
status quant_gap(quant_study *s, FILE *out);
/* What errors of the matrices of one role do to the loss, foretold and measured; quant_sensitivity.c. */
status quant_sensitivity(quant_study *s, FILE *out);

/* ---- what they share ---- */

/* What is known of `key` of a question; NULL: nothing yet. */
const cJSON *quant_study_known(const quant_study *s, const char *question, const char *key);
/* Keeps the row, which is given away. */
status quant_study_keep(quant_study *s, const char *question, const char *key, cJSON *row);
double quant_study_number(const cJSON *row, const char *key); /* NaN where it has none */
/* Bits per byte of a model on the study's text. */
status quant_study_score(const quant_study *s, model *m, const char *shown, double *bits);
/* A plan of one quantiser at one rate for all matrices, with the study's sensitivities. */
pack_plan quant_study_plan(const quant_study *s, quantizer q, double rate);
/* The model packed by a plan, or where that is NULL shared out to `bits` a weight by `q`, and read back. *bytes: of the file. */
status quant_study_pack(const quant_study *s, pack_plan *plan, quantizer q, double bits, model **packed, int64_t *bytes,
                        pack_report *report);
/* Any model, packed as the options say, and read back. */
status quant_study_write(const quant_study *s, const model *m, hessians *h, const pack_options *options, model **packed,
                         int64_t *bytes, pack_report *report);
/* The stream of a packed model against s->m's on a part of the text, where each block reads it, pass by pass, and at last
 * the head: a list of {layer, pass, cosine, relative}; quant_layers.c. */
status quant_study_stream(const quant_study *s, model *packed, cJSON **list);
/* Who reads it, of an entry of that list. */
void quant_study_reader(char text[32], const quant_study *s, const cJSON *entry);
/* The same, scored: {bytes, bits, bpb, difference, expected}. */
status quant_study_row(const quant_study *s, pack_plan *plan, quantizer q, double bits, const char *shown, cJSON **row);

#endif
