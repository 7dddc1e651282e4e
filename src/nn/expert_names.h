/* Experts as people say them: by their names (model_config.moe.names), or by their numbers from 0. */
#ifndef MOEC_NN_EXPERT_NAMES_H
#define MOEC_NN_EXPERT_NAMES_H

#include "nn/config.h"

enum { EXPERT_NAME_BYTES = LABEL_BYTES };
/* "code", or where it has no name "expert 3", written into `text`. */
const char *expert_name(const moe_config *c, int expert, char text[EXPERT_NAME_BYTES]);
/* "code, prose" or "expert 0, expert 1", cut where `bytes` end; for messages. chosen [E]: which of them; NULL: all. */
const char *expert_list(const moe_config *c, const bool *chosen, char *text, size_t bytes);
/* The expert of that name, or of that number; −1: there is none. A name goes before a number. */
int expert_find(const moe_config *c, const char *text, size_t bytes);
/* Marks those of a list like "code,3" in chosen [E]; the others stay as they are. What names no expert is refused with the list of
 * those that there are; `option` names where the list stands. */
status experts_read(const moe_config *c, const char *option, const char *list, bool *chosen);

#endif
