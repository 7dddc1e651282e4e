/* Tokens for one pass, in columns that are aligned by token. Host memory, which the maker of the batch owns. */
#ifndef MOEC_TEXT_BATCH_H
#define MOEC_TEXT_BATCH_H

#include <stdint.h>

enum { NO_DOMAIN = -1 };

/* What a teacher thinks of each target: its k most probable tokens there, and what is left for all others. */
typedef struct teacher_column {
    int k;
    const int32_t *ids;     /* [B, T, k] by falling probability; < 0: there are no more */
    const float *log_probs; /* [B, T, k] natural logarithms, at the teacher's own temperature of 1 */
    const float *rest;      /* [B, T] logarithm of the probability of all tokens that are not among the k */
} teacher_column;

typedef struct batch {
    int64_t batch, length;     /* B, T */
    const int32_t *input_ids;  /* [B, T] */
    const int32_t *target_ids; /* [B, T]; < 0: not scored. NULL where no loss is wanted */
    const int32_t *first; /* [B, T] first position of the token's document in its row (kernel.h), NULL: one document */
    const int32_t
        *domain; /* [B, T] index of the domain of the target's document, NO_DOMAIN: not known; NULL: for all */
    const teacher_column *teacher; /* NULL: there is none */
} batch;

/* A batch of its own with the same ids, targets and starts of documents, as far as they are there; without domains and teacher. */
batch batch_copy(const batch *b);
void batch_free(batch *copy); /* one without columns is fine */

#endif
