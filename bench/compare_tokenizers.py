#!/usr/bin/env python3
"""Compare moec's token ids with those of Hugging Face's tokenizers and of llama.cpp.

usage: bench/compare_tokenizers.py MOEC WORK VOCABS [NAME ...]

WORK gets a folder for each vocabulary: tokenizer.json (built here with `tokenizers` from a GGUF's pieces and merges, with the
pipeline that the model's own tokenizer.json has), and texts. VOCABS is the folder models/ of llama.cpp's sources, with
ggml-vocab-*.gguf and their .inp and .out (they come with PyPI's llama-cpp-python: pip download --no-binary :all: --no-deps), or one
GGUF file. Every id is compared on the texts of ../shared/data, moec's C sources and a megabyte of random Unicode; and what moec makes
of the GGUF file itself with llama.cpp's .out. Needs PyPI's tokenizers, gguf and numpy.
"""
import functools, glob, json, os, random, subprocess, sys, unicodedata
import gguf
from tokenizers import Tokenizer, AddedToken, Regex, models, normalizers, pre_tokenizers, decoders, processors

def value(f):
    kinds = gguf.GGUFValueType
    if f.types[0] == kinds.ARRAY:
        if f.types[1] == kinds.STRING: return [bytes(f.parts[i]).decode("utf-8", "replace") for i in f.data]
        return [f.parts[i][0].item() for i in f.data]
    if f.types[0] == kinds.STRING: return bytes(f.parts[f.data[0]]).decode()
    return f.parts[f.data[0]][0].item()

def metadata(path):
    return {k[len("tokenizer."):].removeprefix("ggml."): value(f) for k, f in gguf.GGUFReader(path).fields.items()
            if k.startswith("tokenizer.")}

ANY_CASE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = ANY_CASE + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = ANY_CASE + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN35 = ANY_CASE + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + ANY_CASE + "?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + ANY_CASE + "?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

def words(pre):
    """The pre-tokenizer of the model's own tokenizer.json."""
    P, byte = pre_tokenizers, pre_tokenizers.ByteLevel
    split = lambda r: P.Split(Regex(r), "isolated")
    if pre == "llama-bpe": return P.Sequence([split(LLAMA3), byte(add_prefix_space=False, use_regex=False)])
    if pre == "qwen2": return P.Sequence([split(QWEN2), byte(add_prefix_space=False, use_regex=False)])
    if pre == "qwen35": return P.Sequence([split(QWEN35), byte(add_prefix_space=False, use_regex=False)])
    if pre == "o200k": return P.Sequence([split(O200K), byte(add_prefix_space=False, use_regex=False)])
    if pre in ("smollm", "starcoder", "refact", "command-r"):
        return P.Sequence([P.Digits(individual_digits=True), byte(add_prefix_space=False)])
    if pre == "falcon":
        return P.Sequence([P.Punctuation("contiguous"), byte(add_prefix_space=False), P.Digits(individual_digits=False),
                           split("[0-9][0-9][0-9]")])
    if pre == "deepseek-coder":
        return P.Sequence([split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-퟿]+"),
                           P.Digits(individual_digits=True), byte(add_prefix_space=False, use_regex=False)])
    return byte(add_prefix_space=False)

def byte_level(m, pre, nfc):
    t = Tokenizer(models.BPE({p: i for i, p in enumerate(m["tokens"])}, [tuple(x.split(" ")) for x in m["merges"]],
                             ignore_merges=pre == "llama-bpe"))
    if nfc: t.normalizer = normalizers.NFC()
    t.pre_tokenizer, t.decoder = words(pre), decoders.ByteLevel()
    return t

def metaspace(m, legacy):
    """A SentencePiece vocabulary as transformers converts it: the pairs of every piece, by its score."""
    rank = {p: (-s, i) for i, (p, s) in enumerate(zip(m["tokens"], m["scores"]))}
    merges = []
    for piece in m["tokens"]:
        pairs = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in rank and piece[i:] in rank]
        merges += [(rank[piece], rank[a][1], rank[b][1], a, b) for a, b in pairs]
    t = Tokenizer(models.BPE({p: i for i, p in enumerate(m["tokens"])}, [(a, b) for *_, a, b in sorted(merges)],
                             unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if legacy:
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        t.pre_tokenizer = pre_tokenizers.Metaspace("▁", "first", split=False)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    return t

def build(m, name):
    pre = m.get("pre", "default")
    if name.endswith("+o200k"): pre = "o200k"
    t = byte_level(m, pre, "qwen" in name) if m["model"] == "gpt2" else metaspace(m, not name.endswith("+first"))
    for i, (p, kind) in enumerate(zip(m["tokens"], m["token_type"])):
        if kind == 3 or kind == 2: t.add_special_tokens([AddedToken(p, special=True, normalized=False)])
        elif kind == 4: t.add_tokens([AddedToken(p, special=False, normalized=False)])
    if m.get("add_bos_token"):
        bos = m["tokens"][m["bos_token_id"]]
        t.post_processor = processors.TemplateProcessing(single=bos + " $A", special_tokens=[(bos, m["bos_token_id"])])
    return t

CLASS = {kind: normalizers.Replace(Regex(r"\p{%s}" % kind), "") for kind in "LMNPSZ"}

@functools.cache
def same_unicode(c):
    """Whether Unicode's data of this Python and of tokenizers, which is older, say the same of a character."""
    for kind in "LMNPSZ":
        if (CLASS[kind].normalize_str(chr(c)) == "") != (unicodedata.category(chr(c))[0] == kind): return False
    form = normalizers.NFC()
    return all(form.normalize_str(t) == unicodedata.normalize("NFC", t) for t in (chr(c), "a" + chr(c) + chr(0x334), chr(0x345) + chr(c)))

def random_unicode(size, seed):
    """All planes and categories, runs of one script, combining marks out of order, white space of every sort."""
    r, out, n = random.Random(seed), [], 0
    valid = lambda c: not 0xD800 <= c < 0xE000 and c != 0 and same_unicode(c)
    marks = [c for c in range(0x300, 0x1F000) if unicodedata.category(chr(c)).startswith("M") and same_unicode(c)]
    spaces = [0x20] * 8 + [9, 10, 10, 13, 0x85, 0xA0, 0x1680, 0x180E, 0x2000, 0x2003, 0x200B, 0x2028, 0x202F, 0x3000, 0xFEFF]
    while n < size:
        kind = r.randrange(9)
        if kind == 0: part = [r.randrange(1, 0x110000) for _ in range(r.randrange(1, 6))]
        elif kind == 1: part = [r.randrange(1, 0x3000) for _ in range(r.randrange(1, 12))]
        elif kind == 2: part = [r.randrange(0x20, 0x7F) for _ in range(r.randrange(1, 30))]
        elif kind == 3: part = [r.choice(spaces) for _ in range(r.randrange(1, 6))]
        elif kind == 4: part = [r.choice([0x61, 0xE9, 0x1E9B, 0x4E2D])] + [r.choice(marks) for _ in range(r.randrange(1, 5))]
        elif kind == 5: part = [r.randrange(0x4E00, 0xA000) if r.random() < .5 else r.randrange(0xAC00, 0xD7A4) for _ in range(8)]
        elif kind == 6: part = [r.randrange(0x1F300, 0x1FAFF) if r.random() < .6 else 0x200D for _ in range(4)]
        elif kind == 7:
            base = r.choice([0x370, 0x400, 0x590, 0x600, 0x900, 0xE00, 0x1100, 0x1E00, 0x2150, 0xA000, 0xF900, 0xFB00, 0xFE20, 0xFF00, 0x10000, 0x1D400, 0x2F800])
            part = [base + r.randrange(0x100) for _ in range(r.randrange(1, 10))]
        else: part = [ord(c) for c in r.choice(["'s", "'S", " don't", "123456", "3.14", "<|im_end|>", "</s>", "<s>", "ſ'ſ", "K", "²³¼", "\r\n", "___", "▁▁a", "<0x0A>"])]
        part = [c for c in part if valid(c)]
        n += sum(len(chr(c).encode()) for c in part)
        out += map(chr, part)
    return "".join(out)

def texts(work):
    shared = "../shared/data"
    path = os.path.join(work, "unicode")
    yield "unicode", open(path, newline="").read() if os.path.exists(path) else random_unicode(1_000_000, 1)
    for f in ("wikitext-2-test.txt", "wikitext-2-valid.txt", "gsm8k-train.jsonl", "gsm8k-test.jsonl", "tinyshakespeare.txt"):
        yield f, open(os.path.join(shared, f), newline="").read()
    sources = sorted(glob.glob("src/**/*.[ch]", recursive=True) + glob.glob("tests/**/*.[ch]", recursive=True))
    yield "sources", "".join(open(f, newline="").read() for f in sources)
    yield "special", "<|im_start|>user\nHi<|im_end|> \n <s>[INST] x [/INST]</s><|eot_id|><|begin_of_text|> <think>\n\n</think> <|endoftext|>a"

def first_difference(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))

def compare(moec, folder, t, work):
    wrong = 0
    for name, text in texts(work):
        path = os.path.join(work, name)
        open(path, "w", newline="").write(text)
        for special in (False, True):
            t.encode_special_tokens = not special
            want = t.encode(text, add_special_tokens=False).ids
            args = [moec, "tokenize", folder, path] + ["--special"] * special
            run = subprocess.run(args, capture_output=True, text=True)
            got = [int(x) for x in run.stdout.split()]
            if got == want: continue
            wrong += 1
            i = first_difference(got, want)
            show = lambda ids: [t.id_to_token(x) for x in ids[max(0, i - 4):i + 4]]
            count = sum(1 for x, y in zip(got, want) if x != y)
            print(f"  {name} special={special}: {len(got)} ids, wanted {len(want)}; first at {i} ({count}): {show(got)} {show(want)} {run.stderr.strip()[:200]}")
    return wrong

def compare_inp(moec, path):
    inputs = open(path + ".inp", newline="").read().split("\n__ggml_vocab_test__\n")[:-1]
    want = [l.split() for l in open(path + ".out").read().split("\n")[:len(inputs)]]
    wrong = 0
    for text, ids in zip(inputs, want):
        run = subprocess.run([moec, "tokenize", path], input=text.encode(), capture_output=True)
        got = run.stdout.decode().split()
        if got == ids: continue
        wrong += 1
        print(f"  .inp {text!r}: {got} wanted {ids} {run.stderr.decode()[:200]}")
    print(f"  llama.cpp's {len(inputs)} texts: {wrong} wrong")
    return wrong

def main():
    moec, work, vocabs, *names = sys.argv[1:]
    files = [vocabs] if vocabs.endswith(".gguf") else sorted(glob.glob(vocabs + "/ggml-vocab-*.gguf"))
    wrong = 0
    for path in files:
        base = os.path.basename(path).removeprefix("ggml-vocab-").removesuffix(".gguf")
        for name in [base] + {"gpt-2": ["gpt-2+o200k"], "llama-spm": ["llama-spm+first"]}.get(base, []):
            if names and name not in names: continue
            m = metadata(path)
            if m["model"] not in ("gpt2", "llama"): continue
            folder = os.path.join(work, name)
            os.makedirs(folder, exist_ok=True)
            t = build(m, name)
            t.save(folder + "/tokenizer.json")
            print(name, flush=True)
            wrong += compare(moec, folder, t, work)
            if name == base and os.path.exists(path + ".inp"): wrong += compare_inp(moec, path)
    print(f"{wrong} comparisons differ")
    sys.exit(wrong > 0)

main()
