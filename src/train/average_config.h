/* Which mean of the weights is kept beside the live ones (average.h): the section `average` of a run. */
#ifndef MOEC_TRAIN_AVERAGE_CONFIG_H
#define MOEC_TRAIN_AVERAGE_CONFIG_H

#include "config/section.h"

typedef enum average_kind { AVERAGE_NONE, AVERAGE_EMA, AVERAGE_SWA } average_kind;
enum { START_AT_WARMDOWN = -1 }; /* of ema_start and swa_start: the word `warmdown` */

typedef struct average_config {
    average_kind kind;
    double ema_decay;  /* 0: no EMA */
    double ema_start;  /* fraction of the training or START_AT_WARMDOWN; 0: from the initial weights on, ramped */
    double swa_start;  /* the same for SWA */
    int64_t swa_every; /* steps between the checkpoints that SWA averages */
    int64_t
        choice_tokens; /* training tokens kept aside, on which averaged and live weights are compared at the end (choice.h) */
} average_config;

extern const config_section average_section;
average_config average_config_default(void); /* #2102's */
bool average_is_kept(const average_config *c);

#endif
