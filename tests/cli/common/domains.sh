# Text of two domains that no router takes for one another, and a small mixture whose experts are named by them; sourced behind
# lenient.sh.

# $work/data: text and numbers, 320 pieces
make_domains() {
    write_text "$work/text" 40
    mkdir "$work/numbers"
    i=0
    while [ $i -lt 60 ]; do
        seq $((i * 100)) $((i * 100 + 99)) | tr '\n' ' ' >"$work/numbers/$i.txt"
        i=$((i + 1))
    done
    expect 0 data "$work/data" --domain "text=$work/text" --domain "numbers=$work/numbers" --vocab 320 --heldout 0.1
}

# train_named SEQ: $work/named, a mixture of other programs' shape by $work/named.yaml, trained on sequences of so many tokens
train_named() {
    cat >"$work/named.yaml" <<END
data: {data: $work/data}
model:
  {vocab_size: 320, num_layers: 3, model_dim: 32, num_heads: 4, num_kv_heads: 2, qk_norm: none, q_gain: false, rope_dims: 0,
   norm_weight: true, norm_eps: 1e-5, ln_scale: false, mlp_hidden: 48, activation: swiglu, xsa: false, document_attention: false,
   resid_mix: false, attn_scale: false, mlp_scale: false, unet: false, gated_skips: false, smear_width: 0, parallel_start_layer: 3,
   bigram_buckets: 0, num_loops: 0, stem_norm: false, tie_embeddings: false, logit_softcap: 0, projection_init: orthogonal,
   moe_layers: [1, 2], moe_num_experts: 2, moe_top_k: 1, moe_shared_hidden: 48, moe_gate: normalized}
labels: {label_weight: 1}
optimizer: {router_lr: 0.05}
train: {run: $work/named, batch: 2, seq: $1, steps: 60, checkpoint_every: 60, val_every: 0, dtype: f32}
average: {ema_decay: 0}
events: []
END
    expect 0 train "$work/named.yaml"
}
