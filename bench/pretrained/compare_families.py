#!/usr/bin/env python3
"""Models of every family that moec knows, in and out again, against transformers and llama.cpp.

usage: compare_families.py MOEC [--llama SOURCES] [--cases MAKE_HF_CASE] [--keep FOLDER] [NAME...]

MAKE_HF_CASE (by default ../shared/tools/make_hf_case.py) makes models of transformers with random weights and what they compute.
Of each it is shown how far logits are from transformers' at most:
    verify      moec, from the folder
    export      transformers, from the folder that moec exports to the model's own family
    llama.cpp   llama.cpp, from the GGUF that moec exports (with --llama: its sources, built in SOURCES/../build)
    back        transformers, from the folder that moec exports of that GGUF
All must be at most 2e-5. What llama.cpp cannot hold is shown as refused. NAME: only cases whose name has it in it.
"""
import argparse, contextlib, io, os, runpy, shutil, subprocess, sys, tempfile
import numpy as np
import torch, transformers
from safetensors.numpy import load_file

TOLERANCE = 2e-5
LLAMA3 = '{"rope_type":"llama3","rope_theta":500000.0,"factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,' \
         '"original_max_position_embeddings":%d}'
LINEAR = '{"rope_type":"linear","rope_theta":10000.0,"factor":4.0}'
YARN = '{"rope_type":"yarn","rope_theta":10000.0,"factor":4.0,"original_max_position_embeddings":64}'
YARN_ALL = '{"rope_type":"yarn","rope_theta":10000.0,"factor":8.0,"original_max_position_embeddings":32,"beta_fast":16.0,' \
           '"beta_slow":2.0,"attention_factor":1.3}'

# name: family and keys of its configuration
CASES = {
    "llama": "llama", "llama tied": "llama tie_word_embeddings=true", "llama one kv head": "llama num_key_value_heads=1",
    "llama all kv heads": "llama num_key_value_heads=4", "llama wide heads": "llama head_dim=32",
    "llama narrow heads": "llama head_dim=8", "llama biases": "llama attention_bias=true mlp_bias=true",
    "llama attention biases": "llama attention_bias=true", "llama one layer": "llama num_hidden_layers=1",
    "llama odd widths": "llama intermediate_size=99 vocab_size=385 hidden_size=72", "llama eps": "llama rms_norm_eps=0.01",
    "llama llama3": "llama head_dim=32 max_position_embeddings=65536 rope_parameters=" + LLAMA3 % 8192,
    "llama llama3 short": "llama head_dim=32 rope_parameters=" + LLAMA3 % 32,
    "llama linear": "llama rope_parameters=" + LINEAR, "llama yarn": "llama rope_parameters=" + YARN,
    "llama yarn all": "llama head_dim=32 rope_parameters=" + YARN_ALL,
    "llama yarn factor": "llama rope_parameters=" + YARN[:-1] + ',"attention_factor":1.3}', "llama sharded": "llama shard=100KB",
    "llama partial": "llama partial_rotary_factor=0.5",
    "mistral": "mistral sliding_window=null", "mistral wide heads": "mistral head_dim=32 sliding_window=null",
    "mistral window": "mistral sliding_window=64", "mistral tied": "mistral tie_word_embeddings=true sliding_window=null",
    "qwen2": "qwen2", "qwen2 tied": "qwen2 tie_word_embeddings=true", "qwen2 yarn": "qwen2 rope_parameters=" + YARN,
    "qwen2 theta": "qwen2 rope_theta=1000000.0", "qwen2 sharded": "qwen2 shard=100KB num_hidden_layers=5",
    "qwen3": "qwen3 head_dim=16", "qwen3 wide heads": "qwen3 head_dim=32", "qwen3 tied": "qwen3 head_dim=24 tie_word_embeddings=true",
    "qwen3 biases": "qwen3 head_dim=16 attention_bias=true", "qwen3 yarn": "qwen3 head_dim=16 rope_parameters=" + YARN_ALL,
    "mixtral": "mixtral sliding_window=null num_local_experts=4", "mixtral top 1": "mixtral num_local_experts=6 num_experts_per_tok=1",
    "mixtral all": "mixtral num_local_experts=3 num_experts_per_tok=3",
    "mixtral sharded": "mixtral num_local_experts=4 shard=200KB tie_word_embeddings=true",
    "qwen2_moe": "qwen2_moe num_experts=4 num_experts_per_tok=2 moe_intermediate_size=48 shared_expert_intermediate_size=80",
    "qwen2_moe normalized": "qwen2_moe num_experts=4 num_experts_per_tok=2 moe_intermediate_size=48 "
                            "shared_expert_intermediate_size=80 norm_topk_prob=true",
    "qwen2_moe dense between": "qwen2_moe num_experts=4 num_experts_per_tok=2 moe_intermediate_size=48 "
                               "shared_expert_intermediate_size=80 mlp_only_layers=[1] num_hidden_layers=4",
    "qwen2_moe every other": "qwen2_moe num_experts=4 num_experts_per_tok=3 moe_intermediate_size=32 "
                             "shared_expert_intermediate_size=32 decoder_sparse_step=2 num_hidden_layers=4",
    "qwen2_moe no biases": "qwen2_moe num_experts=4 num_experts_per_tok=2 moe_intermediate_size=48 "
                           "shared_expert_intermediate_size=80 qkv_bias=false",
    "qwen2_moe tied": "qwen2_moe num_experts=4 num_experts_per_tok=2 moe_intermediate_size=48 "
                      "shared_expert_intermediate_size=80 tie_word_embeddings=true shard=200KB",
    "qwen3_moe": "qwen3_moe head_dim=16 num_experts=5 num_experts_per_tok=2 moe_intermediate_size=48 norm_topk_prob=true",
    "qwen3_moe plain gates": "qwen3_moe head_dim=16 num_experts=4 num_experts_per_tok=2 moe_intermediate_size=48",
    "qwen3_moe top 1": "qwen3_moe head_dim=32 num_experts=4 num_experts_per_tok=1 moe_intermediate_size=48 norm_topk_prob=true",
    "qwen3_moe dense between": "qwen3_moe head_dim=16 num_experts=4 num_experts_per_tok=2 moe_intermediate_size=48 "
                               "mlp_only_layers=[0] norm_topk_prob=true",
    "qwen3_moe tied": "qwen3_moe head_dim=16 num_experts=4 num_experts_per_tok=2 moe_intermediate_size=48 norm_topk_prob=true "
                      "tie_word_embeddings=true attention_bias=true",
}


class Refused(Exception):
    pass


class Bench:
    def __init__(self, options):
        self.options = options
        self.folder = options.keep or tempfile.mkdtemp()
        os.makedirs(self.folder, exist_ok=True)
        self.llama = self.build_llama() if options.llama else None

    def build_llama(self):
        source, program = self.options.llama, self.folder + "/llama_logits"
        libraries = source + "/../build/bin"
        subprocess.run(["g++", "-O1", "-o", program, os.path.dirname(os.path.abspath(__file__)) + "/llama_logits.cpp",
                        f"-I{source}/include", f"-I{source}/ggml/include", f"-L{libraries}", "-lllama", "-lggml",
                        "-lggml-base", f"-Wl,-rpath,{libraries}"], check=True)
        return program

    def moec(self, *arguments):
        done = subprocess.run([self.options.moec, *arguments], capture_output=True, text=True)
        message = (done.stderr.strip().splitlines() or [""])[-1]
        if done.returncode and "cannot hold it" in message:
            raise Refused(message.split("cannot hold it: ")[1])
        return done, message

    def make(self, family, keys, case):
        arguments, sys.argv = sys.argv, [self.options.cases, family, case, "7", *keys]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                runpy.run_path(self.options.cases)
        finally:
            sys.argv = arguments
        file = load_file(case + "/io.safetensors")
        self.ids, self.logits = file["input_ids"], file["logits"]

    def export(self, model, out, *arguments):
        done, message = self.moec("export", model, "-o", out, *arguments)
        if done.returncode:
            raise RuntimeError(message)

    # ---- each column: the largest difference ----

    def verify(self, case):
        done, message = self.moec("verify", case)
        for line in done.stdout.splitlines():
            if "logits, largest difference" in line:
                return float(line.split("difference")[1].split()[0])
        raise RuntimeError(message)

    def by_transformers(self, folder):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        with torch.no_grad():
            found = model.eval()(torch.from_numpy(self.ids).long()).logits.numpy()
        return float(np.abs(found - self.logits).max())

    def by_llama(self, gguf):
        ids, out = self.folder + "/ids", self.folder + "/logits"
        self.ids.astype("<i4").tofile(ids)
        subprocess.run([self.llama, gguf, ids, out, str(self.ids.shape[1])], check=True)
        found = np.fromfile(out, "<f4").reshape(self.logits.shape)
        return float(np.abs(found - self.logits).max())

    def run(self, name):
        """The columns of one case: differences, None where there is nothing to show, or a text."""
        family, *keys = CASES[name].split()
        base = self.folder + "/" + name.replace(" ", "-")
        case, own, gguf, back = base, base + ".export", base + ".gguf", base + ".back"
        for path in (case, own, back):
            shutil.rmtree(path, ignore_errors=True)
        if os.path.exists(gguf):
            os.remove(gguf)
        self.make(family, keys, case)
        row = [self.verify(case)]
        self.export(case, own, "--to", family)
        row.append(self.by_transformers(own))
        try:
            self.export(case, gguf, "--to", "gguf", "--family", family)
            row.append(self.by_llama(gguf) if self.llama else None)
            self.export(gguf, back, "--to", family)
            row.append(self.by_transformers(back))
        except Refused as reason:
            row.append(f"refused: {reason}")
        if not self.options.keep:
            for path in (case, own, back):
                shutil.rmtree(path, ignore_errors=True)
        return row


def shown(value):
    return f"{value:10.1e}" if isinstance(value, float) else f"{'-':>10}" if value is None else "  " + value


def main():
    parser = argparse.ArgumentParser()
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("moec")
    parser.add_argument("--llama")
    parser.add_argument("--cases", default=here + "/../../../shared/tools/make_hf_case.py")
    parser.add_argument("--keep")
    parser.add_argument("names", nargs="*")
    bench = Bench(parser.parse_intermixed_args())
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    names = [n for n in CASES if not bench.options.names or any(part in n for part in bench.options.names)]
    print(f"{'case':26}{'verify':>10}{'export':>10}{'llama.cpp':>10}{'back':>10}")
    bad = 0
    for name in names:
        try:
            row = bench.run(name)
        except Exception as error:
            row = [f"failed: {error}"]
        held = not any(isinstance(v, float) and not v <= TOLERANCE for v in row) and not str(row[0]).startswith("failed")
        bad += not held
        print(f"{name:26}" + "".join(shown(v) for v in row) + ("" if held else "   <---"), flush=True)
    print(f"{len(names) - bad} of {len(names)} within {TOLERANCE}")
    sys.exit(bad > 0)


main()
