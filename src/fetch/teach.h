/* Text that a server writes, for a student to learn from: the questions of a file of prompts (seed_prompts.h), each asked until
 * it is answered, into FOLDER/DOMAIN.jsonl (teach_file.h). FOLDER/teach.json says how they were asked, and a later call with the
 * same folder asks only what is not answered.
 *
 * Requests go out side by side, within one budget (crew.h). What was answered stays, however the call ends. */
#ifndef MOEC_FETCH_TEACH_H
#define MOEC_FETCH_TEACH_H

#include "fetch/http.h"
#include "fetch/seed_prompts.h"
#include "fetch/teach_file.h"

typedef struct teach_request {
    const seed_prompts *prompts;
    const char *folder;
    const char *model; /* NULL: the only one that the server has */
    bool chat;         /* else plain completions */
    double temperature;
    int64_t max_tokens, seed;
    int64_t per_prompt; /* answers to each prompt */
    int parallel;       /* at most CREW_MAX_WORKERS (crew.h) */
    int64_t requests;   /* that may reach the server, lost and refused ones too; 0: any number */
    double timeout;     /* seconds for one answer, from the question to its last byte */
} teach_request;

typedef struct teach_result {
    char *model;
    int64_t requests;                          /* that reached the server, by this call */
    int64_t open;                              /* questions that are not answered */
    teach_counts domains[PROMPTS_MAX_DOMAINS]; /* by this and earlier calls */
    int64_t asked[PROMPTS_MAX_DOMAINS];        /* answers that came by this call */
} teach_result;

/* STATUS_OK with r->open > 0: the budget of requests is spent. c's own times hold but for the time of an answer. r is to be freed
 * in any case, and says after a failure too what there is. */
status teach_fetch(const http_client *c, const teach_request *q, teach_result *r);
void teach_result_free(teach_result *r);

#endif
