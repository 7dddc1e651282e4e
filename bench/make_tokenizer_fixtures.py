#!/usr/bin/env python3
"""Write tests/text/data/tokenizers.json: small tokenizers of every sort that moec supports, and what Hugging Face's `tokenizers` makes of
some texts.

usage: bench/make_tokenizer_fixtures.py > tests/text/data/tokenizers.json

Run it in the repository's root; it needs PyPI's tokenizers. A case names one of `models` and has the other parts of a tokenizer.json.
"""
import json, sys
from tokenizers import Tokenizer, AddedToken, Regex, models, normalizers as N, pre_tokenizers as P, decoders as D, processors, trainers

TEXT = open("README.md").read() + " 123 4567 it's I'll THEY'RE \n\n  indented\n\tcafé Ünïcode naïve straße 日本語 日本 "
ANY_CASE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = ANY_CASE + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

texts = ["", " ", "Hello world", "  two  spaces \n\n and\tlines\r\n", "it's I'LL they'Re don't", "1234567 3.14 x86_64 ²³",
         "café cafe\u0301 Ünïcode ﬁ Ⅷ ǅ 日本語。한국어 🦙👩‍👩‍👧", "a<s>b</s> <s> c<|x|>d <| x |> <|x|>", "tok token tokens xtokx tok.",
         "▁under▁ ▁▁", "<0x0A> <unk>", "MoE moec  --help (experts=4) {x: [1, 2]}\n\treturn 0;\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\u00a0\u2003x\u3000y",
         "e\u0301\u0323 q\u0307\u0323 \u1e9b\u0323 \uac00 \u1100\u1161", "ab", "abab  ab ", "İIıi ΑΣ ŒŒ"]

def train(t, **options):
    t.train_from_iterator([TEXT], trainers.BpeTrainer(show_progress=False, **options))
    return json.loads(t.to_str())["model"]

def byte_model():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = P.ByteLevel(add_prefix_space=False)
    return train(t, vocab_size=320, initial_alphabet=P.ByteLevel.alphabet())

def space_model(fallback):
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=fallback, fuse_unk=True))
    t.pre_tokenizer = P.Metaspace("▁", "always")
    special = ["<unk>"] + [f"<0x{i:02X}>" for i in range(256)] * fallback
    return train(t, vocab_size=len(special) + 120, special_tokens=special, limit_alphabet=60)

def affix_model(**affix):
    t = Tokenizer(models.BPE(unk_token="<unk>", **affix))
    t.pre_tokenizer = P.Whitespace()
    return train(t, vocab_size=180, special_tokens=["<unk>"], limit_alphabet=50, **affix)

def all_pairs(model):
    """Every two pieces that spell a third, as transformers converts SentencePiece's models: scores say the same."""
    rank = {"".join(pair): i for i, pair in reversed(list(enumerate(map(tuple, model["merges"]))))}
    merges = [(rank[p], model["vocab"][p[:i]], p[:i], p[i:]) for p in rank for i in range(1, len(p)) if p[:i] in model["vocab"] and p[i:] in model["vocab"]]
    return {**model, "merges": [[a, b] for *_, a, b in sorted(merges)]}

byte = byte_model()
models_by_name = {"bytes": byte, # of which two pieces have no pair
                  "ignores merges": {**byte, "ignore_merges": True, "vocab": {**byte["vocab"], "Hello": 320, "Ġworld": 321}}, "spaces": space_model(True), "no fallback": space_model(False), "all pairs": all_pairs(space_model(True)),
                  "prefix": affix_model(continuing_subword_prefix="##"), "suffix": affix_model(end_of_word_suffix="</w>")}

SPECIAL = [AddedToken("<s>", special=True, normalized=False), AddedToken("</s>", special=True, normalized=False, rstrip=True),
           AddedToken("<|x|>", special=True, normalized=False, lstrip=True)]
WORDS = [AddedToken("tok", single_word=True), AddedToken("two  spaces", normalized=False), AddedToken("CAFÉ", normalized=True, special=False)]
split = lambda r, how, invert=False: P.Split(Regex(r), how, invert)
byte_words = lambda **o: P.ByteLevel(**{"add_prefix_space": False, **o})
no_regex = byte_words(use_regex=False)
spaces_out = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
bos = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 322)])

UNKNOWN = AddedToken("<unk>", special=True, normalized=False)
PLAIN = [AddedToken("<s>", special=True, normalized=False), AddedToken("<|x|>", special=True, normalized=False), AddedToken("token", normalized=False)]

cases = [  # name, model, parts, added tokens
    ("GPT-2", "bytes", dict(pre_tokenizer=byte_words(), decoder=D.ByteLevel(), post_processor=processors.ByteLevel()), SPECIAL + WORDS),
    ("with a space in front", "bytes", dict(pre_tokenizer=byte_words(add_prefix_space=True), decoder=D.ByteLevel()), SPECIAL),
    ("Llama 3", "ignores merges", dict(pre_tokenizer=P.Sequence([split(LLAMA3, "isolated"), no_regex]), decoder=D.ByteLevel(),
     post_processor=processors.Sequence([processors.ByteLevel(), bos])), SPECIAL),
    ("SmolLM2", "bytes", dict(pre_tokenizer=P.Sequence([P.Digits(individual_digits=True), byte_words()]), decoder=D.ByteLevel()), SPECIAL),
    ("digits together", "bytes", dict(pre_tokenizer=P.Sequence([P.Digits(individual_digits=False), byte_words()]), decoder=D.ByteLevel()), []),
    ("Falcon", "bytes", dict(pre_tokenizer=P.Sequence([P.Punctuation("contiguous"), byte_words(), P.Digits(individual_digits=False),
     split("[0-9][0-9][0-9]", "isolated")]), decoder=D.ByteLevel()), []),
    ("Qwen2", "bytes", dict(normalizer=N.NFC(), pre_tokenizer=P.Sequence([split(LLAMA3, "isolated"), no_regex]), decoder=D.ByteLevel()), SPECIAL + WORDS),
    ("lower case", "bytes", dict(normalizer=N.Sequence([N.Strip(), N.NFKD(), N.StripAccents(), N.Lowercase()]), pre_tokenizer=byte_words(), decoder=D.ByteLevel()), SPECIAL + WORDS),
    ("NFKC", "bytes", dict(normalizer=N.Sequence([N.NFKC(), N.Replace(Regex(r"\s{2,}"), " "), N.Replace("x", "yz")]), pre_tokenizer=byte_words(), decoder=D.ByteLevel()), []),
    ("NFD", "bytes", dict(normalizer=N.NFD(), pre_tokenizer=no_regex, decoder=D.ByteLevel()), []),
    ("Llama 2", "spaces", dict(normalizer=N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), decoder=spaces_out), SPECIAL),
    ("Mistral", "spaces", dict(pre_tokenizer=P.Metaspace("▁", "first", split=False), decoder=spaces_out), SPECIAL + WORDS),
    ("words of spaces", "spaces", dict(pre_tokenizer=P.Metaspace("▁", "always", split=True), decoder=D.Metaspace("▁", "always")), SPECIAL),
    ("never a space", "spaces", dict(pre_tokenizer=P.Metaspace("▁", "never", split=True), decoder=D.Metaspace("▁", "never")), SPECIAL),
    ("unknown characters", "no fallback", dict(pre_tokenizer=P.Metaspace("▁", "always", split=True), decoder=D.Metaspace("▁", "always")), []),
    ("GPT-2 for GGUF", "bytes", dict(pre_tokenizer=byte_words(), decoder=D.ByteLevel()), PLAIN),
    ("Llama 3 for GGUF", "ignores merges", dict(pre_tokenizer=P.Sequence([split(LLAMA3, "isolated"), no_regex]), decoder=D.ByteLevel(), post_processor=bos), PLAIN),
    ("SmolLM2 for GGUF", "bytes", dict(pre_tokenizer=P.Sequence([split(r"\p{N}", "isolated"), byte_words()]), decoder=D.ByteLevel()), PLAIN),
    ("Llama 2 for GGUF", "all pairs", dict(normalizer=N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), decoder=spaces_out), [UNKNOWN] + PLAIN),
    ("without a space for GGUF", "all pairs", dict(normalizer=N.Replace(" ", "▁"), decoder=D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse()])), [UNKNOWN] + PLAIN),
    ("pieces with ##", "prefix", dict(pre_tokenizer=P.Whitespace()), []),
    ("pieces with </w>", "suffix", dict(pre_tokenizer=P.WhitespaceSplit()), []),
]
for how in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"):
    for invert in (False, True):
        parts = dict(pre_tokenizer=P.Sequence([split(r"[a-c ]|\d", how, invert), no_regex]), decoder=D.ByteLevel())
        cases.append((f"split {how}{' inverted' if invert else ''}", "bytes", parts, []))

out = []
for name, model, parts, added in cases:
    t = Tokenizer.from_str(json.dumps(dict(version="1.0", model=models_by_name[model])))
    for key, part in parts.items(): setattr(t, key, part)
    for token in added: (t.add_special_tokens if token.special else t.add_tokens)([token])
    saved = json.loads(t.to_str())
    encode = lambda text: t.encode(text, add_special_tokens=False).ids
    plain, special, decoded = [], [], []
    for text in texts:
        t.encode_special_tokens = False
        special.append(encode(text))
        t.encode_special_tokens = True
        plain.append(encode(text))
        # Added tokens in their normal form come back so from the newest tokenizers, and as they are written from older ones and moec.
        odd = t.token_to_id("<unk>"), t.token_to_id("CAFÉ") or t.token_to_id("café") or t.token_to_id("cafe")
        decoded.append(t.decode(plain[-1]) if "decoder" in parts and not any(i in odd for i in plain[-1]) else None)
    t.encode_special_tokens = False
    with_bos = t.encode("ab").ids
    bos_id = with_bos[0] if len(with_bos) > len(encode("ab")) else -1
    out.append(dict(name=name, model=model, bos=bos_id, plain=plain, special=special, decoded=decoded,
                    parts={k: v for k, v in saved.items() if k not in ("model", "version", "truncation", "padding") and v}))

lines = lambda items: ",\n".join(items)
dump = lambda x: json.dumps(x, ensure_ascii=False, separators=(",", ":"))
print('{"texts":%s,\n"models":{%s},\n"cases":[%s]}' % (dump(texts), lines(dump(k) + ":" + dump(v) for k, v in models_by_name.items()), lines(map(dump, out))))
