#include "nn/streamed.h"

#include <stdlib.h>

static bool comes_and_goes(const param *p, int layer) {
    return p->is_matrix && p->layer == layer && layer >= 0;
}

status model_enter_layer(model *m, int layer) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (!comes_and_goes(p, layer)) continue;
        TRY(m->k->weight_create(&p->matrix, p->value.shape[0], p->value.shape[1], NULL));
        if (!p->derived) TRY(weight_source_fill_param(m->layers, p, m->k));
    }
    return STATUS_OK;
}

void model_leave_layer(model *m, int layer) {
    for (int i = 0; i < m->param_count; i++)
        if (comes_and_goes(m->params[i], layer)) m->k->weight_destroy(&m->params[i]->matrix);
}

status model_create_streamed(model **out, const weight_source *source, const kernels *k) {
    model *m;
    for (int layer = 0; layer < source->config.num_layers; layer++)
        if (source->config.random_up.layers[layer])
            return fail("layer %d has random up-projections, which cannot be streamed", layer);
    TRY(model_create_with(&m, &source->config, k, MODEL_RUN, (model_extras){.layers = source}));
    status s = STATUS_OK;
    for (int i = 0; i < m->param_count && s == STATUS_OK; i++)
        if (!comes_and_goes(m->params[i], m->params[i]->layer)) s = weight_source_fill_param(source, m->params[i], k);
    if (s == STATUS_OK)
        *out = m;
    else
        model_destroy(m);
    return s;
}
