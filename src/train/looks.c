#include "train/looks.h"
#include "base/json.h"

void looks_add(looks *l, const train_config *c, int64_t step, double bits) {
    const bool first = l->least == 0;
    if (step <= l->step) return;
    l->step = step;
    if (l->best_step == 0 || bits < l->best_bits) {
        l->best_step = step;
        l->best_bits = bits;
    }
    const bool gain = first || (bits < l->least && l->least - bits >= c->early_stop_delta);
    if (gain) l->least = bits;
    l->stale = gain ? 0 : l->stale + 1;
}

bool looks_say_stop(const looks *l, const train_config *c) {
    return c->early_stop > 0 && l->stale >= c->early_stop;
}

cJSON *looks_to_json(const looks *l) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "step", (double)l->step);
    cJSON_AddNumberToObject(json, "best_step", (double)l->best_step);
    cJSON_AddNumberToObject(json, "best_bpb", l->best_bits);
    cJSON_AddNumberToObject(json, "least_bpb", l->least);
    cJSON_AddNumberToObject(json, "stale", (double)l->stale);
    return json;
}

status looks_from_json(looks *l, const cJSON *json, const char *where) {
    TRY(json_get_int(json, where, "step", &l->step));
    TRY(json_get_int(json, where, "best_step", &l->best_step));
    TRY(json_get_double(json, where, "best_bpb", &l->best_bits));
    TRY(json_get_double(json, where, "least_bpb", &l->least));
    TRY(json_get_int(json, where, "stale", &l->stale));
    if (l->step >= 0 && l->best_step >= 0 && l->stale >= 0) return STATUS_OK;
    return fail("%s: looks: expected steps and counts of 0 or more, found one below", where);
}
