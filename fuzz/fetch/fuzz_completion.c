/* Any bytes as a teacher's answer to a question, of either kind, and as its list of models. */
#include "base/memory.h"
#include "fetch/completion.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    const http_client c = {.endpoint = (char *)"http://x", .token = (char *)"secret"};
    char *model = NULL;
    for (int chat = 0; chat < 2; chat++) {
        completion a;
        char *text = copy_of(bytes, count);
        if (completion_parse(&a, chat, &c, text, count, "fuzz") == STATUS_OK)
            require(a.text && a.prompt_tokens >= -1 && a.completion_tokens >= -1);
        else
            check_error();
        completion_free(&a);
        free(text);
    }
    char *text = copy_of(bytes, count);
    if (completion_parse_models(&model, &c, text, count, "fuzz") == STATUS_OK)
        require(model != NULL);
    else
        check_error();
    free(model);
    free(text);
    return 0;
}
