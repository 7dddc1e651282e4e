/* What happens during training, and when: the section `events` of a run, a list such as
 * [{at: 0.30, do: upcycle, layers: [4, 5], experts: 2}]. */
#ifndef MOEC_TRAIN_EVENT_CONFIG_H
#define MOEC_TRAIN_EVENT_CONFIG_H

#include "config/section.h"
#include "nn/config.h"

typedef enum event_kind { EVENT_UPCYCLE, EVENT_LOOP, EVENT_QAT } event_kind;
enum { MAX_EVENTS = 16 };

typedef struct event {
    double at;       /* fraction of the training, by steps or by wall-clock as the schedule runs */
    double below_lr; /* qat: instead of `at`, when the learning rate's factor is below this; 0: `at` counts */
    event_kind kind;
    bool layers[MODEL_MAX_LAYERS]; /* upcycle */
    int experts, top_k;            /* upcycle; top_k 1 by default */
    int bits;                      /* qat: 6 by default */
} event;

typedef struct event_list {
    event items[MAX_EVENTS];
    int count;
} event_list;

extern const config_section events_section;
event_list event_list_default(void); /* #2102's */
/* Ranges, and that each event suits the model as those before it left it. */
status event_list_check(const event_list *events, const model_config *model);
/* The model that `now` is once every event has happened. */
model_config model_after_events(const event_list *events, const model_config *now);
/* Whether both, whenever they happen, do the same to the model. */
bool event_does_the_same(const event *a, const event *b);
const char *event_kind_name(event_kind kind); /* as the key `do` has it */

#endif
