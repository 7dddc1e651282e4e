/* Rows of data sets through the hub's viewer, which serves those of any format, a hundred a request:
 *     GET SERVER/splits?dataset=D                                      {"splits": [{"config": …, "split": …}, …]}
 *     GET SERVER/rows?dataset=D&config=C&split=S&offset=N&length=100   {"rows": [{"row_idx": N, "row": {…},
 *                                                                        "truncated_cells": […]}, …], "num_rows_total": …}
 * Lines (row.h) are appended whole; OUT.fetch.json beside says up to which row, and what was asked for, and lets a later call
 * go on. */
#ifndef MOEC_FETCH_DATASET_H
#define MOEC_FETCH_DATASET_H

#include "fetch/http.h"
#include "fetch/row.h"

#define DATASET_SERVER "https://datasets-server.huggingface.co"

enum {
    DATASET_PAGE_ROWS = 100,
    DATASET_PAGE_BYTES = 128 << 20 /* of one answer */
};

typedef struct dataset_request {
    const char *dataset;
    const char *config, *split; /* NULL: the only one, "default", "train" */
    int64_t rows;               /* at most; 0: all */
    row_form *form;
    const char *out;
} dataset_request;

typedef struct dataset_result {
    int64_t rows;   /* taken from the data set so far, by this and earlier calls */
    int64_t lines;  /* of OUT */
    int64_t empty;  /* rows without text, by this call */
    int64_t cut;    /* rows of which the server sent only a part, left out, by this call */
    int64_t mended; /* characters that are no text, replaced, by this call */
    bool was_there; /* nothing had to be fetched */
} dataset_result;

status dataset_fetch(http_client *c, const dataset_request *q, dataset_result *r);

/* ---- the parts, for tests ---- */

typedef struct dataset_row {
    int64_t index;
    const char *text; /* of the object, within the page */
    size_t bytes;
    bool cut;
} dataset_row;

typedef struct dataset_page {
    dataset_row rows[DATASET_PAGE_ROWS];
    int count;
    int64_t total; /* rows of the split */
} dataset_page;

status dataset_parse_page(dataset_page *p, const char *text, size_t bytes, const char *where);
/* *config and *split, where they are NULL, become new strings. */
status dataset_parse_splits(const char *text, size_t bytes, const char *where, char **config, char **split);

#endif
