#!/usr/bin/env python3
"""Write tests/text/data/chat.json: conversations as transformers' apply_chat_template renders them.

usage: bench/make_chat_fixtures.py LLAMA_CPP SMOLLM2.gguf > tests/text/data/chat.json

LLAMA_CPP is the folder of llama.cpp's sources (PyPI's llama-cpp-python has it), for the templates of models in models/templates and
tests/test-chat-template.cpp. Needs PyPI's transformers, tokenizers, jinja2 and gguf.
"""
import codecs, json, re, sys
import gguf
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

llama_cpp, smollm2 = sys.argv[1:]
source = open(llama_cpp + "/tests/test-chat-template.cpp").read()

def inline(name):
    found = re.search(r'/\* \.name= \*/ "' + re.escape(name) + r'",\s*/\* \.template_str= \*/ (?:u8)?"((?:[^"\\]|\\.)*)"', source)
    return re.sub(r'\\(.)', lambda m: {"n": "\n", "t": "\t"}.get(m.group(1), m.group(1)), found.group(1))

def file(name): return open(f"{llama_cpp}/models/templates/{name}.jinja").read()

def metadata(path):
    field = gguf.GGUFReader(path).fields["tokenizer.chat_template"]
    return bytes(field.parts[field.data[0]]).decode()

LLAMA2 = ("{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
          "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
          "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
          "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
          "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
          "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}")
LLAMA3 = ("{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"
          "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")
ZEPHYR = ("{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
          "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
          "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
          "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}")
V01 = inline("mistralai/Mistral-7B-Instruct-v0.2 (NOTE: Old pre-v1 without a system prompt)").replace("eos_token}}", "eos_token + ' ' }}")
ONE_LINE_ZEPHYR = ZEPHYR.replace("%}\n", "%}").replace("}}\n", "}}")

templates = [
    ("OpenHermes 2.5", "ChatML", inline("teknium/OpenHermes-2.5-Mistral-7B"), "<s>", "<|im_end|>"),
    ("SmolLM2", "ChatML", metadata(smollm2), "<|im_start|>", "<|im_end|>"),
    ("Qwen2", "ChatML", metadata(llama_cpp + "/models/ggml-vocab-qwen2.gguf"), None, "<|im_end|>"),
    ("Qwen2.5", "ChatML", file("Qwen-Qwen2.5-7B-Instruct"), None, "<|im_end|>"),
    ("Qwen3", "ChatML", file("Qwen-Qwen3-0.6B"), None, "<|im_end|>"),
    ("QwQ", "ChatML", re.sub("\n.*not enable_thinking.*", "", file("Qwen-QwQ-32B")), None, "<|im_end|>"),
    ("QwQ of llama.cpp", "none", file("Qwen-QwQ-32B"), None, "<|im_end|>"),
    ("Llama 3, first", "Llama 3", inline("Llama-3"), "<|begin_of_text|>", "<|eot_id|>"),
    ("Llama 3", "Llama 3", LLAMA3, "<|begin_of_text|>", "<|eot_id|>"),
    ("Llama 3.1", "Llama 3", file("meta-llama-Llama-3.1-8B-Instruct"), "<|begin_of_text|>", "<|eot_id|>"),
    ("Mistral v0.1", "[INST]", V01, "<s>", "</s>"),
    ("Mistral v0.2", "[INST]", inline("mistralai/Mistral-7B-Instruct-v0.2 (NOTE: Old pre-v1 without a system prompt)"), "<s>", "</s>"),
    ("Mistral v1", "[INST]", inline("mistralai/Mistral-7B-Instruct-v0.2 (mistralai 'v1' template with a system prompt)"), "<s>", "</s>"),
    ("Mistral v3", "[INST]", inline("Mistral-Large-Instruct-2407 (mistralai 'v3' template; modified to have system prompt at start)"), "<s>", "</s>"),
    ("Mistral Nemo", "[INST]", file("mistralai-Mistral-Nemo-Instruct-2407"), "<s>", "</s>"),
    ("Mistral v7", "[INST]", inline("mistralai/Mistral-Large-Instruct-2411 (mistralai 'v7' template)"), "<s>", "</s>"),
    ("Llama 2", "[INST]", LLAMA2, "<s>", "</s>"),
    ("Zephyr", "Zephyr", ZEPHYR, "<s>", "</s>"),
    ("Zephyr in one line", "Zephyr", ONE_LINE_ZEPHYR, "<s>", "</s>"),
    ("Phi 4", "none", inline("phi-4"), None, "<|im_end|>"),
    ("Phi 3", "none", inline("Phi-3-mini"), "<s>", "<|end|>"),
    ("Vigogne", "none", inline("bofenghuang/vigogne-2-70b-chat"), "<s>", "</s>"),
    ("FusionNet", "none", inline("TheBloke/FusionNet_34Bx2_MoE-AWQ"), "<s>", "</s>"),
    ("SmolLM3", "none", file("HuggingFaceTB-SmolLM3-3B"), None, "<|im_end|>"),
    ("Gemma 2", "none", file("google-gemma-2-2b-it"), "<bos>", "<eos>"),
    ("DeepSeek R1 on Llama", "none", file("deepseek-ai-DeepSeek-R1-Distill-Llama-8B"), "<s>", "</s>"),
]

U, A, S = (lambda role: lambda text: {"role": role, "content": text})("user"), *(
    (lambda role: lambda text: {"role": role, "content": text})(r) for r in ("assistant", "system"))
conversations = [
    [U("Hello")],
    [S("You are a helpful assistant"), U("Hello"), A("Hi there"), U("Who are you?")],
    [U(" Two\n\nlines \t"), A("\n   I am an assistant   "), U("é 日本 'quotes' \"too\" {{ braces }}")],
    [S(" Be brief.\n"), U("1 + 1?"), A("<think>\nadd them\n</think>\n\n2"), U("And 2 + 2?"), A("<think>\nagain\n</think>\n\n4")],
    [U("1 + 1?"), A("2")],
    [U("a"), A("b"), S("in between"), U("c")],
    [U("one"), U("two")],
    [A("first"), U("second")],
]

out = []
for name, family, template, bos, eos in templates:
    t = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token=bos, eos_token=eos, chat_template=template)
    texts = []  # of each conversation without and with a generation prompt; null: refused
    for messages in conversations if family != "none" else []:
        for generate in (False, True):
            try: texts.append(t.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate))
            except Exception: texts.append(None)
    out.append(dict(name=name, family=family, bos=bos, eos=eos, texts=texts, template=template))
json.dump(dict(conversations=conversations, templates=out), sys.stdout, indent=0, ensure_ascii=False)
print()
