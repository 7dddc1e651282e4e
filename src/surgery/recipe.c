#include "surgery/recipe.h"

#include "base/memory.h"
#include "config/yaml.h"
#include <stdlib.h>
#include <string.h>

/* ---- the keys ---- */

static const char *const gate_names[] = {"normalized", "renormalized", "probability", NULL};
static const gate_kind gate_kinds[] = {GATE_NORMALIZED, GATE_RENORMALIZED, GATE_PROBABILITY};
static const char *const attention_names[] = {"first", "average", NULL};
static const char *const router_names[] = {"random", "hidden", "hidden_avg", "cheap_embed", "cluster", NULL};
static const char *const type_names[] = {"f32", "f16", "bf16", NULL};

#define FIELD(type, key, member, least, most, choices, meaning)                                                        \
    CONFIG_FIELD(recipe, key, type, member, least, most, choices, meaning)

static const config_field fields[] = {
    FIELD(FIELD_INT, "experts", options.experts, 1, MODEL_MAX_EXPERTS, NULL, "routed experts of each layer"),
    FIELD(FIELD_INT, "shared", options.shared, 0, UPCYCLE_MAX_SHARED, NULL,
          "experts beside them that every token goes to"),
    FIELD(FIELD_INT, "top_k", options.top_k, 1, MODEL_MAX_EXPERTS, NULL, "experts a token goes to"),
    FIELD(FIELD_SET, "layers", options.layers, 0, MODEL_MAX_LAYERS - 1, NULL, "whose MLPs become experts; []: all"),
    FIELD(FIELD_CHOICE, "gates", gates, 0, 0, gate_names,
          "normalized: divided by their sum; renormalized: so too, but top-1 keeps its probability; probability: as "
          "they are"),
    FIELD(FIELD_DOUBLE, "drop", options.drop, 0, 1, NULL, "part of each expert's hidden units that is drawn anew"),
    FIELD(FIELD_BOOL, "scaled", options.scaled, 0, 0, NULL,
          "outputs scaled so that drop 0 gives the parent's function"),
    FIELD(FIELD_BOOL, "shared_gate", options.shared_gate, 0, 0, NULL, "the shared MLP has a gate (Qwen2-MoE)"),
    FIELD(FIELD_CHOICE, "attention", attention, 0, 0, attention_names,
          "of several parents: the first one's, or the mean"),
    FIELD(FIELD_CHOICE, "router", router, 0, 0, router_names, "what the routers know at first"),
    FIELD(FIELD_DOUBLE, "router_std", router_std, 0, 100, NULL, "deviation of a random router"),
    FIELD(FIELD_STRING, "prompts", prompts, 1, 0, NULL,
          "YAML file with prompts for each expert, for router=hidden and cheap_embed"),
    FIELD(FIELD_LABELS, "names", options.names, 0, 0, NULL,
          "of the experts, by what they are meant for; []: those of the prompts, or none"),
    FIELD(FIELD_UINT64, "seed", options.seed, 0, 1.8446744073709552e19, NULL, "of what is drawn"),
    FIELD(FIELD_STRING, "type", type, 1, 0, type_names, "of the matrices that are written"),
};

static const foreign_key foreign[] = {
    {"num_experts", "experts", NULL},
    {"num_local_experts", "experts", NULL},
    {"n_experts", "experts", NULL},
    {"num_shared_experts", "shared", NULL},
    {"shared_experts", "shared", NULL},
    {"num_experts_per_tok*", "top_k", NULL},
    {"experts_per_token", "top_k", NULL},
    {"k", "top_k", NULL},
    {"drop_ratio", "drop", NULL},
    {"gate_mode", "router", "random, hidden, hidden_avg, cheap_embed or cluster"},
    {"dtype", "type", NULL},
    {"expert_names", "names", NULL},
    {"moe_expert_names", "names", NULL},
    {"norm_topk_prob", "gates", "normalized (true) or probability (false)"},
};

static const config_section recipe_section = {"upcycle", TABLE_AND_COUNT(fields), TABLE_AND_COUNT(foreign)};
static const config_part parts[] = {{&recipe_section, 0}};
const config_schema recipe_schema = {TABLE_AND_COUNT(parts)};

recipe recipe_default(void) {
    return (recipe){.options = {.experts = 4, .shared = 1, .top_k = 2, .scaled = true, .seed = 1},
                    .router_std = 1e-9,
                    .type = xstrdup("f32")};
}

void recipe_free(recipe *r) {
    schema_free(&recipe_schema, r);
}

status recipe_check(recipe *r) {
    r->options.gate = gate_kinds[r->gates];
    r->options.average = r->attention == 1;
    const bool by_prompts =
        r->router == ROUTER_HIDDEN || r->router == ROUTER_HIDDEN_AVG || r->router == ROUTER_CHEAP_EMBED;
    if (by_prompts && !r->prompts)
        return fail_usage("prompts: expected a file with prompts for each expert with router=%s, found none",
                          router_names[r->router]);
    if (!by_prompts && r->prompts)
        return fail_usage("prompts: has no meaning with router=%s; expected hidden, hidden_avg or cheap_embed",
                          router_names[r->router]);
    if (r->options.names.count > 0 && r->options.names.count != r->options.experts)
        return fail_usage("names: expected a name for each of the %d experts, found %d", r->options.experts,
                          r->options.names.count);
    if (r->options.shared_gate && r->options.shared == 0)
        return fail_usage("shared_gate: has no meaning without shared experts");
    return STATUS_OK;
}

/* ---- prompts ---- */

static const yaml_node *value_of(const yaml_node *mapping, const char *key) {
    if (!mapping || mapping->kind != YAML_MAPPING) return NULL;
    for (const yaml_node *k = mapping->first; k; k = k->next)
        if (strcmp(k->text, key) == 0) return k->value;
    return NULL;
}

static status check_keys(const yaml_document *d, const yaml_node *mapping, const char *const *known) {
    for (const yaml_node *k = mapping->first; k; k = k->next) {
        int i = 0;
        while (known[i] && strcmp(known[i], k->text) != 0) i++;
        if (!known[i]) return yaml_fail(d, k, "unknown key %s; expected %s, …", k->text, known[0]);
    }
    return STATUS_OK;
}

static status read_texts(const yaml_document *d, const yaml_node *list, const char *key, char ***texts, int *count) {
    if (!list) return STATUS_OK;
    if (list->kind != YAML_LIST) return yaml_fail(d, list, "%s: expected a list of texts", key);
    for (const yaml_node *item = list->first; item; item = item->next) {
        if (item->kind != YAML_SCALAR || !*item->text) return yaml_fail(d, item, "%s: expected a text", key);
        *texts = xrealloc(*texts, (size_t)(*count + 1) * sizeof **texts);
        (*texts)[(*count)++] = xstrdup(item->text);
    }
    return STATUS_OK;
}

static status read_expert(const yaml_document *d, const yaml_node *node, expert_prompts *p) {
    static const char *const keys[] = {"prompts", "negative", "name", NULL};
    if (node->kind != YAML_MAPPING) return yaml_fail(d, node, "expected {name: …, prompts: […]}");
    TRY(check_keys(d, node, keys));
    const yaml_node *name = value_of(node, "name");
    if (name && name->kind != YAML_SCALAR) return yaml_fail(d, name, "name: expected a text");
    if (name) p->name = xstrdup(name->text);
    TRY(read_texts(d, value_of(node, "prompts"), "prompts", &p->positive, &p->positive_count));
    TRY(read_texts(d, value_of(node, "negative"), "negative", &p->negative, &p->negative_count));
    return p->positive_count > 0 ? STATUS_OK : yaml_fail(d, node, "prompts: expected at least one text");
}

static status read_all(const yaml_document *d, expert_prompts *prompts, int experts, bool shared) {
    static const char *const keys[] = {"experts", "shared", NULL};
    const yaml_node *list = value_of(d->root, "experts"), *beside = value_of(d->root, "shared");
    int count = 0;
    if (!list || list->kind != YAML_LIST) return yaml_fail(d, d->root, "experts: expected a list of {name, prompts}");
    TRY(check_keys(d, d->root, keys));
    for (const yaml_node *item = list->first; item; item = item->next, count++)
        if (count < experts) TRY(read_expert(d, item, &prompts[count]));
    if (count != experts)
        return yaml_fail(d, list, "experts: expected %d, as the mixture has, found %d", experts, count);
    if (shared && !beside)
        return yaml_fail(d, d->root, "shared: expected prompts for the shared MLP's gate, found none");
    return shared ? read_expert(d, beside, &prompts[experts]) : STATUS_OK;
}

status prompts_read(expert_prompts **prompts, const char *path, int experts, bool shared) {
    yaml_document d;
    expert_prompts *found = xcalloc((size_t)experts + 1, sizeof *found);
    status s = yaml_read_file(&d, path);
    if (s == STATUS_OK && !d.root) s = fail("%s: expected experts with prompts, found nothing", path);
    if (s == STATUS_OK) s = read_all(&d, found, experts, shared);
    yaml_close(&d);
    if (s == STATUS_OK)
        *prompts = found;
    else
        prompts_free(found, experts + 1);
    return s;
}

label_list prompts_names(const expert_prompts *prompts, int experts) {
    label_list names = {0};
    for (int e = 0; e < experts; e++)
        if (!prompts[e].name || !labels_add(&names, prompts[e].name)) return (label_list){0};
    return names;
}

static void free_texts(char **texts, int count) {
    for (int i = 0; i < count; i++) free(texts[i]);
    free(texts);
}

void prompts_free(expert_prompts *prompts, int count) {
    for (int i = 0; prompts && i < count; i++) {
        free(prompts[i].name);
        free_texts(prompts[i].positive, prompts[i].positive_count);
        free_texts(prompts[i].negative, prompts[i].negative_count);
    }
    free(prompts);
}
