#!/usr/bin/env python3
"""A Hugging Face folder of a model's shape with random bfloat16 weights, to measure time and memory with. Needs numpy.

usage: make_random_model.py OUT_DIR [key=value...]

Without keys the shape is Qwen2.5-0.5B's (494 M parameters); key=value sets members of config.json. Weights are drawn and written
in pieces, so that memory does not grow with the model.
"""
import json, os, struct, sys
import numpy as np

PIECE = 1 << 22  # numbers

CONFIG = dict(architectures=["Qwen2ForCausalLM"], model_type="qwen2", vocab_size=151936, hidden_size=896,
              intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
              max_position_embeddings=32768, rms_norm_eps=1e-6, rope_theta=1000000.0, tie_word_embeddings=True,
              hidden_act="silu", torch_dtype="bfloat16")


def shapes(c):
    """Names and shapes, in the file's order."""
    d, h, kv = c["hidden_size"], c["intermediate_size"], c["num_key_value_heads"] * c["hidden_size"] // c["num_attention_heads"]
    yield "model.embed_tokens.weight", (c["vocab_size"], d)
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        for name, rows in (("q", d), ("k", kv), ("v", kv)):
            yield f"{layer}self_attn.{name}_proj.weight", (rows, d)
            if c["model_type"] == "qwen2":
                yield f"{layer}self_attn.{name}_proj.bias", (rows,)
        yield layer + "self_attn.o_proj.weight", (d, d)
        yield layer + "mlp.gate_proj.weight", (h, d)
        yield layer + "mlp.up_proj.weight", (h, d)
        yield layer + "mlp.down_proj.weight", (d, h)
        yield layer + "input_layernorm.weight", (d,)
        yield layer + "post_attention_layernorm.weight", (d,)
    yield "model.norm.weight", (d,)
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (c["vocab_size"], d)


def bfloat16(x):
    return (x.view(np.uint32) >> 16).astype("<u2")


def draw(generator, name, count):
    x = generator.standard_normal(count, dtype=np.float32) * np.float32(0.02)
    return bfloat16(x + np.float32(1) if "norm" in name else x)


def main():
    out = sys.argv[1]
    config = {**CONFIG, **{k: json.loads(v) for k, v in (a.split("=", 1) for a in sys.argv[2:])}}
    header, offset = {}, 0
    for name, shape in shapes(config):
        size = 2 * int(np.prod(shape))
        header[name] = dict(dtype="BF16", shape=list(shape), data_offsets=[offset, offset + size])
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    os.makedirs(out)
    with open(out + "/config.json", "w") as f:
        json.dump(config, f, indent=1)
    generator = np.random.default_rng(1)
    with open(out + "/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes(config):
            left = int(np.prod(shape))
            while left:
                count = min(left, PIECE)
                f.write(draw(generator, name, count).tobytes())
                left -= count
    print(f"{out}: {offset // 2 / 1e6:.1f} M parameters, {offset / 1e6:.0f} MB")


main()
