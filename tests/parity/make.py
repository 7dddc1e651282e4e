#!/usr/bin/env python3
"""Makes the parity cases in this folder: what moec's own PyTorch models (bench/pytorch) compute on tiny random models.

usage: tests/parity/make.py        needs torch and safetensors; writes CASE/ for each case below, seeded by its place

Those models are held against the record scripts' own by the larger cases of ../shared/parity, where that is there
(`python bench/pytorch/plain.py CASE`). A case is a folder as eval/parity.h describes it; all is float32.
"""
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent.parent / "bench" / "pytorch"))
import model  # noqa: E402
import plain  # noqa: E402

torch.set_num_threads(1)
SEED, BATCH, LENGTH = 2102, 2, 13
BASE = dict(vocab_size=40, num_layers=4, model_dim=12, num_heads=2, num_kv_heads=1, mlp_mult=2, tie_embeddings=True,
            tied_embed_init_std=0.005, logit_softcap=30.0, rope_base=10000.0, qk_gain_init=1.5)
UPCYCLE = dict(family="upcycle", num_loops=0, loop_start=0, loop_end=0, parallel_start_layer=3, bigram_buckets=32,
               bigram_dim=8, gate_window=6, moe_layers=[], moe_num_experts=2, looping=False)
EXPLORE = dict(family="explore", num_experts=4, moe_start_layer=2, top_k=1, moe_aux_loss_coef=0.01, bigram_vocab_size=32,
               bigram_dim=8, trigram_hash_buckets=0, trigram_dim=8)
CASES = {
    "dense": dict(UPCYCLE),
    "looped": dict(UPCYCLE, num_layers=5, num_loops=1, loop_start=1, loop_end=2, parallel_start_layer=4, looping=True,
                   moe_layers=[2], forward_path=dict(encoder=[0, 1, 2], decoder=[1, 2, 3, 4])),
    "soft": dict(family="soft", num_experts=3, bigram_vocab_size=32, bigram_dim=8),
    "sparse_top2": dict(EXPLORE, moe_mode="standard", top_k=2, trigram_hash_buckets=32),
    "shared_top2": dict(EXPLORE, moe_mode="shared_routed", routed_top_k=2, mlp_mult=3),
    "random_up": dict(family="randup", random_mlp_up_layers=[0, 1], random_mlp_up_rank=3, random_mlp_up_gain=True,
                      random_mlp_up_base_seed=SEED, random_mlp_up_init="qr", random_mlp_up_num_experts=2),
}


def make(name, config, seed):
    torch.manual_seed(seed)
    m = (model if config["family"] == "upcycle" else plain).Model(config)
    with torch.no_grad():  # so that nothing is left at the 0 or 1 at which it would start
        for parameter_name, p in m.named_parameters():
            router = "router" in parameter_name or "mlp.gate" in parameter_name
            p.add_(torch.randn(p.shape) * (0.5 if router else 0.1))
    ids = torch.randint(0, config["vocab_size"], (BATCH, LENGTH), dtype=torch.int32)
    targets = torch.randint(0, config["vocab_size"], (BATCH, LENGTH), dtype=torch.int32)
    logits, loss = m.logits(ids.long()), m(ids.long(), targets.long())
    ce = F.cross_entropy(logits.flatten(0, 1), targets.long().flatten())
    loss.backward()

    folder = here / name
    folder.mkdir(exist_ok=True)
    save_file(m.state_dict(), folder / "model.safetensors")
    save_file(dict(input_ids=ids, target_ids=targets, logits=logits.detach(), ce=ce.detach().reshape(1),
                   loss=loss.detach().reshape(1)), folder / "io.safetensors")
    save_file({n: p.grad for n, p in m.named_parameters()}, folder / "grads.safetensors")
    about = dict(seed=seed, torch=torch.__version__)
    (folder / "config.json").write_text(json.dumps(dict(config, batch=BATCH, seq=LENGTH, **about), indent=1) + "\n")
    print(f"{name}: ce {ce.item():.4f}, loss {loss.item():.4f}, {sum(p.numel() for p in m.parameters())} parameters")


for number, (name, config) in enumerate(CASES.items()):
    make(name, {**BASE, **config}, SEED + number)
