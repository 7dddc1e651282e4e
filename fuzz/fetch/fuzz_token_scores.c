/* Any bytes as what a server says of tokens, in either dialect, and as a text's tokens. */
#include "base/memory.h"
#include "fetch/token_scores.h"
#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition) abort();
}

static char *copy_of(const uint8_t *bytes, size_t count) {
    char *text = xmalloc(count ? count : 1); /* exactly as long, so that a sanitizer sees every byte beyond the end */
    if (count) memcpy(text, bytes, count);
    return text;
}

static void check_error(void) {
    require(strncmp(error_message(), "fuzz: ", 6) == 0 && !strchr(error_message(), '\n'));
    require(!strstr(error_message(), "secret")); /* the key */
}

static void check_scores(const token_scores *s) {
    for (int64_t at = 0; at < s->count; at++) {
        require(s->rest[at] <= 0);
        for (int j = 0; j < s->k; j++) {
            const int64_t i = at * s->k + j;
            require(s->ids[i] >= -1 && s->ids[i] < s->vocab_size && s->log_probs[i] <= 0);
            require(j == 0 || s->ids[i] < 0 || s->log_probs[i] <= s->log_probs[i - 1]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    static const int32_t sent[] = {1, 5, 7};
    const http_client c = {.endpoint = (char *)"http://x", .token = (char *)"secret"};
    for (int dialect = 0; dialect < 2; dialect++) {
        token_scores s;
        char *text = copy_of(bytes, count);
        scores_open(&s, 2, 50, 0, dialect == SCORES_ECHO ? 3 : 1);
        if (scores_parse(&s, (scores_dialect)dialect, sent, 3, &c, text, count, "fuzz") == STATUS_OK)
            check_scores(&s);
        else
            check_error();
        scores_close(&s);
        free(text);
    }
    char *text = copy_of(bytes, count);
    if (scores_parse_tokens(sent, 3, &c, text, count, "fuzz") != STATUS_OK) check_error();
    free(text);
    return 0;
}
