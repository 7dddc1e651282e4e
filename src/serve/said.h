/* What the scheduler said of one text, as a copy that outlives its callback. */
#ifndef MOEC_SERVE_SAID_H
#define MOEC_SERVE_SAID_H

#include "generate/scheduler.h"

typedef struct said {
    struct said *next;
    int choice; /* which text */
    bool is_end;
    token_event token; /* what these point to lies in the same block: free() is enough */
    text_end end;      /* its error is "" where there is none; `stopped` is NULL */
} said;
/* NULL where memory is out: whoever says it works for many. */
said *said_token(int choice, const token_event *token);
said *said_end(int choice, const text_end *end);
/* The end of a text for which there was no memory: room for it, made before; and saying so. */
said *said_spare(int choice);
void said_fill_spare(said *spare, const text_end *end);

#endif
