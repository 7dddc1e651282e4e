#include "formats/records.h"

#include "base/json.h"
#include "nn/plan.h"
#include <limits.h>
#include <math.h>
#include <string.h>

static status get_int(const cJSON *json, const char *where, const char *key, int *value) {
    int64_t wide;
    TRY(json_get_int(json, where, key, &wide));
    if (wide < INT32_MIN || wide > INT32_MAX) return fail("%s: %s: %lld is out of range", where, key, (long long)wide);
    *value = (int)wide;
    return STATUS_OK;
}

static status get_float(const cJSON *json, const char *where, const char *key, float *value) {
    double wide;
    TRY(json_get_double(json, where, key, &wide));
    *value = (float)wide;
    return STATUS_OK;
}

static status common_arguments(model_config *c, const cJSON *json, const char *where) {
    TRY(get_int(json, where, "vocab_size", &c->vocab_size));
    TRY(get_int(json, where, "num_layers", &c->num_layers));
    TRY(get_int(json, where, "model_dim", &c->model_dim));
    TRY(get_int(json, where, "num_heads", &c->attention.heads));
    TRY(get_int(json, where, "num_kv_heads", &c->attention.kv_heads));
    TRY(get_float(json, where, "mlp_mult", &c->mlp.mult));
    TRY(json_get_bool(json, where, "tie_embeddings", &c->head.tied));
    TRY(get_float(json, where, "tied_embed_init_std", &c->init.embed_std));
    TRY(get_float(json, where, "logit_softcap", &c->head.softcap));
    TRY(get_float(json, where, "rope_base", &c->rotary.base));
    return get_float(json, where, "qk_gain_init", &c->init.q_gain);
}

static status layer_list(bool *layers, const char *key, const model_config *c, const cJSON *json, const char *where) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, key), *item;
    if (!cJSON_IsArray(list)) return fail("%s: %s: expected a list of layers", where, key);
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsNumber(item) || item->valueint < 0 || item->valueint >= c->num_layers ||
            item->valueint >= MODEL_MAX_LAYERS)
            return fail("%s: %s: expected layers from 0 to %d", where, key, c->num_layers - 1);
        layers[item->valueint] = true;
    }
    return STATUS_OK;
}

/* The case says which path its model took; ours, of a config that keeps its bounds, must be the same. */
static status check_path(const model_config *c, const cJSON *json, const char *where) {
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(json, "forward_path");
    if (!given) return STATUS_OK;
    const cJSON *encoder = cJSON_GetObjectItemCaseSensitive(given, "encoder");
    const cJSON *decoder = cJSON_GetObjectItemCaseSensitive(given, "decoder");
    forward_path path = model_path(c);
    int n = cJSON_GetArraySize(encoder), m = cJSON_GetArraySize(decoder);
    bool same = n == path.encoder && n + m == path.length;
    for (int i = 0; same && i < n + m; i++) {
        const cJSON *item = cJSON_GetArrayItem(i < n ? encoder : decoder, i < n ? i : i - n);
        same = cJSON_IsNumber(item) && item->valueint == path.layer[i];
    }
    return same ? STATUS_OK : fail("%s: forward_path: not the path that these loops and layers give", where);
}

static status upcycle_arguments(model_config *c, const cJSON *json, const char *where) {
    TRY(get_int(json, where, "num_loops", &c->loop.extra_passes));
    TRY(get_int(json, where, "loop_start", &c->loop.first));
    TRY(get_int(json, where, "loop_end", &c->loop.last));
    TRY(get_int(json, where, "parallel_start_layer", &c->residual.parallel_start_layer));
    TRY(get_int(json, where, "bigram_buckets", &c->stem.bigram_buckets));
    TRY(get_int(json, where, "bigram_dim", &c->stem.bigram_dim));
    TRY(get_int(json, where, "gate_window", &c->residual.smear_width));
    TRY(layer_list(c->moe.layers, "moe_layers", c, json, where));
    if (cJSON_HasObjectItem(json, "moe_num_experts")) TRY(get_int(json, where, "moe_num_experts", &c->moe.experts));
    if (cJSON_HasObjectItem(json, "moe_aux_weight")) TRY(get_float(json, where, "moe_aux_weight", &c->moe.aux_weight));
    if (cJSON_HasObjectItem(json, "looping")) TRY(json_get_bool(json, where, "looping", &c->loop.on));
    c->loop.on = c->loop.on && c->loop.extra_passes > 0;
    if (c->residual.parallel_start_layer > c->num_layers) c->residual.parallel_start_layer = c->num_layers;
    int head_dim = c->attention.heads > 0 ? c->model_dim / c->attention.heads : 0;
    c->rotary.dims = head_dim < 16 ? head_dim : 16;
    return STATUS_OK;
}

/* Python's int(multiple · d), as a multiple that gives just this width. */
static float width_multiple(double multiple, int d) {
    const double width = multiple * d;
    return d > 0 && fabs(width) < INT_MAX ? (float)((int)width / (double)d) : (float)multiple;
}

/* What #480, #660 and #1692 have in common, and #2102 has not. */
static status plain_backbone(model_config *c, const cJSON *json, const char *where) {
    double mlp_mult;
    TRY(json_get_double(json, where, "mlp_mult", &mlp_mult));
    c->mlp.mult = width_multiple(mlp_mult, c->model_dim);
    c->mlp.activation = ACTIVATION_RELU2;
    c->rotary.dims = 0;
    c->norm.depth_scaled = c->attention.xsa = c->residual.gated_skips = false;
    c->residual.smear_width = c->stem.bigram_buckets = c->loop.extra_passes = 0;
    c->residual.parallel_start_layer = c->num_layers;
    c->stem.hash_projection = false;
    return STATUS_OK;
}

/* SmearGate and BigramHash of #480 and #660. */
static status modules_stem(model_config *c, const cJSON *json, const char *where) {
    c->stem.smear = true;
    TRY(get_int(json, where, "bigram_vocab_size", &c->stem.bigram_buckets));
    TRY(get_int(json, where, "bigram_dim", &c->stem.bigram_dim));
    if (c->stem.bigram_buckets > 0) c->stem.bigram_hash = BIGRAM_XOR;
    return STATUS_OK;
}

/* Mixture layers from `start` on; one expert is a dense MLP to the scripts. */
static status experts_from(model_config *c, const cJSON *json, const char *where, int start) {
    TRY(get_int(json, where, "num_experts", &c->moe.experts));
    if (c->moe.experts > 1 && start < c->num_layers) c->moe.start_layer = start;
    return STATUS_OK;
}

/* #480: soft gates, full-size experts, the balance loss averaged over layers with weight 0.01. */
static status soft_arguments(model_config *c, const cJSON *json, const char *where) {
    TRY(plain_backbone(c, json, where));
    TRY(modules_stem(c, json, where));
    TRY(experts_from(c, json, where, 0));
    c->moe.gate = GATE_SOFT;
    c->moe.aux_weight = 0.01f;
    c->moe.aux_mean = true;
    if (c->stem.bigram_buckets > 0) c->stem.hash_scale = 0.05f;
    return STATUS_OK;
}

static status split_experts(model_config *c, const cJSON *json, const char *where) {
    double mlp_mult;
    TRY(json_get_double(json, where, "mlp_mult", &mlp_mult));
    c->moe.expert_mult = width_multiple(mlp_mult / c->moe.experts, c->model_dim);
    return STATUS_OK;
}

static status standard_mode(model_config *c, const cJSON *json, const char *where) {
    return get_int(json, where, "top_k", &c->moe.top_k);
}
/* The script routes each token to one; routed_top_k is an argument of our own cases (tests/parity). */
static status shared_routed_mode(model_config *c, const cJSON *json, const char *where) {
    c->moe.shared_mult = 2;
    c->moe.expert_mult = 1;
    return cJSON_HasObjectItem(json, "routed_top_k") ? get_int(json, where, "routed_top_k", &c->moe.top_k) : STATUS_OK;
}
static status soft_mode(model_config *c, const cJSON *json, const char *where) {
    c->moe.gate = GATE_SOFT;
    c->moe.aux_weight = 0;
    return split_experts(c, json, where);
}
/* Before it had modes, #660 had small experts behind straight-through gates. */
static status first_mode(model_config *c, const cJSON *json, const char *where) {
    c->moe.gate = GATE_STRAIGHT_THROUGH;
    return split_experts(c, json, where);
}

static status explore_experts(model_config *c, const cJSON *json, const char *where) {
    static const struct {
        const char *name;
        status (*read)(model_config *c, const cJSON *json, const char *where);
    } modes[] = {{"standard", standard_mode}, {"shared_routed", shared_routed_mode}, {"soft", soft_mode}};
    const char *mode;
    int start = 0;
    bool has_mode = cJSON_HasObjectItem(json, "moe_mode");
    if (has_mode) TRY(get_int(json, where, "moe_start_layer", &start));
    TRY(experts_from(c, json, where, start >= 0 ? start : c->num_layers / 2));
    TRY(get_float(json, where, "moe_aux_loss_coef", &c->moe.aux_weight));
    if (c->moe.start_layer < 0) return STATUS_OK; /* all dense */
    if (!has_mode) return first_mode(c, json, where);
    TRY(json_get_string(json, where, "moe_mode", &mode));
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(mode, modes[i].name) == 0) return modes[i].read(c, json, where);
    return fail("%s: moe_mode: expected standard, shared_routed or soft, found \"%s\"", where, mode);
}

/* #660's recurrent script runs the whole U-Net num_loops times. */
static status explore_loops(model_config *c, const cJSON *json, const char *where) {
    int passes = 1;
    TRY(get_int(json, where, "num_loops", &passes));
    if (passes < 2) return STATUS_OK;
    c->loop.extra_passes = passes - 1;
    c->loop.first = 0;
    c->loop.last = c->num_layers - 1;
    c->loop.skips = LOOP_SKIPS_EACH_PASS;
    c->loop.on = true;
    return STATUS_OK;
}

static status explore_arguments(model_config *c, const cJSON *json, const char *where) {
    TRY(plain_backbone(c, json, where));
    TRY(modules_stem(c, json, where));
    TRY(get_int(json, where, "trigram_hash_buckets", &c->stem.trigram_buckets));
    if (c->stem.trigram_buckets > 0) TRY(get_int(json, where, "trigram_dim", &c->stem.trigram_dim));
    if (c->stem.bigram_buckets > 0 || c->stem.trigram_buckets > 0) c->stem.hash_scale = 0.05f;
    if (cJSON_HasObjectItem(json, "num_loops")) TRY(explore_loops(c, json, where));
    return cJSON_HasObjectItem(json, "num_experts") ? explore_experts(c, json, where) : STATUS_OK;
}

static status randup_arguments(model_config *c, const cJSON *json, const char *where) {
    TRY(plain_backbone(c, json, where));
    TRY(layer_list(c->random_up.layers, "random_mlp_up_layers", c, json, where));
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "random_mlp_up_layers");
    if (cJSON_GetArraySize(list) == 0) return STATUS_OK;
    const char *kind;
    TRY(get_int(json, where, "random_mlp_up_rank", &c->random_up.rank));
    TRY(get_int(json, where, "random_mlp_up_num_experts", &c->random_up.experts));
    TRY(json_get_bool(json, where, "random_mlp_up_gain", &c->random_up.gain));
    TRY(json_get_int(json, where, "random_mlp_up_base_seed", &c->random_up.seed));
    TRY(json_get_string(json, where, "random_mlp_up_init", &kind));
    return strcmp(kind, "qr") == 0 ? STATUS_OK
                                   : fail("%s: random_mlp_up_init: expected \"qr\", found \"%s\"", where, kind);
}

static const struct family {
    const char *name;
    status (*read)(model_config *c, const cJSON *json, const char *where);
} families[] = {{"upcycle", upcycle_arguments},
                {"soft", soft_arguments},
                {"explore", explore_arguments},
                {"randup", randup_arguments}};

status record_config(model_config *c, const cJSON *json, const char *where) {
    const char *name;
    TRY(json_get_string(json, where, "family", &name));
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(name, families[i].name) != 0) continue;
        *c = model_config_default();
        TRY(common_arguments(c, json, where));
        TRY(families[i].read(c, json, where));
        TRY(fail_in(model_config_check(c), "%s", where));
        return check_path(c, json, where);
    }
    return fail("%s: family: expected upcycle, soft, explore or randup, found \"%s\"", where, name);
}
