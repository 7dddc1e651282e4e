/* Muon, AdamW and Adam over one model, with clipping to the global norm. */
#include "train/optimizer.h"
#include "base/memory.h"
#include "nn/specs.h"
#include "store/tensor_file.h"
#include "train/schedule.h"
#include "train/states.h"
#include <math.h>
#include <stdlib.h>

struct optimizer {
    optimizer_config config;
    model *m;
    param_states states; /* Muon: the momentum buffer; Adam: m and v */
};

/* Which parameter is trained how, by its role in the model. #2102 leaves bigram_emb and bigram_proj out and so never trains
 * them: here the table is an embedding like any other, and its projection a matrix like those in the blocks. Routers are
 * control tensors: their rows are few and mean something each, so orthogonalising their update would mix experts. The
 * low-rank corrections of random up-projections go with the gains, as in #1692. What has no gradient (selection biases,
 * frozen random weights) is in no row and in no group. */
static const struct group_rule {
    param_role role;
    param_group group;
} group_rules[] = {
    {ROLE_TOK_EMB, GROUP_EMBED},
    {ROLE_BIGRAM_TABLE, GROUP_EMBED},
    {ROLE_TRIGRAM_TABLE, GROUP_EMBED},
    {ROLE_HEAD, GROUP_HEAD},

    {ROLE_C_Q, GROUP_MUON},
    {ROLE_C_K, GROUP_MUON},
    {ROLE_C_V, GROUP_MUON},
    {ROLE_ATTENTION_PROJ, GROUP_MUON},
    {ROLE_MLP_FC, GROUP_MUON},
    {ROLE_MLP_PROJ, GROUP_MUON},
    {ROLE_EXPERT_FC, GROUP_MUON},
    {ROLE_EXPERT_PROJ, GROUP_MUON},
    {ROLE_SHARED_FC, GROUP_MUON},
    {ROLE_SHARED_PROJ, GROUP_MUON},
    {ROLE_BIGRAM_PROJ, GROUP_MUON},
    {ROLE_TRIGRAM_PROJ, GROUP_MUON},

    {ROLE_ROUTER, GROUP_SCALAR},
    {ROLE_ADAPTER_GAIN, GROUP_SCALAR},
    {ROLE_ADAPTER_ROUTER, GROUP_SCALAR},
    {ROLE_ADAPTER_DOWN, GROUP_SCALAR},
    {ROLE_ADAPTER_UP, GROUP_SCALAR},
    {ROLE_BIGRAM_SCALE, GROUP_SCALAR},
    {ROLE_TRIGRAM_SCALE, GROUP_SCALAR},
    {ROLE_Q_GAIN, GROUP_SCALAR},
    {ROLE_ATTN_SCALE, GROUP_SCALAR},
    {ROLE_MLP_SCALE, GROUP_SCALAR},
    {ROLE_RESID_MIX, GROUP_SCALAR},
    {ROLE_SMEAR_W, GROUP_SCALAR},
    {ROLE_SMEAR_GATE, GROUP_SCALAR},
    {ROLE_SKIP_WEIGHTS, GROUP_SCALAR},
    {ROLE_SKIP_GATES, GROUP_SCALAR},
};

/* A role without a row trains like a scalar: Adam suits every shape. */
param_group optimizer_group(const param *p) {
    if (!p->grad) return GROUP_FROZEN;
    for (size_t i = 0; i < sizeof group_rules / sizeof *group_rules; i++)
        if ((int)group_rules[i].role == p->role) return group_rules[i].group;
    return GROUP_SCALAR;
}

const char *param_group_name(param_group g) {
    static const char *const names[] = {"muon", "embed", "head", "scalar", "frozen"};
    return names[g];
}

static int state_arrays(const param *p) {
    switch (optimizer_group(p)) {
    case GROUP_MUON:
        return 1;
    case GROUP_FROZEN:
        return 0;
    default:
        return 2;
    }
}

status optimizer_create(optimizer **out, const optimizer_config *config, model *m) {
    optimizer *o = xcalloc(1, sizeof *o);
    o->config = *config;
    o->m = m;
    o->states = (param_states){.k = m->k, .arrays_of = state_arrays};
    status result = param_states_settle(&o->states, m->params, m->param_count);
    if (result != STATUS_OK) {
        optimizer_destroy(o);
        o = NULL;
    }
    *out = o;
    return result;
}

void optimizer_destroy(optimizer *o) {
    if (!o) return;
    param_states_free(&o->states);
    free(o);
}

void optimizer_replaced(void *context, const param *new_param, const param *old_param) {
    optimizer *o = context;
    param_states_replaced(&o->states, new_param, old_param);
}

/* √ Σ grad² over all parameters, summed in float64. */
static status global_norm(const optimizer *o, double *norm) {
    double total = 0;
    for (int i = 0; i < o->m->param_count; i++) {
        const param *p = o->m->params[i];
        if (!p->grad || !p->has_grad) continue;
        double squares = o->m->k->sum_squares(p->grad, param_count(p));
        if (!isfinite(squares)) return fail("the gradient of %s is not finite (Σ g² is %g)", p->name, squares);
        total += squares;
    }
    if (!isfinite(total)) return fail("the norm of all gradients is not finite (Σ g² is %g)", total);
    *norm = sqrt(total);
    return STATUS_OK;
}

static status update_muon(optimizer *o, param *p, param_state *state, double momentum, double lr_factor) {
    const optimizer_config *c = &o->config;
    muon_args args = {.lr = (float)(c->matrix_lr * lr_factor),
                      .momentum = (float)momentum,
                      .weight_decay = (float)c->muon_wd,
                      .newton_schulz_steps = (int)c->newton_schulz_steps,
                      .nesterov = c->muon_nesterov,
                      .row_normalize = c->muon_row_normalize};
    return o->m->k->muon(p->value.data, state->array[0], p->grad, tensor_rows(&p->value), tensor_cols(&p->value),
                         &args);
}

static void update_adam(optimizer *o, param *p, param_state *state, param_group group, double lr_factor) {
    const optimizer_config *c = &o->config;
    double rate = group == GROUP_EMBED ? c->embed_lr : group == GROUP_HEAD ? c->head_lr : c->scalar_lr;
    adam_args args = {.lr = (float)(rate * lr_factor),
                      .beta1 = (float)c->beta1,
                      .beta2 = (float)c->beta2,
                      .eps = (float)c->adam_eps,
                      .weight_decay = group == GROUP_EMBED ? (float)c->embed_wd : 0,
                      .step = ++state->steps};
    o->m->k->adam(p->value.data, state->array[0], state->array[1], p->grad, param_count(p), &args);
}

status optimizer_step(optimizer *o, int64_t step, double lr_factor, double *grad_norm) {
    model *m = o->m;
    TRY(param_states_settle(&o->states, m->params, m->param_count));
    TRY(global_norm(o, grad_norm));
    bool clip = o->config.grad_clip > 0 && *grad_norm > o->config.grad_clip;
    float factor = (float)(o->config.grad_clip / (*grad_norm + 1e-6)); /* as torch's clip_grad_norm_ */
    double momentum = schedule_momentum(&o->config, step);
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        param_group group = optimizer_group(p);
        if (group == GROUP_FROZEN || !p->has_grad) continue;
        if (clip) m->k->scale(p->grad, factor, param_count(p));
        if (group == GROUP_MUON)
            TRY(update_muon(o, p, &o->states.items[i], momentum, lr_factor));
        else
            update_adam(o, p, &o->states.items[i], group, lr_factor);
    }
    model_balance_experts(m);
    return model_refresh(m);
}

/* ---- files ---- */

status optimizer_save(optimizer *o, const char *path, uint64_t *crc) {
    TRY(param_states_settle(&o->states, o->m->params, o->m->param_count));
    tensor_file f = {0};
    for (int i = 0; i < o->states.count; i++) {
        const param_state *state = &o->states.items[i];
        if (state->arrays == 1) tensor_file_add(&f, o->m->k, "muon.", state->p, state->array[0]);
        if (state->arrays == 2) {
            tensor_file_add(&f, o->m->k, "adam_m.", state->p, state->array[0]);
            tensor_file_add(&f, o->m->k, "adam_v.", state->p, state->array[1]);
            tensor_file_add_int(&f, "adam_steps.", state->p, (int32_t)state->steps);
        }
    }
    return tensor_file_write(&f, path, crc);
}

static status load_state(const safetensors *file, const kernels *k, param_state *state) {
    if (state->arrays == 1) return tensor_file_read(file, k, "muon.", state->p, state->array[0]);
    if (state->arrays == 2) {
        int32_t steps;
        TRY(tensor_file_read(file, k, "adam_m.", state->p, state->array[0]));
        TRY(tensor_file_read(file, k, "adam_v.", state->p, state->array[1]));
        TRY(tensor_file_read_int(file, "adam_steps.", state->p, &steps));
        state->steps = steps;
    }
    return STATUS_OK;
}

status optimizer_load(optimizer *o, const char *path) {
    TRY(param_states_settle(&o->states, o->m->params, o->m->param_count));
    safetensors file;
    TRY(safetensors_open(&file, path));
    status result = STATUS_OK;
    for (int i = 0; i < o->states.count && result == STATUS_OK; i++)
        result = load_state(&file, o->m->k, &o->states.items[i]);
    safetensors_close(&file);
    return result;
}
