/* Mixtures whose files keep the experts of a layer in one tensor, as transformers 5 has them in memory and mergekit writes them. */
#include "written.h"

#include "formats/safetensors.h"

/* Of all experts of a layer, one after the other. */
static safetensor stack_of(const model *m, param_role role, int layer, const char *name) {
    const weight_source w = weight_source_of(m);
    const param *first = model_param(m, role, layer, 0);
    const int E = m->config.moe.experts;
    const int64_t rows = first->value.shape[0], cols = first->value.shape[1];
    float *values = xmalloc((size_t)(E * rows * cols) * sizeof *values);
    for (int e = 0; e < E; e++) {
        const param_spec spec = {role, layer, e, 2, {rows, cols}};
        assert_ok(w.read(w.context, &spec, 0, rows, values + e * rows * cols));
    }
    return (safetensor){.name = xasprintf("model.layers.%d.mlp.experts.%s", layer, name),
                        .type = DTYPE_F32,
                        .ndim = 3,
                        .shape = {E, rows, cols},
                        .data = values,
                        .bytes = (size_t)(E * rows * cols) * sizeof *values};
}

/* The folder's weights as mergekit writes them; `turned`: the stack's first two dimensions change places. */
static void stack_experts(const char *folder, const model *m, bool turned) {
    char *path = path_join(folder, "model.safetensors");
    safetensors s;
    assert_ok(safetensors_open(&s, path));
    safetensor *all = xcalloc((size_t)s.count + 1, sizeof *all);
    int count = 0;
    for (int i = 0; i < s.count; i++) {
        const char *gate = strstr(s.tensors[i].name, "block_sparse_moe.gate.");
        if (strstr(s.tensors[i].name, ".experts.")) continue;
        all[count] = s.tensors[i];
        all[count++].name = gate ? xasprintf("%.*smlp.gate.weight", (int)(gate - s.tensors[i].name), s.tensors[i].name)
                                 : xstrdup(s.tensors[i].name);
    }
    const int others = count;
    for (int i = 0; i < m->config.num_layers; i++) {
        all[count++] = stack_of(m, ROLE_EXPERT_FC, i, "gate_up_proj");
        all[count++] = stack_of(m, ROLE_EXPERT_PROJ, i, "down_proj");
    }
    if (turned) {
        const int64_t experts = all[others].shape[0];
        all[others].shape[0] = all[others].shape[1];
        all[others].shape[1] = experts;
    }
    assert_ok(safetensors_write(path, all, count, NULL));
    for (int i = 0; i < count; i++) {
        free(all[i].name);
        if (i >= others) free((void *)all[i].data);
    }
    free(all);
    safetensors_close(&s);
    free(path);
}

static void experts_in_one_tensor(void **state) {
    char *folder = path_join(*state, "hf");
    for (int i = 0; i < FAMILIES; i++) {
        const model_config c = families[i].make();
        if (!model_config_has_moe(&c)) continue;
        model *m = random_model(&c);
        pretrained *p;
        write_hf(folder, m, families[i].family, STORAGE_F32, 0);
        stack_experts(folder, m, false);
        assert_same_model(m, folder, 0);
        stack_experts(folder, m, true);
        assert_fails(pretrained_open(&p, folder), "tensor model.layers.0.mlp.experts.gate_up_proj: expected");
        model_destroy(m);
    }
    free(folder);
}

/* A file that has both has one too many. */
static void experts_both_ways(void **state) {
    char *folder = path_join(*state, "hf"), *path = path_join(folder, "model.safetensors");
    const model_config c = qwen3_moe();
    model *m = random_model(&c);
    pretrained *p;
    safetensors s;
    write_hf(folder, m, "qwen3_moe", STORAGE_F32, 0);
    assert_ok(safetensors_open(&s, path));
    safetensor *all = xcalloc((size_t)s.count + 1, sizeof *all);
    memcpy(all, s.tensors, (size_t)s.count * sizeof *all);
    all[s.count] = stack_of(m, ROLE_EXPERT_FC, 1, "gate_up_proj");
    assert_ok(safetensors_write(path, all, s.count + 1, NULL));
    assert_fails(pretrained_open(&p, folder), "tensor model.layers.1.mlp.experts.0.gate_proj.weight");
    free(all[s.count].name);
    free((void *)all[s.count].data);
    free(all);
    safetensors_close(&s);
    model_destroy(m);
    free(folder);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(experts_in_one_tensor),
        in_scratch(experts_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
