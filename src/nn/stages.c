#include "nn/stages.h"

#include "nn/parts.h"

int path_stage(const forward_path *path, int i) {
    int later = 0;
    if (path->pass[i] > 0) return -1;
    for (int j = i + 1; j < path->length; j++) later += path->pass[j] == 0;
    return 1 + later;
}

static int stage_of_layer(const forward_path *path, int layer) {
    for (int i = 0; i < path->length; i++)
        if (path->layer[i] == layer && path->pass[i] == 0) return path_stage(path, i);
    return path->length; /* it does not run */
}

int model_stage_of(const model *m, const param *p) {
    const model_parts *s = m->parts;
    if (p->layer >= 0) return stage_of_layer(&s->path, p->layer);
    const bool behind = p == s->final_norm || (p == s->head.weight && p != s->tok_emb);
    return behind ? 0 : model_stages(m) - 1;
}
