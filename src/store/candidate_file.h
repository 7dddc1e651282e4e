/* What candidates were measured to be, kept beside an artifact, so that a packing that was killed goes on and one of other bytes begins with
 * what is known: a text of one line a candidate, "key rate bytes error", appended as they come. A key says everything that the numbers
 * depend on (weights, calibration, quantiser); lines of other keys, and what is no such line, are passed over. */
#ifndef MOEC_STORE_CANDIDATE_FILE_H
#define MOEC_STORE_CANDIDATE_FILE_H

#include "quant/candidates.h"

typedef struct candidate_file candidate_file;
/* An absent file is empty. path NULL: nothing is kept. */
status candidate_file_open(candidate_file **out, const char *path);
void candidate_file_close(candidate_file *f); /* NULL is fine */
/* The same from memory, for whoever has bytes that may be anything; it cannot be added to. */
void candidate_file_parse(candidate_file **out, const char *text, size_t bytes);
bool candidate_file_find(const candidate_file *f, uint64_t key, double rate, candidate *out);
status candidate_file_add(candidate_file *f, uint64_t key, const candidate *c);

#endif
