/* The tables behind run_config: private to train/config*.c. */
#ifndef MOEC_TRAIN_CONFIG_TABLE_H
#define MOEC_TRAIN_CONFIG_TABLE_H

#include "nn/config_fields.h"
#include "train/config.h"

enum { RUN_CONFIG_OWN_FIELDS = 50, RUN_CONFIG_FIELDS = RUN_CONFIG_OWN_FIELDS + MODEL_CONFIG_FIELDS };

/* Every key of a run: run_config's own and the model's, sections together, in the order in which they are written.
 * Offsets are into run_config. */
config_field run_config_field(int index);
/* By name, with or without its section ("batch", "train.batch"); −1: there is none. */
int run_config_find(const char *name);
bool run_config_is_section(const char *name);
/* The key and the section nearest to an unknown one. */
config_field run_config_nearest(const char *name);
const char *run_config_nearest_section(const char *name);

/* The keys of an event; offsets are into event. */
enum {
    EVENT_KEY_AT,
    EVENT_KEY_BELOW_LR,
    EVENT_KEY_DO,
    EVENT_KEY_LAYERS,
    EVENT_KEY_EXPERTS,
    EVENT_KEY_TOP_K,
    EVENT_KEY_BITS,
    EVENT_KEYS
};
typedef struct event_field {
    config_field field;
    unsigned kinds; /* bit k: event_kind k has this key */
} event_field;
extern const event_field event_fields[EVENT_KEYS];
const char *event_kind_name(event_kind kind);

/* Apply one "key=value"; given[i] becomes true for its key. */
status run_config_override(run_config *c, const char *override, bool *given);
/* The key `base` in a file's text: the presets that it builds on, in their order. The caller frees the strings and the list,
 * after a failure too. */
status run_config_bases(const char *where, const char *yaml, size_t bytes, char ***bases, int *count);
/* As run_config_parse, but the key `base` is passed over; given[i] becomes true for each key that the text has. */
status run_config_read(run_config *c, const char *where, const char *yaml, size_t bytes, bool *given);

#endif
