#!/usr/bin/env python3
"""The mixtures that mergekit-moe and moec make of the same parents, tensor by tensor.

usage: mergekit_compare.py MOEC [FOLDER]      (FOLDER is kept; by default a temporary one is used)

Needs torch, transformers 5, tokenizers and mergekit 0.1.5 (pip install mergekit, or its sources on PYTHONPATH with immutables
and peft). Four parents are made: Llamas of one shape with random weights and one BPE tokenizer. mergekit computes hidden
states in bfloat16; here it is given float32, so that rounding hides nothing. Exit status 0 only if all agrees.
"""
import glob, json, os, subprocess, sys, tempfile
import torch, transformers, yaml
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
import mergekit.moe.router as router
from mergekit.moe.config import MoEMergeConfig
from mergekit.options import MergeOptions
from mergekit.scripts.moe import build

PROMPTS = ["int main(void) { return 0; }", "Once upon a time there was a king", "three eggs and 250 grams of flour",
           "the integral of x squared is", "what is it"]
NEGATIVE = ["to be or not to be", "a recipe", "public static void", "rivers and mountains", "nothing"]


# ---- parents ----

def make_tokenizer(folder, adds_bos):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=384, special_tokens=["<s>", "</s>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator(PROMPTS * 4 + NEGATIVE * 4, trainer)
    if adds_bos:  # mergekit puts BOS before prompts in any case
        tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tok.token_to_id("<s>"))])
    transformers.PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    return tok.get_vocab_size()


def make_parent(folder, seed, adds_bos):
    vocabulary = make_tokenizer(folder, adds_bos)
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(vocab_size=vocabulary, hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                                      num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
                                      bos_token_id=0, eos_token_id=1, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape) * 0.06)
    model.save_pretrained(folder)


class InFloat32:
    """What mergekit loads a model with, but in float32."""
    @staticmethod
    def from_pretrained(path, **keys):
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


# ---- the two mixtures ----

def by_mergekit(case, parents, out):
    experts = [dict(source_model=parents[i % len(parents)], positive_prompts=[PROMPTS[i]],
                    **({"negative_prompts": [NEGATIVE[i]]} if case["negative"] else {})) for i in range(case["experts"])]
    config = dict(base_model=parents[0], gate_mode=case["router"], dtype="float32", experts=experts,
                  experts_per_token=2, architecture=case["architecture"])
    if case["shared"]:
        config["shared_experts"] = [dict(source_model=parents[0], positive_prompts=[PROMPTS[4]])]
    router.AutoModelForCausalLM = InFloat32
    build(MoEMergeConfig.model_validate(config), out, MergeOptions(), device="cpu", allow_all_same=True)


def write_prompts(case, path):
    def entry(i, negative):
        return {"prompts": [PROMPTS[i]], **({"negative": [NEGATIVE[i]]} if negative else {})}
    document = {"experts": [entry(i, case["negative"]) for i in range(case["experts"])]}
    if case["shared"]:
        document["shared"] = entry(4, False)
    with open(path, "w") as f:
        yaml.safe_dump(document, f)


def moec(*arguments):
    done = subprocess.run([sys.argv[1], *arguments], capture_output=True, text=True)
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


def by_moec(case, parents, out):
    """None, or why it could not be made."""
    keys = [f"experts={case['experts']}", f"shared={case['shared']}", "top_k=2", "scaled=false", "gates=normalized",
            f"router={case['router']}"]
    if case["shared"]:
        keys.append("shared_gate=true")
    if case["router"] != "random":
        write_prompts(case, out + ".yaml")
        keys.append(f"prompts={out}.yaml")
    code, said = moec("upcycle", *parents, "-o", out + ".checkpoint", "--tokens", "0", *keys)
    if code == 0:
        code, said = moec("export", out + ".checkpoint", "-o", out, "--to", case["family"])
    return said if code else None


# ---- comparing ----

def tensors_of(folder):
    """By the names that files with one tensor an expert have; routers of Mixtral as transformers 5 calls them."""
    found = {}
    for path in sorted(glob.glob(folder + "/*.safetensors")):
        found.update({n: t for n, t in load_file(path).items() if os.path.basename(path) != "io.safetensors"})
    for name in list(found):
        base, dot, last = name.rpartition(".experts.")
        if not dot or last not in ("gate_up_proj", "down_proj"):
            continue
        stack = found.pop(name)
        for e in range(stack.shape[0]):
            if last == "down_proj":
                found[f"{base}.experts.{e}.down_proj.weight"] = stack[e]
            else:
                found[f"{base}.experts.{e}.gate_proj.weight"], found[f"{base}.experts.{e}.up_proj.weight"] = stack[e].chunk(2)
    mixtral = {"block_sparse_moe": "mlp", ".w1.": ".gate_proj.", ".w2.": ".down_proj.", ".w3.": ".up_proj."}
    def name_of(name):
        for theirs, ours in mixtral.items():
            name = name.replace(theirs, ours)
        return name
    return {name_of(n): t.float() for n, t in found.items()}


def is_router(name):
    return name.endswith("mlp.gate.weight") or name.endswith("shared_expert_gate.weight")


def largest_difference(a, b, routers):
    """None where names or shapes differ."""
    mine, theirs = ({n: t for n, t in x.items() if is_router(n) == routers} for x in (a, b))
    if mine.keys() != theirs.keys() or any(mine[n].shape != theirs[n].shape for n in mine):
        print("  only one has:", *sorted(mine.keys() ^ theirs.keys())[:4])
        return None
    return max((mine[n] - theirs[n]).abs().max().item() for n in mine)


def verify(folder):
    """What transformers computes of mergekit's folder, against moec."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.randint(0, model.config.vocab_size, (2, 40), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        save_file(dict(input_ids=ids.int(), logits=model(ids).logits.contiguous()), folder + "/io.safetensors")
    code, said = moec("verify", folder)
    return "same logits" if code == 0 else "logits: " + said


CASES = [dict(family="mixtral", architecture="mixtral", shared=0, router=r, negative=n, experts=e)
         for r, n, e in [("random", False, 2), ("random", False, 4), ("cheap_embed", False, 4), ("cheap_embed", True, 4),
                         ("hidden", False, 4), ("hidden", True, 3), ("hidden_avg", False, 4)]]
CASES += [dict(family="qwen2-moe", architecture="qwen", shared=1, router=r, negative=n, experts=4)
          for r, n in [("random", False), ("cheap_embed", True), ("hidden", True)]]
CASES += [dict(family="mixtral", architecture="mixtral", shared=0, router=r, negative=True, experts=4, bos="names")
          for r in ("cheap_embed", "hidden")]


def run(case, folder, number, parents):
    theirs, ours = f"{folder}/mergekit{number}", f"{folder}/moec{number}"
    name = f"{case['family']:10}{case['experts']} experts  {case['router'] + (' with negatives' if case['negative'] else ''):28}"
    by_mergekit(case, parents, theirs)
    read = verify(theirs)
    why = by_moec(case, parents, ours)
    if why:
        print(f"{name}not compared: {why}; mergekit's read by moec: {read}")
        return False
    a, b = tensors_of(ours), tensors_of(theirs)
    weights, routers = largest_difference(a, b, False), largest_difference(a, b, True)
    held = weights == 0 and (case["router"] == "random" or (routers is not None and routers <= 1e-5))
    shown = "drawn" if case["router"] == "random" or routers is None else f"{routers:.1e}"
    print(f"{name}{len(a)} tensors: {weights}, routers: {shown}, mergekit's read by moec: {read}{'' if held else '  DIFFER'}")
    return held and read == "same logits"


def main():
    folder = sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()
    torch.set_num_threads(1)
    parents = {kind: [f"{folder}/{kind}{i}" for i in range(4)] for kind in ("adds", "names")}  # BOS
    for kind in parents:
        for seed, parent in enumerate(parents[kind]):
            make_parent(parent, seed, kind == "adds")
    held = [run(case, folder, i, parents[case.get("bos", "adds")][:case["experts"]]) for i, case in enumerate(CASES)]
    print(f"{sum(held)} of {len(held)} agree")
    sys.exit(0 if all(held) else 1)


main()
