#!/usr/bin/env python3
"""A stand-in for `moec serve`: speaks what the page asks for, with canned answers and canned routing, and keeps what it was asked.

usage: tests/serve/stand_in.py [--port 8081] [--dense] [--experts N] [--key KEY] [--delay SECONDS]

For looking at src/serve/page.html in a browser, and for tests/serve/page.py. It computes nothing: a token's experts follow from
what the token looks like (a word, code, a number, a mark) and from the request's `moec`, as a mixture of four experts might have it.
"""
import argparse
import json
import pathlib
import random
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = pathlib.Path(__file__).resolve().parents[2] / "src" / "serve" / "page.html"
CSP = ("default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; connect-src 'self'; "
       "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
NAMES = ["prose", "code", "numbers", "marks"]
LAYERS = [4, 5, 6]

ANSWER = """Walk over the array once and keep a running total:

long sum(const int *values, size_t count) {
    long total = 0;
    for (size_t i = 0; i < count; i++) {
        total += values[i];
    }
    return total;
}

For 1000 values that is 1000 additions, about 0.3 microseconds. Use a long for the total: 40 values of 100 million already exceed an int. \
(On my café’s till they rarely do.)"""
WITHOUT = {
    "code": "Take the first value, add the second to it, then the third, and so on until none is left. For 1000 values that is 1000 "
            "additions. I would write it as a loop, but the expert that knows how is switched off.",
    "numbers": "Walk over the array once and keep a running total:\n\nlong total = zero;\nfor (each value) total += value;\n\n"
               "For many values that is as many additions.",
}
HTML = "<img src=x onerror=\"document.title='broken'\"> <b>bold</b> & <script>document.title='broken'</script>"


def answer_to(question, omitted):
    if "html" in question.lower():
        return HTML
    if "long" in question.lower().split():
        return " ".join(f"word{i}" for i in range(4000))
    for name in omitted:
        if name in WITHOUT:
            return WITHOUT[name]
    return ANSWER


def tokens_of(text):
    """Words with their space, numbers, marks, line ends; a character outside ASCII is two tokens, of which the first has no text."""
    for piece in re.findall(r"\n+ *| ?[A-Za-z_]+| ?\d+| ?[^\w\s]|\s|.", text):
        if not piece.isascii():
            yield ""
        yield piece


def weights_of(token, layer, rng):
    """How much each of the four experts wants a token."""
    word = token.strip()
    weights = [0.25, 0.25, 0.1, 0.15]
    if re.fullmatch(r"\d+", word):
        weights[2] += 1.2
    elif word in {"long", "int", "const", "size_t", "for", "return", "sum", "total", "values", "count", "i"}:
        weights[1] += 0.5
    elif re.fullmatch(r"[(){}\[\];<>=+*_]|\n+ *", token.strip(" ") or token):
        weights[1] += 0.5
        weights[3] += 0.7
    elif word.isalpha():
        weights[0] += 0.8
    else:
        weights[3] += 0.5
    return [w * (0.6 + 0.8 * rng.random()) * (1 + 0.05 * layer) for w in weights]


class StandIn(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port=0, experts=4, names=True, key=None, delay=0.004, fail=None):
        super().__init__(("127.0.0.1", port), Handler)
        self.experts, self.key, self.delay = experts, key, delay
        self.names = NAMES if names and experts == 4 else None
        self.requests = []  # (method, path, body or None)
        self.fail = fail  # (status, message, headers): of the next completion
        self.lock = threading.Lock()
        self.cut = 0  # streams that the client left
        self.reset()

    def reset(self):
        with self.lock:
            self.since, self.tokens = int(time.time()), 0
            self.counts = {layer: [0] * self.experts for layer in LAYERS}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def completions(self):
        return [body for method, path, body in self.requests if path == "/v1/chat/completions"]

    def route(self, token, top_k, omit, rng):
        layers = []
        for layer in LAYERS:
            kinds = weights_of(token, layer, rng)
            weights = {e: kinds[e % 4] / (1 + e // 4 * rng.random()) for e in range(self.experts) if e not in omit}
            chosen = sorted(weights, key=weights.get, reverse=True)[:top_k]
            total = sum(weights[e] for e in chosen)
            layers.append({"layer": layer, "experts": chosen, "gates": [round(weights[e] / total, 4) for e in chosen]})
        with self.lock:
            self.tokens += 1
            for entry in layers:
                for e in entry["experts"]:
                    self.counts[entry["layer"]][e] += 1
        return layers


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, body, kind="application/json", headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status, message, headers=()):
        self.send(status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}},
                  headers=headers)

    def allowed(self):
        if not self.server.key or self.headers.get("Authorization") == f"Bearer {self.server.key}":
            return True
        self.refuse(401, "expected an API key, found none or another")
        return False

    def do_GET(self):
        server = self.server
        server.requests.append(("GET", self.path, None))
        if self.path == "/":
            self.send(200, PAGE.read_bytes(), "text/html; charset=utf-8",
                      [("Content-Security-Policy", CSP), ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")])
        elif not self.allowed():
            pass
        elif self.path == "/v1/models":
            moec = {"layers": 8, "routed_layers": LAYERS if server.experts else [], "experts": server.experts,
                    "expert_names": server.names, "top_k": 2 if server.experts else 0, "shared": 1 if server.experts else 0,
                    "context": 2048, "vocab": 49152}
            name = "smol-experts" if server.experts else "smol"
            self.send(200, {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "moec",
                                                        "moec": moec}]})
        elif self.path == "/v1/routing" and server.experts:
            with server.lock:
                counted = {"since": server.since, "tokens": server.tokens, "experts": server.experts, "expert_names": server.names,
                           "layers": [{"layer": layer, "counts": counts[:]} for layer, counts in server.counts.items()]}
            self.send(200, counted)
        else:
            self.refuse(404, f"there is nothing at {self.path}")

    def do_POST(self):
        server = self.server
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(data) if data else None
        server.requests.append(("POST", self.path, body))
        if not self.allowed():
            return
        if self.path == "/v1/routing/reset":
            server.reset()
            self.send(200, {})
        elif self.path != "/v1/chat/completions":
            self.refuse(404, f"there is nothing at {self.path}")
        elif server.fail:
            (status, message, headers), server.fail = server.fail, None
            self.refuse(status, message, headers)
        else:
            self.stream(body)

    def chunk(self, choices, **more):
        event = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "smol-experts", "choices": choices}
        self.wfile.write(self.framed(b"data: " + json.dumps({**event, **more}).encode() + b"\n\n"))
        self.wfile.flush()

    @staticmethod
    def framed(data):
        return b"%x\r\n%s\r\n" % (len(data), data)

    def stream(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self.stream_answer(body)
            self.wfile.write(self.framed(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.server.cut += 1
            self.close_connection = True

    def stream_answer(self, body):
        server, rng = self.server, random.Random(body.get("seed"))
        asked = body.get("moec") or {}
        omit = {self.index(e) for e in asked.get("omit_experts") or []}
        top_k = min(asked.get("top_k") or 2, server.experts - len(omit)) if server.experts else 0
        omitted = [server.names[e] for e in sorted(omit)] if server.names else []
        text = answer_to(body["messages"][-1]["content"], omitted)
        count, reason = 0, "stop"
        self.chunk([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
        for token in tokens_of(text):
            if count == body.get("max_tokens"):
                reason = "length"
                break
            choice = {"index": 0, "delta": {"content": token}, "finish_reason": None}
            if body.get("routing") and server.experts:
                layers = server.route(token, top_k, omit, rng)
                choice["moec"] = {"tokens": [{"id": sum(token.encode()) % 49152, "text": token, "layers": layers}]}
            count += 1
            self.chunk([choice])
            if count == 5 and body["messages"][-1]["content"] == "break":
                raise ConnectionResetError
            if count == 5 and body["messages"][-1]["content"] == "fail":
                self.wfile.write(self.framed(b'data: {"error": {"message": "out of memory", "type": "server_error"}}\n\n'))
                return
            time.sleep(server.delay)
        last = {"index": 0, "delta": {}, "finish_reason": reason}
        if asked.get("secretary"):
            last["moec"] = {"tokens": [], "secretary": {"expert": 1, "name": "code", "probabilities": [0.2, 0.6, 0.1, 0.1]}}
        self.chunk([last])
        if (body.get("stream_options") or {}).get("include_usage"):
            self.chunk([], usage={"prompt_tokens": 9, "completion_tokens": count, "total_tokens": 9 + count})

    def index(self, expert):
        return self.server.names.index(expert) if isinstance(expert, str) else expert


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--dense", action="store_true", help="a model without experts")
    parser.add_argument("--experts", type=int, default=4)
    parser.add_argument("--key", help="the API key that it asks for")
    parser.add_argument("--delay", type=float, default=0.03, help="seconds from token to token")
    options = parser.parse_args()
    with StandIn(options.port, 0 if options.dense else options.experts, key=options.key, delay=options.delay) as stand_in:
        print(f"{stand_in.url}/", flush=True)
        try:
            stand_in.serve_forever()
        except KeyboardInterrupt:
            pass
