/* Everything that a run is described by, in sections that each belong to a room of the house. A preset in configs/ is YAML over
 * the same keys; every key can be overridden as key=value or section.key=value. */
#ifndef MOEC_TRAIN_CONFIG_H
#define MOEC_TRAIN_CONFIG_H

#include "config/schema.h"
#include "eval/eval_config.h"
#include "nn/config.h"
#include "store/pack_config.h"
#include "text/data_config.h"
#include "train/average_config.h"
#include "train/distill_config.h"
#include "train/event_config.h"
#include "train/label_config.h"
#include "train/optimizer_config.h"
#include "train/train_config.h"
#include <stdio.h>

typedef struct run_config {
    data_config data;
    model_config model;
    train_config train;
    optimizer_config optimizer;
    average_config average;
    distill_config distill;
    event_list events;
    label_config labels;
    pack_config pack;
    eval_config eval;
} run_config;

extern const config_schema run_schema;

run_config run_config_default(void); /* #2102's, events included; run_config_free it */
void run_config_free(run_config *c);
/* Read a YAML file over *c (the presets that its key `base` names before it), then apply overrides ("key=value"), then check
 * everything. An unknown key is an error that names what may be meant; a wrong type says what was expected and what was
 * found. path may be NULL. Where `init` names a model, the section `model` is that model's (init.h), and events that nobody
 * gives are none. */
status run_config_load(run_config *c, const char *path, char *const *overrides, int override_count);
/* The same of a run that has begun: what it began with (init) need not be there any more. */
status run_config_load_begun(run_config *c, const char *path, char *const *overrides, int override_count);
status run_config_parse(run_config *c, const char *where, const char *yaml, size_t bytes); /* no overrides, no check */
/* The rules of every section, and those between sections. */
status run_config_check(const run_config *c);
/* The whole config as YAML that run_config_load reads back to the same values. */
status run_config_write(const run_config *c, const char *path);
char *run_config_text(const run_config *c); /* the same as a new string */
/* The table of keys with types, defaults and meanings, for `moec train --keys`. */
void run_config_describe(FILE *out);

#endif
