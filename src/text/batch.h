/* Tokens for one pass, in columns that are aligned by token. Host memory, which the maker of the batch owns. */
#ifndef MOEC_TEXT_BATCH_H
#define MOEC_TEXT_BATCH_H

#include <stdint.h>

enum { NO_DOMAIN = -1 };

typedef struct batch {
    int64_t batch, length;     /* B, T */
    const int32_t *input_ids;  /* [B, T] */
    const int32_t *target_ids; /* [B, T]; < 0: not scored. NULL where no loss is wanted */
    const int32_t *first; /* [B, T] first position of the token's document in its row (kernel.h), NULL: one document */
    const int32_t
        *domain; /* [B, T] index of the domain of the target's document, NO_DOMAIN: not known; NULL: for all */
} batch;

#endif
