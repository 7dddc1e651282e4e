#include "generate/lookup.h"

/* Tokens that the text's end has in common with what ends before `at`, up to LOOKUP_MOST. */
static int common_end(const int32_t *tokens, int64_t count, int64_t at) {
    int same = 0;
    while (same < LOOKUP_MOST && same < at && tokens[at - 1 - same] == tokens[count - 1 - same]) same++;
    return same;
}

/* Behind which of its tokens the text was last as it is at its end; 0: nowhere. */
static int64_t find_end(const int32_t *tokens, int64_t count) {
    int longest = LOOKUP_LEAST - 1;
    int64_t found = 0;
    for (int64_t at = count - 1; at > 0 && longest < LOOKUP_MOST; at--) {
        const int same = common_end(tokens, count, at);
        if (same > longest) longest = same, found = at;
    }
    return found;
}

int draft_lookup(const int32_t *tokens, int64_t count, int32_t *proposed, int most) {
    const int64_t from = find_end(tokens, count);
    if (from == 0) return 0;
    for (int i = 0; i < most; i++) proposed[i] = from + i < count ? tokens[from + i] : proposed[from + i - count];
    return most;
}
