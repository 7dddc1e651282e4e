// What llama.cpp computes of a GGUF: llama_logits MODEL.gguf IDS OUT LENGTH
// IDS: int32 token ids, sequences of LENGTH one after another; OUT: float32 logits [ids, vocabulary].
// g++ llama_logits.cpp -I LLAMA/include -I LLAMA/ggml/include -L LLAMA/build/bin -lllama -lggml -lggml-base
#include "llama.h"
#include <cstdio>
#include <cstdlib>
#include <vector>

static void quiet(ggml_log_level level, const char *text, void *) {
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    const int length = atoi(argv[4]);
    llama_log_set(quiet, nullptr);
    ggml_backend_load_all();
    llama_model_params mp = llama_model_default_params();
    llama_model *model = llama_model_load_from_file(argv[1], mp);
    if (!model) return 1;
    llama_context_params cp = llama_context_default_params();
    cp.n_ctx = cp.n_batch = cp.n_ubatch = length;
    cp.n_threads = cp.n_threads_batch = 1;
    cp.type_k = cp.type_v = GGML_TYPE_F32;
    cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context *context = llama_init_from_model(model, cp);
    if (!context) return 1;
    const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    FILE *in = fopen(argv[2], "rb"), *out = fopen(argv[3], "wb");
    std::vector<llama_token> ids(length);
    while (in && out && fread(ids.data(), sizeof(llama_token), length, in) == (size_t)length) {
        llama_memory_clear(llama_get_memory(context), true);
        llama_batch batch = llama_batch_init(length, 0, 1);
        for (int i = 0; i < length; i++) {
            batch.token[i] = ids[i];
            batch.pos[i] = i;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i] = 1;
        }
        batch.n_tokens = length;
        if (llama_decode(context, batch) != 0) return 1;
        for (int i = 0; i < length; i++) fwrite(llama_get_logits_ith(context, i), sizeof(float), vocabulary, out);
        llama_batch_free(batch);
    }
    return out && fclose(out) == 0 ? 0 : 1;
}
