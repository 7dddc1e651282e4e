#!/usr/bin/env python3
"""Training a mixture, transformers' Qwen2-MoE against moec, in turns: train_mixture.py MOEC MIXTURE [steps]

MIXTURE is a folder that `moec upcycle` made of SmolLM2-135M (experts=4 shared=1 top_k=2): moec trains it, and transformers a model
of the same shape with random weights, which is as fast. The same is frozen in both (all but experts and routers), both use AdamW,
one sequence of 512 tokens a step. Both run in bf16 and in float32, which is faster on CPUs without good bf16. Tokens a second, medians of the
steps behind the first two; three rounds in turns, since other tenants come and go.
"""
import json
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

moec, mixture = sys.argv[1], sys.argv[2]
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 6
SEQ = 512


def shape():
    c = json.load(open(f"{mixture}/config.json"))
    heads = c["num_heads"]
    return Qwen2MoeConfig(vocab_size=c["vocab_size"], hidden_size=c["model_dim"], num_hidden_layers=c["num_layers"],
                          num_attention_heads=heads, num_key_value_heads=c["num_kv_heads"], intermediate_size=c["mlp_hidden"],
                          moe_intermediate_size=c["moe_expert_hidden"] or c["mlp_hidden"],
                          shared_expert_intermediate_size=c["moe_shared_hidden"] or c["mlp_hidden"],
                          num_experts=c["moe_num_experts"], num_experts_per_tok=c["moe_top_k"], norm_topk_prob=True,
                          decoder_sparse_step=1, tie_word_embeddings=True, router_aux_loss_coef=0.01)


def run_transformers(dtype):
    torch.manual_seed(1)
    model = Qwen2MoeForCausalLM._from_config(shape(), dtype=dtype, attn_implementation="sdpa").train()
    for name, p in model.named_parameters():
        p.requires_grad = ".mlp.experts." in name or name.endswith(".mlp.gate.weight")
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-4)
    ids = torch.randint(0, model.config.vocab_size, (1, SEQ))
    seconds = []
    for _ in range(steps + 2):
        started = time.perf_counter()
        model(input_ids=ids, labels=ids, output_router_logits=True).loss.backward()
        torch.nn.utils.clip_grad_norm_((p for p in model.parameters() if p.requires_grad), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - started)
    return SEQ / statistics.median(seconds[2:])


def run_moec(dtype):
    found = subprocess.run([moec, "bench", "train", "configs/upcycle-pretrained.yaml", f"init={mixture}", "batch=1", f"seq={SEQ}",
                            "recompute=false", "average=none", "moe_aux_weight=0.01", f"dtype={dtype}", "--steps", str(steps), "--json"],
                           capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(found.stderr)
    r = json.loads(found.stdout)
    return r["tokens"] / (r["step_seconds"] + r["optimizer_seconds"])


peers = {"transformers bf16": lambda: run_transformers(torch.bfloat16),
         "transformers f32": lambda: run_transformers(torch.float32), "moec bf16": lambda: run_moec("bf16"),
         "moec f32": lambda: run_moec("f32")}
rates = {name: [] for name in peers}
for round_ in range(3):
    for name, run in peers.items():
        try:
            rates[name].append(run())
        except SystemExit as e:
            print(f"{name}: {e}", file=sys.stderr)
            continue
        print(f"round {round_ + 1}  {name:18} {rates[name][-1]:8.1f} tokens/s", flush=True)
base = statistics.median(rates["transformers bf16"])
print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
for name, r in rates.items():
    if r:
        print(f"{name:18} {statistics.median(r):8.1f} tokens/s  {statistics.median(r) / base:5.2f} x transformers in bf16")
