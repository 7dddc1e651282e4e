/* Any bytes through the automaton of JSON: what it calls whole is an object that cJSON reads, and it never accepts a byte
 * that cJSON would stumble over later. */
#include "generate/json_grammar.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void check(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    json_grammar g = json_grammar_start();
    char *text = malloc(count + 1);
    size_t accepted = 0;
    for (size_t i = 0; i < count; i++) /* what is refused is passed over, so that most inputs come far */
        if (json_grammar_step(&g, bytes[i])) text[accepted++] = (char)bytes[i];
    text[accepted] = 0;
    if (json_grammar_is_whole(&g)) {
        cJSON *parsed = cJSON_ParseWithOpts(text, NULL, true);
        check(cJSON_IsObject(parsed));
        cJSON_Delete(parsed);
    }
    free(text);
    return 0;
}
