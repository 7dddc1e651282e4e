#!/usr/bin/env python3
"""Reading a prompt and writing behind it, transformers against moec, in turns: beside_transformers.py MOEC MODEL.gguf [--prompt 512] [--rounds 3]

MODEL is SmolLM2-135M as GGUF, in 8 bits say; transformers runs a Llama of that shape with random weights, which is as fast, in bf16 and
in float32. Both make the logits of the prompt's last token alone. Tokens a second, medians over the rounds.
"""
import argparse
import json
import statistics
import subprocess
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

WRITTEN = 32


def make(dtype):
    shape = LlamaConfig(vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
                        intermediate_size=1536, tie_word_embeddings=True, max_position_embeddings=2048)
    return LlamaForCausalLM._from_config(shape, dtype=dtype, attn_implementation="sdpa").eval()


@torch.inference_mode()
def run_transformers(model, prompt):
    ids = torch.randint(0, model.config.vocab_size, (1, prompt))
    started = time.perf_counter()
    out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    read = time.perf_counter()
    for _ in range(WRITTEN):
        out = model(input_ids=out.logits[:, -1:].argmax(-1), past_key_values=out.past_key_values, use_cache=True)
    return prompt / (read - started), WRITTEN / (time.perf_counter() - read)


def run_moec(args, inputs):
    found = subprocess.run([args.moec, "bench", "run", args.model, "--batch", "1", "--prompt", str(args.prompt), "--tokens", str(WRITTEN),
                            "--bandwidth", "0", "--run-inputs", str(inputs), "--json"], capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(found.stderr)
    r = json.loads(found.stdout)["batches"][0]
    return r["prefill_tokens_per_second"], r["decode_tokens_per_second"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("moec")
    parser.add_argument("model")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    peers = {}
    for dtype in (torch.bfloat16, torch.float32):
        model = make(dtype)
        run_transformers(model, 64)  # warm
        peers[f"transformers {dtype}".replace("torch.", "")] = lambda model=model: run_transformers(model, args.prompt)
    for inputs in (16, 8):
        peers[f"moec, inputs of {inputs} bits"] = lambda inputs=inputs: run_moec(args, inputs)
    rates = {name: [] for name in peers}
    for _ in range(args.rounds):
        for name, run in peers.items():
            rates[name].append(run())
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; a prompt of {args.prompt} tokens, {WRITTEN} behind it")
    base = [statistics.median(r[i] for r in rates["transformers bfloat16"]) for i in (0, 1)]
    for name, r in rates.items():
        read, written = (statistics.median(one[i] for one in r) for i in (0, 1))
        print(f"{name:24} {read:8.0f} tokens/s read ({read / base[0]:5.2f} x)  {written:7.1f} written ({written / base[1]:5.2f} x)")


main()
