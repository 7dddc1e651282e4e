#!/usr/bin/env python3
"""A Llama in a GGUF file of floats, in place, with its channels in another order: permute_channels.py FILE.gguf [SEED]

The channels of the stream, of each MLP's hidden layer and of each head's values are put into a random order, in all matrices that write or
read them, so that the model computes what it did, to rounding. Weights stay what they are, but those of one block of 32 come from
many: where the file was made of blocks (Q4_1, say), quantising it to the same blocks again is no longer the identity. Needs gguf, numpy.
"""
import sys
import numpy as np
from gguf import GGUFReader


def main():
    path, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    reader = GGUFReader(path, "r+")
    number = lambda name: int(reader.fields["llama." + name].contents())
    tensors = {t.name: t.data for t in reader.tensors}
    if any(t.tensor_type.name not in ("F32", "F16") for t in reader.tensors):
        sys.exit(f"{path}: expected floats (moec export --to gguf --type f16), found blocks")
    width, heads, groups = number("embedding_length"), number("attention.head_count"), number("attention.head_count_kv")
    draw = np.random.default_rng(seed)
    stream = draw.permutation(width)

    def order(name, rows=None, cols=None):
        data = tensors[name + ".weight"]
        if rows is not None:
            data[...] = data[rows].copy()
        if cols is not None:
            data[...] = data[..., cols].copy()

    order("token_embd", cols=stream)
    order("output_norm", cols=stream)
    if "output.weight" in tensors:
        order("output", cols=stream)
    for layer in range(number("block_count")):
        block = f"blk.{layer}."
        hidden = draw.permutation(number("feed_forward_length"))
        size = width // heads
        values = [group * size + draw.permutation(size) for group in range(groups)]  # rows of V; heads of a group read the same
        read = [head * size + values[head * groups // heads] % size for head in range(heads)]
        order(block + "attn_norm", cols=stream)
        order(block + "ffn_norm", cols=stream)
        order(block + "attn_q", cols=stream)
        order(block + "attn_k", cols=stream)
        order(block + "attn_v", np.concatenate(values), stream)
        order(block + "attn_output", stream, np.concatenate(read))
        order(block + "ffn_gate", hidden, stream)
        order(block + "ffn_up", hidden, stream)
        order(block + "ffn_down", stream, hidden)
    reader.data.flush()


main()
