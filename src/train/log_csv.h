/* A run's log as a table: RUN/log.csv, a line of column names and one for each step, made from the records of log.jsonl. */
#ifndef MOEC_TRAIN_LOG_CSV_H
#define MOEC_TRAIN_LOG_CSV_H

#include "base/status.h"
#include <cjson/cJSON.h>

#define LOG_CSV_FILE "log.csv"

typedef struct log_csv log_csv;

/* Columns: keys of a step's record, or KEY.NAME for the members of an object; what a record does not have is an empty field.
 * A file that is not such a table is not replaced. Columns become the table's. */
status log_csv_create(log_csv **out, const char *path, char **columns, int count);
status log_csv_record(void *log_csv,
                      const cJSON *record); /* a run_log_listener; other records than steps' are passed over */
void log_csv_close(log_csv *c);
/* That nothing or such a table is there. */
status log_csv_check(const char *path);

#endif
