"""Runs each case in turn: moec, then PyTorch eager and compiled, each a fresh process; prints Markdown tables."""
import json
import os
import subprocess
import sys

SMALL = dict(num_layers=6, model_dim=256, num_heads=4, num_kv_heads=2, vocab_size=1024, bigram_dim=64,
             parallel_start_layer=4, num_loops=0)
SHAPE = dict(batch=4, seq=1024)
CASES = {
    "dense": ("dense 9 layers, d 512, h 2048, V 8192, 4 x 1024 tokens", dict(SHAPE, num_loops=0)),
    "looped": ("the same, 2 experts top-1 on layers 4-5, layers 3-5 looped to 15 passes",
               dict(SHAPE, num_loops=2, moe_layers=[4, 5], looping=True)),
    "small": ("6 layers, d 256, h 1024, V 1024, 4 x 1024 tokens", dict(SHAPE, **SMALL)),
    "experts8": ("8 experts, top-2, every layer (d 512, h 1024)",
                 dict(SHAPE, num_loops=0, mlp_mult=2, moe_layers=list(range(9)), moe_num_experts=8, moe_top_k=2)),
    "forward": ("dense, forward only (evaluation)", dict(SHAPE, num_loops=0, forward=True)),
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
    """No EMA: PyTorch's side of the comparison keeps none."""
    case = dict(case, ema_decay=0)
    extra = ["--forward"] if case.pop("forward", False) else []
    keys = [f"{k}={text(v)}" for k, v in case.items()]
    binary = os.environ.get("MOEC", "build/moec")
    return run([binary, "bench", "train", "configs/upcycle-9l.yaml", *keys, "events=[]", "--json", *extra])


def torch(mode, case):
    here = os.path.dirname(os.path.abspath(__file__))
    return run([sys.executable, f"{here}/pytorch/bench.py", mode, *[f"{k}={text(v)}" for k, v in case.items()]])


def cell(result, key, scale=1.0, digits=0):
    return f"{result[key] * scale:.{digits}f}" if result else "failed"


results = []
for chosen in sys.argv[1:] or CASES:
    title, case = CASES[chosen]
    results.append((title, moec(case), torch("eager", case), torch("compile", case)))

print("\n| case | moec tok/s | eager | compiled | ratio to the faster | GFLOP/s | share of the product rate |\n"
      "|---|---|---|---|---|---|---|")
for title, ours, eager, compiled in results:
    best = max(p["tokens_per_second"] for p in (eager, compiled) if p)
    print(f"| {title} | {cell(ours, 'tokens_per_second')} | {cell(eager, 'tokens_per_second')} | "
          f"{cell(compiled, 'tokens_per_second')} | {ours['tokens_per_second'] / best:.2f} | {ours['gflops']:.0f} | "
          f"{100 * ours['gemm_share']:.0f} % |")
print("\n| case | optimiser ms, moec | PyTorch | ratio | peak MB, moec | eager | compiled | ratio to the smaller |\n"
      "|---|---|---|---|---|---|---|---|")
for title, ours, eager, compiled in results:
    peers = [p for p in (eager, compiled) if p]
    step, peak = (min(p[k] for p in peers) for k in ("optimizer_seconds", "peak_rss_bytes"))
    ratio = f"{step / ours['optimizer_seconds']:.2f}" if ours["optimizer_seconds"] else ""
    print(f"| {title} | {cell(ours, 'optimizer_seconds', 1e3)} | {1e3 * step:.0f} | {ratio} | "
          f"{cell(ours, 'peak_rss_bytes', 1e-6)} | {cell(eager, 'peak_rss_bytes', 1e-6)} | "
          f"{cell(compiled, 'peak_rss_bytes', 1e-6)} | {ours['peak_rss_bytes'] / peak:.2f} |")
