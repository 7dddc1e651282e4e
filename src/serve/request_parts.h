/* The parts that request.c reads a completion_request from: each leaves its members at their defaults where the body says
 * nothing. */
#ifndef MOEC_SERVE_REQUEST_PARTS_H
#define MOEC_SERVE_REQUEST_PARTS_H

#include "serve/request.h"

status messages_read(completion_request *r, const members *m);
/* Temperature, penalties, biases, seed, response_format. */
status sampler_read(completion_request *r, const members *m, int vocab);
/* `moec`. */
status experts_request_read(expert_request *x, const members *m, const model_config *c);

#endif
