#!/usr/bin/env python3
"""GGUF's blocks as moec reads them, against the gguf package: compare_blocks.py MOEC

For each type a Llama of one layer whose matrices are random blocks; moec exports it as float32, and every number has to be the one
that gguf.quants.dequantize gives.
"""
import subprocess, sys, tempfile
import gguf, numpy as np
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import load_file

D = 256  # the largest block
TYPES = [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q4_K, Type.Q6_K]
# offsets of half floats in a block: random bits there would be infinite now and then
HALVES = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q4_K: [0, 2], Type.Q6_K: [208]}
MATRICES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
            "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def random_blocks(generator, rows, kind):
    if kind in (Type.F32, Type.F16, Type.BF16):
        return gguf.quants.quantize(generator.standard_normal((rows, D)).astype(np.float32), kind)
    size, count = gguf.constants.GGML_QUANT_SIZES[kind]
    blocks = generator.integers(0, 256, (rows, D // size, count), dtype=np.uint8)
    for at in HALVES[kind]:
        scale = (generator.standard_normal(blocks.shape[:2]) * 0.1).astype(np.float16)
        blocks[:, :, at:at + 2] = scale.view(np.uint8).reshape(*blocks.shape[:2], 2)
    return blocks.reshape(rows, -1)


def write(path, kind, generator):
    w = gguf.GGUFWriter(path, "llama")
    for add, value in ((w.add_context_length, 64), (w.add_embedding_length, D), (w.add_block_count, 1),
                       (w.add_feed_forward_length, D), (w.add_head_count, 128), (w.add_head_count_kv, 128),
                       (w.add_layer_norm_rms_eps, 1e-5)):
        add(value)
    expected = {}
    for name in ["token_embd", "output"] + [f"blk.0.{n}" for n in MATRICES]:
        data = random_blocks(generator, D, kind)
        w.add_tensor(name + ".weight", data, raw_dtype=kind)
        expected[name] = gguf.quants.dequantize(data, kind)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        w.add_tensor(name + ".weight", np.ones(D, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return expected


def main():
    bad = 0
    for kind in TYPES:
        folder = tempfile.mkdtemp()
        expected = write(folder + "/x.gguf", kind, np.random.default_rng(int(kind)))
        subprocess.run([sys.argv[1], "export", folder + "/x.gguf", "-o", folder + "/x", "--to", "llama"], check=True,
                       capture_output=True)
        found = load_file(folder + "/x/model.safetensors")
        # Heads of two channels are one pair: GGUF's order of rotated rows is Hugging Face's.
        names = {"token_embd": "model.embed_tokens", "output": "lm_head",
                 **{f"blk.0.{a}": f"model.layers.0.{b}" for a, b in MATRICES.items()}}
        different = sum(int((found[names[n] + ".weight"] != x).sum()) for n, x in expected.items())
        bad += different > 0
        print(f"{kind.name:6}{sum(x.size for x in expected.values())} numbers, {different} differ")
    sys.exit(bad > 0)


main()
