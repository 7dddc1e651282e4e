/* Any JSON as Hugging Face's config.json is refused with a message or is a configuration that comes back when it is written. */
#include "formats/family.h"
#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition) abort();
}

/* What another program reads is text. */
static cJSON *through_text(cJSON *json) {
    char *text = cJSON_PrintUnformatted(json);
    cJSON *back = cJSON_Parse(text);
    require(back != NULL);
    cJSON_free(text);
    cJSON_Delete(json);
    return back;
}

static void write_and_read(const family *f, const model_config *c, int context) {
    const family *same;
    model_config back;
    int context_back, window;
    cJSON *json = through_text(hf_config_write(f, c, context, "float32"));
    require(hf_config_read(json, "written", &same, &back, &context_back, &window) == STATUS_OK);
    require(same == f && context_back == context && window == 0);
    require(config_same(c, &back, "written") == STATUS_OK);
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    const family *f;
    model_config c;
    int context, window;
    cJSON *json = cJSON_ParseWithLength((const char *)bytes, count);
    if (!json) return 0;
    if (hf_config_read(json, "fuzz", &f, &c, &context, &window) == STATUS_OK)
        write_and_read(f, &c, context);
    else
        require(strncmp(error_message(), "fuzz: ", 6) == 0);
    cJSON_Delete(json);
    return 0;
}
