#!/usr/bin/env python3
"""OpenAI's own client against a running `moec serve` of a model with a chat template: what programs that use it rely on.

usage: tests/serve/client.py PORT [--key KEY]; ends with 77 where the package `openai` is absent
"""
import argparse
import json
import sys

try:
    import openai
except ImportError:
    print("skipped: the package openai is absent")
    sys.exit(77)

MESSAGES = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "the cat"}]
failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED:", what, file=sys.stderr)


def refused(kind, what, call, part=""):
    try:
        call()
        check(False, f"{what}: was answered")
    except kind as error:
        said = f"{error} {getattr(error, 'code', '')}"
        check(part in said, f"{what}: {said} lacks {part!r}")
    except openai.OpenAIError as error:
        check(False, f"{what}: {type(error).__name__} instead of {kind.__name__}")


def whole_and_streamed(client, model):
    options = dict(model=model, messages=MESSAGES, max_tokens=12, temperature=0.7, seed=3)
    whole = client.chat.completions.create(**options)
    text = whole.choices[0].message.content
    check(whole.choices[0].finish_reason in ("stop", "length"), "finish_reason")
    check(whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens, "usage adds up")
    check(whole.choices[0].message.role == "assistant", "role")
    streamed, usage, finish = "", None, None
    for chunk in client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        if chunk.choices:
            streamed += chunk.choices[0].delta.content or ""
            finish = chunk.choices[0].finish_reason or finish
    check(streamed == text, f"streamed {streamed!r}, whole {text!r}")
    check(usage == whole.usage or usage.completion_tokens == whole.usage.completion_tokens, "usage of the stream")
    check(finish == whole.choices[0].finish_reason, "finish_reason of the stream")
    again = client.chat.completions.create(**options)
    check(again.choices[0].message.content == text, "the same seed gives the same text")
    print("chat:", repr(text))


def choices(client, model):
    many = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=8, n=3, seed=5, temperature=1)
    check([c.index for c in many.choices] == [0, 1, 2], "n: indices")
    alone = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=8, seed=6, temperature=1)
    check(alone.choices[0].message.content == many.choices[1].message.content, "the second of n has the next seed")
    seen = {}
    for chunk in client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=8, n=3, seed=5, temperature=1, stream=True):
        for c in chunk.choices:
            seen[c.index] = seen.get(c.index, "") + (c.delta.content or "")
    check([seen[i] for i in range(3)] == [c.message.content for c in many.choices], "n, streamed")


def plain(client, model):
    full = client.completions.create(model=model, prompt="the cat", max_tokens=12, temperature=0)
    text = full.choices[0].text
    check(len(text) > 2, f"a completion: {text!r}")
    mark = text[2:4]
    cut = client.completions.create(model=model, prompt="the cat", max_tokens=12, temperature=0, stop=[mark])
    check(cut.choices[0].text == text[:text.index(mark)] and cut.choices[0].finish_reason == "stop", f"stop: {cut.choices[0].text!r} of {text!r}")
    both = client.completions.create(model=model, prompt=["the cat", "a dog"], max_tokens=4, temperature=0, n=2)
    check(len(both.choices) == 4 and both.choices[0].text == both.choices[1].text, "prompts times n")
    usage = client.completions.create(model=model, prompt=[5, 6, 7], max_tokens=4).usage
    check(usage.prompt_tokens == 3, "a prompt of tokens")
    logs = client.completions.create(model=model, prompt="the cat", max_tokens=5, temperature=0, logprobs=2).choices[0].logprobs
    check(len(logs.tokens) == len(logs.token_logprobs) == len(logs.text_offset) == 5, "logprobs of a completion")
    check(all(len(t) >= 1 and max(t.values()) <= 0 for t in logs.top_logprobs), "top_logprobs of a completion")


def log_probs(client, model):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=5, temperature=0, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    check(all(len(t.top_logprobs) == 3 and t.logprob == t.top_logprobs[0].logprob for t in content), "logprobs of a chat")
    said = bytes(b for t in content for b in t.bytes).decode(errors="replace")
    check(said.strip() == answer.choices[0].message.content.strip(), f"bytes of tokens: {said!r}")


def tools_and_formats(client, model):
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    history = MESSAGES + [{"role": "assistant", "content": None, "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "rain"}]
    answer = client.chat.completions.create(model=model, messages=history, tools=[tool], tool_choice="auto", max_tokens=4)
    check(answer.choices[0].message.tool_calls is None, "tools are passed over")
    answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=200, response_format={"type": "json_object"}, seed=1)
    if answer.choices[0].finish_reason == "stop":
        check(isinstance(json.loads(answer.choices[0].message.content), dict), f"json_object: {answer.choices[0].message.content!r}")
    else:
        check(answer.choices[0].message.content.lstrip().startswith("{"), "json_object, cut")


def embeddings(client, model):
    two = client.embeddings.create(model=model, input=["the cat", "a dog"])
    floats = client.embeddings.create(model=model, input="the cat", encoding_format="float")
    a, b = two.data[0].embedding, two.data[1].embedding
    check(abs(sum(x * x for x in a) - 1) < 1e-4, "an embedding's length is 1")
    check(max(abs(x - y) for x, y in zip(a, floats.data[0].embedding)) < 1e-5, "base64 and floats are the same")
    check(a != b and two.usage.prompt_tokens > 0, "embeddings differ")


def errors(client, model, arguments):
    ask = lambda **more: client.chat.completions.create(**{**dict(model=model, messages=MESSAGES, max_tokens=4), **more})
    refused(openai.NotFoundError, "another model", lambda: ask(model="gpt-4o"), "model_not_found")
    refused(openai.BadRequestError, "a wrong number", lambda: ask(temperature=-1), "temperature: expected a number from 0 to 100, found -1")
    refused(openai.BadRequestError, "a wrong type", lambda: ask(extra_body={"max_tokens": "many"}), "found \"many\"")
    refused(openai.BadRequestError, "no messages", lambda: ask(messages=[]), "messages")
    refused(openai.BadRequestError, "a long prompt", lambda: ask(messages=[{"role": "user", "content": "cat " * 100000}]), "context_length_exceeded")
    refused(openai.NotFoundError, "a model's card", lambda: client.models.retrieve("nothing"))
    if arguments.key:
        stranger = client.with_options(api_key="sk-wrong")
        refused(openai.AuthenticationError, "a wrong key", lambda: stranger.models.list(), "invalid_api_key")


def experts(client, model, card):
    asked = dict(model=model, messages=MESSAGES, max_tokens=6, temperature=0)
    plain_text = client.chat.completions.create(**asked).choices[0].message.content
    told = client.chat.completions.create(**asked, extra_body={"routing": True}).choices[0]
    tokens = told.model_extra["moec"]["tokens"]
    check("".join(t["text"] for t in tokens) == told.message.content == plain_text, "routing: the texts of tokens are the text")
    if card["experts"] == 0:
        check(all(t["layers"] == [] for t in tokens), "a dense model routes nothing")
        return
    for t in tokens:
        check([x["layer"] for x in t["layers"]] == card["routed_layers"], "routing: layers")
        check(all(len(x["experts"]) == len(x["gates"]) == card["top_k"] for x in t["layers"]), "routing: top_k")
    name = card["expert_names"][0] if card["expert_names"] else 0
    forced = client.chat.completions.create(**asked, extra_body={"routing": True, "moec": {"force_experts": [name], "top_k": 1}}).choices[0]
    check({e for t in forced.model_extra["moec"]["tokens"] for x in t["layers"] for e in x["experts"]} <= {0}, "force_experts")
    omitted = client.chat.completions.create(**asked, extra_body={"routing": True, "moec": {"omit_experts": [0]}}).choices[0]
    check(0 not in {e for t in omitted.model_extra["moec"]["tokens"] for x in t["layers"] for e in x["experts"]}, "omit_experts")
    last = None
    for chunk in client.chat.completions.create(**asked, stream=True, extra_body={"moec": {"secretary": True}}):
        last = chunk.choices[0]
    secretary = last.model_extra["moec"]["secretary"]
    check(abs(sum(secretary["probabilities"]) - 1) < 1e-4 and 0 <= secretary["expert"] < card["experts"], "secretary")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--key", default=None)
    arguments = parser.parse_args()
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{arguments.port}/v1", api_key=arguments.key or "none", max_retries=0, timeout=120)
    models = client.models.list().data
    check(len(models) == 1, "one model")
    model, card = models[0].id, models[0].model_extra["moec"]
    check(client.models.retrieve(model).id == model, "a model's card")
    whole_and_streamed(client, model)
    choices(client, model)
    plain(client, model)
    log_probs(client, model)
    tools_and_formats(client, model)
    embeddings(client, model)
    errors(client, model, arguments)
    experts(client, model, card)
    print(f"openai {openai.__version__}: {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
