"""Times PyTorch on one of the cases of bench/cases and prints one JSON line, with the keys of `moec bench train --json`.

usage: bench.py MODE key=value...      MODE: eager | compile

bf16 autocast on float32 master weights, as the record scripts train; forward + backward, and apart from it the
optimisers' step (Muon with 5 Newton-Schulz steps, AdamW, Adam), medians over `steps` after a warm-up.
"""
import json
import resource
import statistics
import sys
import time

import torch

from model import Model

torch.manual_seed(1)
mode, case = sys.argv[1], {}
for argument in sys.argv[2:]:
    key, value = argument.split("=", 1)
    case[key] = json.loads(value)
batch, seq, steps = case.pop("batch"), case.pop("seq"), case.pop("steps", 5)
forward_only = case.pop("forward", False)
c = dict(vocab_size=8192, num_layers=9, model_dim=512, num_heads=8, num_kv_heads=4, mlp_mult=4, tie_embeddings=True,
         logit_softcap=30.0, rope_base=10000.0, qk_gain_init=5.25, num_loops=0, loop_start=3, loop_end=5,
         parallel_start_layer=6, bigram_buckets=2048, bigram_dim=128, gate_window=12, moe_layers=[],
         moe_num_experts=2, moe_top_k=1, looping=False)
c.update(case)

model = Model(c)
torch.nn.init.normal_(model.tok_emb.weight, std=0.005)


def newton_schulz(g, steps=5):
    x = g.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = x.size(0) > x.size(1)
    x = x.T if tall else x
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.T if tall else x).float()


class Muon(torch.optim.Optimizer):
    def __init__(self, params):
        super().__init__(params, dict(lr=0.022, momentum=0.99, wd=0.095))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                buffer = self.state[p].setdefault("buffer", torch.zeros_like(p))
                buffer.mul_(group["momentum"]).add_(p.grad)
                g = p.grad.add(buffer, alpha=group["momentum"])
                g = g / g.norm(dim=-1, keepdim=True).clamp_min(1e-7)
                g = newton_schulz(g) * max(1, p.size(0) / p.size(1)) ** 0.5
                p.mul_(1 - group["lr"] * group["wd"]).add_(g, alpha=-group["lr"])


matrices = [p for n, p in model.named_parameters() if n.startswith("blocks.") and p.ndim == 2
            and not any(s in n for s in ("router", "resid_mix"))]
embeddings = [p for n, p in model.named_parameters() if n in ("tok_emb.weight", "bigram_emb.weight")]
chosen = {id(p) for p in matrices + embeddings}
scalars = [p for p in model.parameters() if id(p) not in chosen]
optimizers = [Muon(matrices), torch.optim.AdamW(embeddings, lr=0.03, weight_decay=0.085, betas=(0.9, 0.95), fused=True),
              torch.optim.Adam(scalars, lr=0.02, betas=(0.9, 0.95), fused=True)]

run = torch.compile(model) if mode == "compile" else model
ids = torch.randint(0, c["vocab_size"], (batch, seq))
targets = torch.randint(0, c["vocab_size"], (batch, seq))


def forward():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return run(ids, targets)


def step():
    started = time.perf_counter()
    if forward_only:
        with torch.no_grad():
            forward()
        return time.perf_counter() - started, 0.0
    for p in model.parameters():
        p.grad = None
    forward().backward()
    middle = time.perf_counter()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3)
    for o in optimizers:
        o.step()
    return middle - started, time.perf_counter() - middle


for _ in range(2):
    step()
timed = [step() for _ in range(steps)]
forward_backward = statistics.median(t[0] for t in timed)
print(json.dumps(dict(tokens_per_second=batch * seq / forward_backward, step_seconds=forward_backward,
                      optimizer_seconds=statistics.median(t[1] for t in timed),
                      peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                      threads=torch.get_num_threads(), torch=torch.__version__)))
