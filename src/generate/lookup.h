/* How a text may go on, looked up in the text itself (Saxena 2023, prompt lookup decoding; Yang et al. 2023,
 * 2304.04487): the longest end of it that it had before is found, and what followed there is proposed. Answers that
 * quote, summarise or change what their prompt has say much of it again. */
#ifndef MOEC_GENERATE_LOOKUP_H
#define MOEC_GENERATE_LOOKUP_H

#include <stdint.h>

enum { LOOKUP_LEAST = 2, LOOKUP_MOST = 16 }; /* tokens of an end that is looked for; all longer ones are equal */

/* Behind tokens [count] of a text: up to `most` into proposed; returns how many, 0 where no end of LOOKUP_LEAST tokens
 * was there before. Of equally long ends the last one counts. A text that repeats itself up to its end is proposed to
 * go on so. In time proportional to count. */
int draft_lookup(const int32_t *tokens, int64_t count, int32_t *proposed, int most);

#endif
