#!/usr/bin/env python3
"""Perplexities beside the first one's: paired_perplexity.py ORIGINAL.json OTHER.json ...

The files are what `moec eval MODEL --text FILE --protocol llama.cpp --json` printed, of the same text and length of chunks; each is compared on
the first chunks that both have. The difference is that of the mean losses, in nats a token, with the standard error of its chunks' mean: chunks
are hard or easy for all models, so it is much smaller than each perplexity's own.
"""
import json, math, sys


def read(path):
    found = json.load(open(path))
    return found["chunk_losses"], {key: found[key] for key in ("text", "chunk_tokens")}


def main():
    base, text = read(sys.argv[1])
    print("| | chunks | perplexity | the first one's there | loss, nats a token | change of perplexity |\n|---|---:|---:|---:|---:|---:|")
    for path in sys.argv[1:]:
        losses, its = read(path)
        if its != text:
            sys.exit(f"{path}: expected {text}, found {its}")
        differences = [a - b for a, b in zip(losses, base)]
        count = len(differences)
        mean = sum(differences) / count
        error = math.sqrt(sum((d - mean) ** 2 for d in differences) / (count * (count - 1))) if count > 1 else math.nan
        perplexity, first = (math.exp(sum(x[:count]) / count) for x in (losses, base))
        print(f"| {path} | {count} | {perplexity:.4f} | {first:.4f} | {mean:+.5f} ± {error:.5f} | {100 * math.expm1(mean):+.2f} % |")


main()
