/* Muon, AdamW and Adam over one model, with clipping to the global norm. */
#include "train/optimizer.h"
#include "base/memory.h"
#include "base/random.h"
#include "nn/specs.h"
#include "store/tensor_file.h"
#include "train/schedule.h"
#include "train/shares.h"
#include "train/states.h"
#include <math.h>
#include <stdlib.h>

struct optimizer {
    optimizer_config config;
    model *m;
    comm *ranks;
    param_states states; /* Muon: the momentum buffer; Adam: m and v */
    param_states whole;  /* of rank 0 between gathering and saving: everyone's */
    double *squares;     /* device: Σ g² over everything */
    float *clip;         /* device: what gradients are multiplied with */
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

    {ROLE_C_Q, GROUP_MATRIX},
    {ROLE_C_K, GROUP_MATRIX},
    {ROLE_C_V, GROUP_MATRIX},
    {ROLE_ATTENTION_PROJ, GROUP_MATRIX},
    {ROLE_MLP_FC, GROUP_MATRIX},
    {ROLE_MLP_PROJ, GROUP_MATRIX},
    {ROLE_EXPERT_FC, GROUP_MATRIX},
    {ROLE_EXPERT_PROJ, GROUP_MATRIX},
    {ROLE_SHARED_FC, GROUP_MATRIX},
    {ROLE_SHARED_PROJ, GROUP_MATRIX},
    {ROLE_BIGRAM_PROJ, GROUP_MATRIX},
    {ROLE_TRIGRAM_PROJ, GROUP_MATRIX},

    {ROLE_ROUTER, GROUP_ROUTER},
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
param_group optimizer_group_of(param_role role) {
    for (size_t i = 0; i < sizeof group_rules / sizeof *group_rules; i++)
        if (group_rules[i].role == role) return group_rules[i].group;
    return GROUP_SCALAR;
}

param_group optimizer_group(const param *p) {
    return param_is_trained(p) ? optimizer_group_of((param_role)p->role) : GROUP_FROZEN;
}

const char *param_group_name(param_group g) {
    static const char *const names[] = {"matrix", "embed", "head", "scalar", "router", "frozen"};
    return names[g];
}

int optimizer_arrays(const optimizer_config *c, param_group group) {
    if (group == GROUP_FROZEN) return 0;
    return group == GROUP_MATRIX && c->matrix_optimizer == MATRIX_MUON ? 1 : 2;
}

static int state_arrays(const void *config, const param *p) {
    return optimizer_arrays(config, optimizer_group(p));
}

static void assign(const void *config, const model *m, int ranks, int *owner) {
    shares_assign(config, m, ranks, owner);
}

status optimizer_create(optimizer **out, const optimizer_config *config, model *m) {
    return optimizer_create_shared(out, config, m, comm_alone());
}

status optimizer_create_shared(optimizer **out, const optimizer_config *config, model *m, comm *ranks) {
    optimizer *o = xcalloc(1, sizeof *o);
    o->config = *config;
    o->m = m;
    o->ranks = ranks;
    o->states = (param_states){.m = m,
                               .type = config->state_dtype == STATES_BF16 ? DTYPE_BF16 : DTYPE_F32,
                               .arrays_of = state_arrays,
                               .context = &o->config,
                               .ranks = ranks,
                               .assign = assign};
    status result = m->k->alloc((void **)&o->squares, sizeof *o->squares);
    if (result == STATUS_OK) result = m->k->alloc((void **)&o->clip, sizeof *o->clip);
    if (result == STATUS_OK) result = param_states_settle(&o->states);
    if (result != STATUS_OK) {
        optimizer_destroy(o);
        o = NULL;
    }
    *out = o;
    return result;
}

void optimizer_destroy(optimizer *o) {
    if (!o) return;
    o->m->k->release(o->squares);
    o->m->k->release(o->clip);
    param_states_free(&o->states);
    param_states_free(&o->whole);
    free(o);
}

void optimizer_replaced(void *context, const param *new_param, const param *old_param) {
    optimizer *o = context;
    param_states_replaced(&o->states, new_param, old_param);
}

status optimizer_settle(optimizer *o) {
    return param_states_settle(&o->states);
}

int optimizer_owner(const optimizer *o, int param) {
    return o->states.items[param].owner;
}

int64_t optimizer_state_bytes(const optimizer *o) {
    int64_t floats = 0;
    for (int a = 0; a < PARAM_STATE_ARRAYS; a++) floats += o->states.arrays[a].count;
    return floats * (int64_t)sizeof(float);
}

static bool is_own(const optimizer *o, int param) {
    return o->states.items[param].owner == o->ranks->rank;
}

/* ---- the norm ---- */

/* Σ grad² over `count` floats, read back: what a step does once. */
static double read_squares(const optimizer *o, const float *grad, int64_t count) {
    double total;
    o->m->k->zero(o->squares, sizeof *o->squares);
    o->m->k->add_squares(o->squares, grad, count);
    o->m->k->download(&total, o->squares, sizeof total);
    return total;
}

static status find_own_culprit(const optimizer *o) {
    for (int i = 0; i < o->m->param_count; i++) {
        const param *p = o->m->params[i];
        const double squares = p->grad && is_own(o, i) ? read_squares(o, p->grad, param_count(p)) : 0;
        if (!isfinite(squares)) return fail("the gradient of %s is not finite (Σ g² is %g)", p->name, squares);
    }
    return STATUS_OK;
}

/* Which tensor it was. */
static status name_the_culprit(const optimizer *o, double total) {
    TRY(comm_agree(o->ranks, find_own_culprit(o)));
    return comm_alike(o->ranks, fail("the norm of all gradients is not finite (Σ g² is %g)", total));
}

/* Σ g² parameter by parameter, in their order, whoever has which: the same bits for any number of ranks. Alone, nothing waits for the
 * device. */
static status find_norm(const optimizer *o) {
    const model *m = o->m;
    m->k->zero(o->squares, sizeof *o->squares);
    for (int i = 0; i < m->param_count && o->ranks->ranks == 1; i++)
        if (m->params[i]->grad) m->k->add_squares(o->squares, m->params[i]->grad, param_count(m->params[i]));
    if (o->ranks->ranks == 1) return STATUS_OK;
    const size_t each = (size_t)m->param_count;
    double *own = xcalloc(each, sizeof *own), *all = xcalloc(each * (size_t)o->ranks->ranks, sizeof *all), total = 0;
    for (int i = 0; i < m->param_count; i++)
        if (m->params[i]->grad && is_own(o, i)) own[i] = read_squares(o, m->params[i]->grad, param_count(m->params[i]));
    const status s = comm_gather(o->ranks, own, all, each * sizeof *own);
    for (int i = 0; i < m->param_count; i++)
        if (param_is_trained(m->params[i])) total += all[(size_t)o->states.items[i].owner * each + (size_t)i];
    m->k->upload(o->squares, &total, sizeof total);
    free(own);
    free(all);
    return s;
}

/* ---- a step ---- */

/* Where the running means lie; what is random in their rounding depends on step and parameter alone. */
static moment_args moments(const optimizer *o, int64_t step, int index) {
    rng r = rng_seed((uint64_t)step << 24 ^ (uint64_t)index);
    return (moment_args){.type = o->states.type, .seed = (uint32_t)rng_next(&r)};
}

static void update_muon(const optimizer *o, param *p, const param_state *state, double momentum, double lr_factor,
                        moment_args moments) {
    const optimizer_config *c = &o->config;
    const muon_args args = {.lr = (float)(c->matrix_lr * lr_factor),
                            .momentum = (float)momentum,
                            .weight_decay = (float)c->muon_wd,
                            .newton_schulz_steps = (int)c->newton_schulz_steps,
                            .nesterov = c->muon_nesterov,
                            .row_normalize = c->muon_row_normalize,
                            .moments = moments};
    o->m->k->muon(p->value.data, param_state_array(&o->states, state, 0), p->grad, o->clip, tensor_rows(&p->value),
                  tensor_cols(&p->value), &args);
}

static double adam_rate(const optimizer_config *c, param_group group) {
    return group == GROUP_MATRIX                       ? c->matrix_lr
           : group == GROUP_EMBED                      ? c->embed_lr
           : group == GROUP_HEAD                       ? c->head_lr
           : group == GROUP_ROUTER && c->router_lr > 0 ? c->router_lr
                                                       : c->scalar_lr;
}

static void update_adam(const optimizer *o, param *p, const param_state *state, param_group group, double lr_factor,
                        moment_args moments) {
    const optimizer_config *c = &o->config;
    const double decay = group == GROUP_EMBED ? c->embed_wd : group == GROUP_MATRIX ? c->muon_wd : 0;
    const adam_args args = {.lr = (float)(adam_rate(c, group) * lr_factor),
                            .beta1 = (float)c->beta1,
                            .beta2 = (float)c->beta2,
                            .eps = (float)c->adam_eps,
                            .weight_decay = (float)decay,
                            .step = state->steps + 1,
                            .moments = moments};
    o->m->k->adam(p->value.data, param_state_array(&o->states, state, 0), param_state_array(&o->states, state, 1),
                  p->grad, o->clip, param_count(p), &args);
}

/* Everyone's new values to everyone; an expert's to the ranks that have it too. */
static status share_values(const optimizer *o) {
    const model *m = o->m;
    comm_part *parts = xcalloc((size_t)m->param_count + 1, sizeof *parts);
    int count = 0;
    for (int i = 0; i < m->param_count; i++) {
        const param *p = m->params[i];
        if (param_is_trained(p))
            parts[count++] = (comm_part){.owner = o->states.items[i].owner,
                                         .data = p->value.data,
                                         .bytes = tensor_bytes(&p->value),
                                         .every = p->expert >= 0 ? m->spread.count : 1};
    }
    const status s = comm_share(o->ranks, parts, count);
    free(parts);
    return s;
}

static void update_own(const optimizer *o, int64_t step, double lr_factor) {
    const double momentum = schedule_momentum(&o->config, step);
    for (int i = 0; i < o->m->param_count; i++) {
        param *p = o->m->params[i];
        const param_state *state = &o->states.items[i];
        if (!is_own(o, i)) continue;
        if (state->arrays == 1) update_muon(o, p, state, momentum, lr_factor, moments(o, step, i));
        if (state->arrays == 2) update_adam(o, p, state, optimizer_group(p), lr_factor, moments(o, step, i));
    }
}

/* The device knows the norm and what follows from it; the host learns it at the end. */
status optimizer_step(optimizer *o, int64_t step, double lr_factor, double *grad_norm) {
    model *m = o->m;
    TRY(param_states_settle(&o->states));
    double squares;
    TRY(find_norm(o));
    m->k->clip_factor(o->clip, o->squares, o->config.grad_clip);
    update_own(o, step, lr_factor);
    m->k->download(&squares, o->squares, sizeof squares);
    if (!isfinite(squares)) return name_the_culprit(o, squares);
    for (int i = 0; i < o->states.count; i++) {
        o->states.items[i].steps++;
        o->states.items[i].fresh = false;
    }
    *grad_norm = sqrt(squares);
    TRY(share_values(o));
    return model_refresh_trained(m);
}

/* ---- files ---- */

status optimizer_gather(optimizer *o) {
    param_states_free(&o->whole);
    if (o->ranks->ranks == 1) return STATUS_OK;
    TRY(param_states_settle(&o->states));
    return param_states_collect(&o->states, 0, &o->whole);
}

static status save_states(const optimizer *o, const param_states *s, const char *path, uint64_t *crc) {
    tensor_file f = {0};
    for (int i = 0; i < s->count; i++) {
        const param_state *state = &s->items[i];
        const dtype type = s->type;
        const void *first = param_state_array(s, state, 0);
        if (state->arrays == 1) tensor_file_add(&f, o->m->k, "muon.", state->p, first, type);
        if (state->arrays == 2) {
            tensor_file_add(&f, o->m->k, "adam_m.", state->p, first, type);
            tensor_file_add(&f, o->m->k, "adam_v.", state->p, param_state_array(s, state, 1), type);
            tensor_file_add_int(&f, "adam_steps.", state->p, (int32_t)state->steps);
        }
    }
    return tensor_file_write(&f, path, crc);
}

status optimizer_save(optimizer *o, const char *path, uint64_t *crc) {
    if (o->ranks->ranks == 1) TRY(param_states_settle(&o->states));
    const status result = save_states(o, o->whole.items ? &o->whole : &o->states, path, crc);
    param_states_free(&o->whole);
    return result;
}

static status load_state(const param_states *s, const safetensors *file, param_state *state) {
    const kernels *k = s->m->k;
    int32_t steps = 0;
    if (state->arrays == 0) return STATUS_OK;
    state->fresh = false;
    const bool here = param_state_is_here(s, state);
    if (state->arrays == 1)
        return here ? tensor_file_read(file, k, "muon.", state->p, param_state_array(s, state, 0), s->type) : STATUS_OK;
    if (here) TRY(tensor_file_read(file, k, "adam_m.", state->p, param_state_array(s, state, 0), s->type));
    if (here) TRY(tensor_file_read(file, k, "adam_v.", state->p, param_state_array(s, state, 1), s->type));
    TRY(tensor_file_read_int(file, "adam_steps.", state->p, &steps));
    if (steps < 0) return fail("%s: adam_steps.%s: expected at least 0, found %d", file->path, state->p->name, steps);
    state->steps = steps;
    return STATUS_OK;
}

/* Whether the file has the running means that this one needs. */
static bool has_state(const safetensors *file, const param_state *state) {
    char *name = xasprintf("%s%s", state->arrays == 1 ? "muon." : "adam_m.", state->p->name);
    const bool found = safetensors_find(file, name) != NULL;
    free(name);
    return found;
}

status optimizer_load(optimizer *o, const char *path, int *lacking) {
    TRY(param_states_settle(&o->states));
    safetensors file;
    int fresh = 0;
    TRY(safetensors_open(&file, path));
    status result = STATUS_OK;
    for (int i = 0; i < o->states.count && result == STATUS_OK; i++) {
        param_state *state = &o->states.items[i];
        if (lacking && state->arrays > 0 && !has_state(&file, state))
            fresh++;
        else
            result = load_state(&o->states, &file, state);
    }
    safetensors_close(&file);
    if (lacking) *lacking = fresh;
    return result;
}
