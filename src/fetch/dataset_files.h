/* Rows from the files of a data set's repository: JSONL, CSV and text, each as it is or packed by gzip or zstd. */
#ifndef MOEC_FETCH_DATASET_FILES_H
#define MOEC_FETCH_DATASET_FILES_H

#include "fetch/dataset.h"

enum { FILES_TEXT_BYTES = 64 << 10, FILES_MAX_TEXT_BYTES = 1 << 20 };

/* Files that match `pattern` at `revision` (hub.h), in the order of their names, become the lines of q->out, which is there when all
 * is done; q->config and q->split are not used. A text is cut at the first blank line behind FILES_TEXT_BYTES, at a line end at
 * FILES_MAX_TEXT_BYTES. */
status dataset_files_fetch(http_client *c, const dataset_request *q, const char *revision, const char *pattern,
                           dataset_result *r);
/* The part behind the download, for one file; `name` says by its end what it is. */
status dataset_files_read(const dataset_request *q, const char *path, const char *name, FILE *out, dataset_result *r);
status dataset_files_check(const char *name);

#endif
