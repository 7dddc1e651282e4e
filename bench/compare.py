"""Runs the cases of issue "as fast as the machine allows": moec, then PyTorch eager and compiled, one after another."""
import json
import os
import subprocess
import sys

SMALL = dict(num_layers=6, model_dim=256, num_heads=4, num_kv_heads=2, vocab_size=1024, bigram_dim=64,
             parallel_start_layer=4, num_loops=0)
SHAPE = dict(batch=4, seq=1024)
CASES = {
    "dense": ("dense 9 layers, d 512, h 2048, V 8192, 4 x 1024", dict(SHAPE, num_loops=0)),
    "looped": ("the same, 2 experts top-1 on layers 4-5, layers 3-5 looped to 15 passes",
               dict(SHAPE, num_loops=2, moe_layers=[4, 5], looping=True)),
    "small": ("6 layers, d 256, h 1024, V 1024, 4 x 1024", dict(SHAPE, **SMALL)),
    "experts8": ("8 experts, top-2, every layer (d 512, h 1024)",
                 dict(SHAPE, num_loops=0, mlp_mult=2, moe_layers=list(range(9)), moe_num_experts=8, moe_top_k=2)),
    "forward": ("dense, forward only", dict(SHAPE, num_loops=0, forward=True)),
}


def text(value):
    return json.dumps(value, separators=(",", ":"))


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def moec(case):
    case = dict(case)
    extra = ["--forward"] if case.pop("forward", False) else []
    keys = [f"{k}={text(v)}" for k, v in case.items()]
    return run(["build/moec", "bench", "train", "configs/upcycle-9l.yaml", *keys, "events=[]", "--json", *extra])


def torch(mode, case):
    here = os.path.dirname(os.path.abspath(__file__))
    return run([sys.executable, f"{here}/pytorch/bench.py", mode, *[f"{k}={text(v)}" for k, v in case.items()]])


def row(name, ours, eager, compiled):
    peers = [p for p in (eager, compiled) if p]
    show = lambda p, key, scale=1: f"{p[key] * scale:.0f}" if p else "failed"
    best = max(p["tokens_per_second"] for p in peers)
    line = [name, show(ours, "tokens_per_second"), show(eager, "tokens_per_second"), show(compiled, "tokens_per_second"),
            f"{ours['tokens_per_second'] / best:.2f}", show(ours, "optimizer_seconds", 1000),
            show(min(peers, key=lambda p: p["optimizer_seconds"]), "optimizer_seconds", 1000),
            f"{100 * ours['gemm_share']:.0f} %", show(ours, "peak_rss_bytes", 1e-6),
            show(min(peers, key=lambda p: p["peak_rss_bytes"]), "peak_rss_bytes", 1e-6)]
    print("| " + " | ".join(line) + " |", flush=True)


print("| case | moec tok/s | eager | compiled | ratio to the faster | optimiser ms, moec | PyTorch | GEMM share | "
      "peak MB, moec | PyTorch |\n|---|---|---|---|---|---|---|---|---|---|")
for chosen in sys.argv[1:] or CASES:
    title, case = CASES[chosen]
    row(title, moec(case), torch("eager", case), torch("compile", case))
