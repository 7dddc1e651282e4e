#include "surgery/side_by_side.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One of the MLPs that stand side by side in a layer. */
typedef struct part {
    param_role fc, proj;
    int expert;
    int64_t hidden;
} part;
enum { MOST_PARTS = 2 };

static int parts_of(const model_config *c, int layer, part parts[MOST_PARTS]) {
    const mlp_plan p = model_plan(c, layer).mlp;
    int count = 0;
    if (p.kind == MLP_DENSE) parts[count++] = (part){ROLE_MLP_FC, ROLE_MLP_PROJ, -1, p.hidden};
    if (p.kind != MLP_EXPERTS) return count;
    if (p.shared_hidden > 0) parts[count++] = (part){ROLE_SHARED_FC, ROLE_SHARED_PROJ, -1, p.shared_hidden};
    parts[count++] = (part){ROLE_EXPERT_FC, ROLE_EXPERT_PROJ, 0, p.hidden};
    return count;
}

static int64_t hidden_of(const model_config *c, int layer) {
    part parts[MOST_PARTS];
    const int count = parts_of(c, layer, parts);
    int64_t hidden = 0;
    for (int i = 0; i < count; i++) hidden += parts[i].hidden;
    return hidden;
}

/* ---- weights ---- */

/* Rows first … of fc: within its half (SwiGLU has two), a row is one of a part, or behind all of them and zero. */
static status read_fc(const side_by_side *s, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const model_config *c = &s->from->config;
    const int64_t cols = spec_cols(spec);
    part parts[MOST_PARTS];
    const int count = parts_of(c, spec->layer, parts);
    for (int64_t done = 0, run; done < rows; done += run) {
        const int64_t half = (first + done) / s->hidden;
        int64_t within = (first + done) % s->hidden, left = s->hidden - within;
        int i = 0;
        while (i < count && within >= parts[i].hidden) within -= parts[i++].hidden;
        if (i < count) left = parts[i].hidden - within;
        run = rows - done < left ? rows - done : left;
        if (i == count) {
            memset(out + done * cols, 0, (size_t)(run * cols) * sizeof *out);
            continue;
        }
        const param_spec of = {
            parts[i].fc, spec->layer, parts[i].expert, 2, {fc_rows(c->mlp.activation, parts[i].hidden), cols}};
        TRY(s->from->read(s->from->context, &of, half * parts[i].hidden + within, run, out + done * cols));
    }
    return STATUS_OK;
}

/* Columns of each part, side by side. */
static status read_proj(const side_by_side *s, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    part parts[MOST_PARTS];
    const int count = parts_of(&s->from->config, spec->layer, parts);
    float *piece = xmalloc((size_t)(rows * s->hidden) * sizeof *piece);
    status result = STATUS_OK;
    memset(out, 0, (size_t)(rows * s->hidden) * sizeof *out);
    for (int64_t i = 0, column = 0; i < count && result == STATUS_OK; column += parts[i++].hidden) {
        const int64_t hidden = parts[i].hidden;
        const param_spec of = {parts[i].proj, spec->layer, parts[i].expert, 2, {spec->shape[0], hidden}};
        const float factor = s->halves_shared && parts[i].proj == ROLE_SHARED_PROJ ? 0.5f : 1;
        result = s->from->read(s->from->context, &of, first, rows, piece);
        for (int64_t r = 0; r < rows && result == STATUS_OK; r++)
            for (int64_t j = 0; j < hidden; j++) out[r * s->hidden + column + j] = factor * piece[r * hidden + j];
    }
    free(piece);
    return result;
}

static status read(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const side_by_side *s = context;
    if (spec->role == ROLE_MLP_FC) return read_fc(s, spec, first, rows, out);
    const bool random_up = spec->role == ROLE_MLP_PROJ && s->from->config.random_up.layers[spec->layer];
    if (spec->role == ROLE_MLP_PROJ && !random_up) return read_proj(s, spec, first, rows, out);
    return s->from->read(s->from->context, spec, first, rows, out);
}

/* ---- what cannot be ---- */

/* Zero, or so small that σ is ½ to the last bit: what an export adds where a mixture has no gate (formats/adapt.h). */
static bool knows_nothing(const float *gate, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (!(fabsf(gate[i]) <= 1e-19f)) return false;
    return true;
}

static status check_gate(side_by_side *s, int layer) {
    const int64_t d = s->from->config.model_dim;
    const param_spec spec = {ROLE_SHARED_GATE, layer, -1, 2, {1, d}};
    float *gate = xmalloc((size_t)d * sizeof *gate);
    status result = s->from->read(s->from->context, &spec, 0, 1, gate);
    if (result == STATUS_OK && !knows_nothing(gate, d))
        result =
            fail("layer %d: its shared MLP has a gate that looks at each token (moe_shared_gate), which no dense MLP "
                 "has: a lone expert cannot be cut out exactly",
                 layer);
    free(gate);
    s->halves_shared = true;
    return result;
}

static status look_at(side_by_side *s, int layer) {
    const model_config *c = &s->from->config;
    const mlp_plan p = model_plan(c, layer).mlp;
    if (p.kind == MLP_RANDOM_UP && p.hidden != s->hidden)
        return fail("layer %d: a random up-projection of %lld units cannot be padded to the %lld of the others", layer,
                    (long long)p.hidden, (long long)s->hidden);
    if (p.kind == MLP_EXPERTS && p.shared_gate) TRY(check_gate(s, layer));
    const int64_t hidden = p.kind == MLP_RANDOM_UP ? p.hidden : hidden_of(c, layer);
    if (hidden == s->hidden) return STATUS_OK;
    if (s->padded++ == 0 || hidden < s->least_hidden) s->least_hidden = hidden;
    return STATUS_OK;
}

static model_config config_of(const model_config *from, int64_t hidden) {
    model_config c = *from;
    c.moe = model_config_default().moe;
    c.mlp.hidden = (int)hidden;
    return c;
}

status place_side_by_side(side_by_side *s, const weight_source *from) {
    const model_config *c = &from->config;
    *s = (side_by_side){.from = from};
    if (c->moe.experts != 1) return fail("expected a mixture of one expert, found %d", c->moe.experts);
    for (int layer = 0; layer < c->num_layers; layer++) {
        const int64_t hidden = hidden_of(c, layer);
        if (hidden > s->hidden) s->hidden = hidden;
    }
    for (int layer = 0; layer < c->num_layers; layer++) TRY(look_at(s, layer));
    s->weights = (weight_source){.config = config_of(c, s->hidden), .read = read, .context = s};
    return model_config_check(&s->weights.config);
}
