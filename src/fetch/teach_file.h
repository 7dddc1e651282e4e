/* FOLDER/DOMAIN.jsonl: what a teacher wrote, a line for each answer, as `moec data` reads it:
 *     {"prompt": …, "text": …, "model": …, "settings": {"temperature": T, "max_tokens": N, "seed": S}, "finish_reason": …,
 *      "usage": {"prompt_tokens": N, "completion_tokens": N}}
 * A line is appended, whole and on the disk, when its answer comes; when a domain has all of them, the file is put into the
 * order of its prompts and their repetitions, so that equal answers make equal files in whatever order they came. A line says
 * by its prompt and its seed which question it answers. */
#ifndef MOEC_FETCH_TEACH_FILE_H
#define MOEC_FETCH_TEACH_FILE_H

#include "fetch/completion.h"
#include "fetch/teach_questions.h"

typedef struct teach_counts {
    int64_t texts; /* questions that are answered */
    int64_t empty; /* of them, with no text */
    int64_t cut;   /* of them, at max_tokens */
    int64_t completion_tokens;
    int64_t others; /* lines that answer none of the questions: of earlier prompts, or a second time */
} teach_counts;

/* Marks what is answered. A last line without its end is cut off; any other that is no such object is an error. An absent file
 * is an empty one. */
status teach_file_read(const char *path, questions *q, int domain, teach_counts *counts);
/* Lines in the order of their questions, others behind them as they were; nothing is written where they are. */
status teach_file_sort(const char *path, const questions *q, int domain);
status teach_file_append(const char *path, const completion_request *q, const completion *a);
/* Counts a line. */
void teach_count(teach_counts *counts, const char *text, const char *finish, int64_t completion_tokens);

#endif
