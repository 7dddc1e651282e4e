# A small run of the architecture that other programs call Llama; sourced behind setup.sh.

# write_llama TIED EVERY DECAY: $work/llama.yaml, of $work/data into $work/run: tie_embeddings, checkpoint_every and ema_decay
write_llama() {
    cat >"$work/llama.yaml" <<END
data: {data: $work/data}
model:
  {vocab_size: 320, num_layers: 3, model_dim: 32, num_heads: 4, num_kv_heads: 2, qk_norm: none, q_gain: false, rope_dims: 0,
   norm_weight: true, norm_eps: 1e-5, ln_scale: false, mlp_hidden: 48, activation: swiglu, xsa: false, document_attention: false,
   resid_mix: false, attn_scale: false, mlp_scale: false, unet: false, gated_skips: false, smear_width: 0, parallel_start_layer: 3,
   bigram_buckets: 0, num_loops: 0, stem_norm: false, tie_embeddings: $1, logit_softcap: 0, projection_init: orthogonal}
train: {run: $work/run, batch: 2, seq: 32, steps: 6, checkpoint_every: $2, val_every: 0, dtype: f32}
average: {ema_decay: $3}
events: []
END
}
