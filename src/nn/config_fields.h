/* model_config's keys as a section, grouped for the reader. */
#ifndef MOEC_NN_CONFIG_FIELDS_H
#define MOEC_NN_CONFIG_FIELDS_H

#include "config/section.h"
#include "nn/config.h"

extern const config_section model_section;

#endif
