#include "formats/names.h"

#include <string.h>

static const name_rule records_rules[] = {{ROLE_BIGRAM_TABLE, "bigram.embed.weight"},
                                          {ROLE_BIGRAM_PROJ, "bigram.proj.weight"},
                                          {ROLE_BIGRAM_SCALE, "bigram.scale"},
                                          {ROLE_TRIGRAM_TABLE, "trigram.embed.weight"},
                                          {ROLE_TRIGRAM_PROJ, "trigram.proj.weight"},
                                          {ROLE_TRIGRAM_SCALE, "trigram.scale"},
                                          {ROLE_ROUTER, "blocks.#.mlp.router.weight"},
                                          {ROLE_ROUTER, "blocks.#.mlp.gate.weight"}, /* of soft mixtures */
                                          {ROLE_EXPERT_FC, "blocks.#.mlp.experts.@.fc.weight"},
                                          {ROLE_EXPERT_PROJ, "blocks.#.mlp.experts.@.proj.weight"},
                                          {0, NULL}};
const naming naming_records = {"records", records_rules, true};

param *naming_find(const naming *n, const model *m, const char *name) {
    int layer, expert;
    for (const name_rule *r = n->rules; r->pattern; r++)
        if (name_matches(r->pattern, name, &layer, &expert)) return model_param(m, r->role, layer, expert);
    return n->moec ? model_find(m, name) : NULL;
}

bool naming_write(const naming *n, const param *p, char name[PARAM_NAME_BYTES]) {
    const name_rule *r = n->rules;
    while (r->pattern && (int)r->role != p->role) r++;
    if (!r->pattern && !n->moec) return false;
    name_write(name, r->pattern ? r->pattern : role_pattern(p->role), p->layer, p->expert);
    return true;
}
