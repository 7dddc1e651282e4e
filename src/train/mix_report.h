/* What a training that draws by domain (text/mix.h) says of it. NULL where there is no mix. */
#ifndef MOEC_TRAIN_MIX_REPORT_H
#define MOEC_TRAIN_MIX_REPORT_H

#include "text/loader.h"
#include <cjson/cJSON.h>

/* {"code": 0.4, "web": 0.6}: of the domains that are drawn */
cJSON *mix_shares(const loader *l);
/* {"code": 1024, "web": 1536}: tokens so far */
cJSON *mix_drawn_tokens(const loader *l);
/* "code 40 % (of 0.81 M tokens of text), web 60 % (of 2.04 M tokens of text)" before training; a new string */
char *mix_describe(const loader *l);
/* "code 40 % (0.33 M tokens, 0.41 times its text), web 60 % (…)" of what was drawn; a new string */
char *mix_describe_drawn(const loader *l);

#endif
