/* Whether a training's live or averaged weights are better is found out when it ends, on a little text that it never trained on:
 * rows of its own training data that the loader keeps aside (config.average.choice_tokens). Not on the held-out text, whose figure
 * would then be that of the better one of two, and not on text that was trained on, which the live weights have seen most
 * recently. The two scores are of the same tokens, so their difference is far more certain than either of them. */
#ifndef MOEC_TRAIN_CHOICE_H
#define MOEC_TRAIN_CHOICE_H

#include "nn/pass.h"
#include "store/checkpoint.h"
#include "text/loader.h"
#include "train/average.h"

/* For all ranks, of which rank 0 scores: m's weights, which are live before and after, and e's on what the loader kept. choice->tokens is 0
 * where it kept nothing. STATUS_INTERRUPTED after Ctrl-C. */
status choose_weights(comm *ranks, pass *p, average *e, loader *data, const tokenizer *tok, weights_choice *choice);

#endif
