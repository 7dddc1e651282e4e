#include "train/memory.h"

#include "base/memory.h"
#include "nn/budget.h"
#include "nn/freeze.h"
#include "train/optimizer.h"
#include <math.h>
#include <stdlib.h>

/* ---- what parameters take ---- */

typedef struct sum {
    const run_config *c;
    int64_t act_bytes;
    train_memory *m;
} sum;

static void add(void *context, const param_spec *spec) {
    const sum *s = context;
    char name[PARAM_NAME_BYTES];
    const int64_t count = param_spec_count(spec);
    const bool averaged = average_is_kept(&s->c->average) && !role_is_derived(spec->role);
    const int64_t here = role_has_expert(spec->role) ? count / s->c->train.expert_ranks : count;
    param_spec_name(spec, name);
    s->m->values += here * (int64_t)sizeof(float);
    if (role_is_matrix(spec->role)) s->m->products += here * s->act_bytes;
    if (averaged) s->m->average += here * (int64_t)sizeof(float);
    if (role_is_frozen(spec->role) || freeze_matches(&s->c->train.freeze, spec->role, name)) return;
    const optimizer_config *o = &s->c->optimizer;
    const int64_t state_bytes = o->state_dtype == STATES_BF16 ? 2 : 4;
    s->m->gradients += count * (int64_t)sizeof(float);
    s->m->states += count * state_bytes * optimizer_arrays(o, optimizer_group_of(spec->role));
}

/* ---- what a pass takes: elements of act, for each token; factors measured ---- */

static double mlp_elements(double hidden, activation f) {
    return hidden * (f == ACTIVATION_SWIGLU ? 2.5 : 1.4);
}

static double block_elements(const layer_plan *b, double d) {
    const attention_plan *a = &b->attention;
    const mlp_plan *m = &b->mlp;
    double all = 2 * d + 1.5 * (double)a->q_width + 2 * (double)a->kv_width;
    if (b->mix) all += d;
    if (a->q_gain || a->qk_norm != QK_NORM_NONE) all += (double)(a->q_width + a->kv_width);
    if (m->kind == MLP_EXPERTS)
        all += m->active * (mlp_elements((double)m->hidden, m->activation) + 3.6 * d) +
               mlp_elements((double)m->shared_hidden, m->activation);
    else
        all += mlp_elements((double)m->hidden, m->activation);
    return all;
}

static double token_elements(const model_config *c, bool recompute) {
    const forward_path path = model_path(c);
    const double d = c->model_dim;
    double all = 10 * d, largest = 0;
    for (int i = 0; i < path.length; i++) {
        const layer_plan plan = model_plan(c, path.layer[i]);
        const double block = block_elements(&plan, d);
        all += recompute ? d : block;
        if (block > largest) largest = block;
    }
    return recompute ? all + 1.2 * largest : all;
}

static int64_t activations(const run_config *c, const model_config *model, int64_t act_bytes) {
    const double tokens = (double)c->train.batch * (double)c->train.seq;
    const double logits = (double)model->vocab_size * ((double)act_bytes + 4);
    return (int64_t)(tokens * (token_elements(model, c->train.recompute) * (double)act_bytes + logits));
}

train_memory train_memory_of(const run_config *c, dtype act) {
    train_memory m = {0};
    sum s = {.c = c, .act_bytes = (int64_t)dtype_bytes(act), .m = &m};
    const model_config model = model_after_events(&c->events, &c->model);
    model_specs_visit(&model, add, &s);
    m.activations = activations(c, &model, s.act_bytes);
    m.local_ranks = 1;
    m.sums = c->train.accumulate > 1 ? m.gradients : 0;
    m.total = m.values + m.gradients + m.products + m.states + m.average + m.activations + m.sums;
    return m;
}

void train_memory_share(train_memory *m, const run_config *c, int ranks, int local_ranks) {
    m->total -= m->states + m->sums;
    m->states /= ranks;
    m->sums = c->train.accumulate > ranks ? m->gradients / ranks : 0;
    m->total += m->states + m->sums;
    m->local_ranks = local_ranks;
}

/* ---- a teacher: run forward only, its matrices are what products read ---- */

static void add_teacher(void *context, const param_spec *spec) {
    const sum *s = context;
    s->m->teacher += param_spec_count(spec) * (role_is_matrix(spec->role) ? s->act_bytes : (int64_t)sizeof(float));
}

/* Of the block that runs and of what is held on the way, measured as above; and each chosen layer's copy. */
static double teacher_elements(const run_config *c, const model_config *teacher) {
    const double d = teacher->model_dim;
    double block = 0, layers = 0;
    for (int i = 0; i < teacher->num_layers; i++) {
        const layer_plan plan = model_plan(teacher, i);
        block = fmax(block, block_elements(&plan, d));
    }
    for (int i = 0; i <= c->model.num_layers; i++) layers += c->distill.hidden_layers[i];
    return 1.2 * block + 12 * d + fmax(layers, 1) * d;
}

void train_memory_add_teacher(train_memory *m, const run_config *c, const model_config *teacher, dtype act) {
    const double tokens = (double)c->train.batch * (double)c->train.seq;
    sum s = {.c = c, .act_bytes = (int64_t)dtype_bytes(act), .m = m};
    m->total -= m->teacher;
    m->teacher = (int64_t)(tokens * teacher_elements(c, teacher) * (double)s.act_bytes);
    model_specs_visit(teacher, add_teacher, &s);
    m->total += m->teacher;
}

/* ---- saying it ---- */

static double gb(int64_t bytes) {
    return (double)bytes / 1e9;
}

char *train_memory_text(const train_memory *m) {
    char *teacher = m->teacher > 0 ? xasprintf(", teacher about %.2f", gb(m->teacher)) : xstrdup("");
    char *each = m->local_ranks > 1 ? xasprintf(", for each of %d ranks here", m->local_ranks) : xstrdup("");
    char *text = xasprintf(
        "%.2f GB: weights %.2f, gradients %.2f, products %.2f, optimiser %.2f, average %.2f, activations about "
        "%.2f%s%s",
        gb(m->total), gb(m->values), gb(m->gradients + m->sums), gb(m->products), gb(m->states), gb(m->average),
        gb(m->activations), teacher, each);
    free(teacher);
    free(each);
    return text;
}

/* Keys that would take less, as far as they are not taken already. */
static char *less_of(const train_memory *m, const run_config *c) {
    const bool activations = m->activations > m->states;
    return xasprintf("%s%s%s%s", activations && c->train.batch > 1 ? " a smaller batch with a larger accumulate," : "",
                     c->train.recompute ? "" : " recompute=true,",
                     c->optimizer.state_dtype == STATES_BF16 ? "" : " state_dtype=bf16,",
                     m->average > 0 ? " average=none," : "");
}

status train_memory_check(const train_memory *m, const run_config *c, uint64_t have) {
    if ((uint64_t)m->total * (uint64_t)m->local_ranks <= have) return STATUS_OK;
    char *text = train_memory_text(m), *less = less_of(m, c);
    const status s =
        fail_usage("the training needs %s; this machine has %.2f GB;%s freeze=[...] or a shorter seq take less", text,
                   (double)have / 1e9, less);
    free(text);
    free(less);
    return s;
}
