#!/usr/bin/env python3
"""Clients that mean no good, against a running `moec serve`: it must refuse each in its own words, or cut it off, and go on as if nothing
had been.

usage: tests/serve/hostile.py PORT [--requests N] [--seed S] [--request-seconds S] [--idle-seconds S] [--connections N] [--no-texts]

--requests: broken requests in all. --request-seconds, --connections: as the server was told. --no-texts: no text is asked for.
Prints a line for each kind, and ends with 1 where one of them got something else than it should.
"""
import argparse
import concurrent.futures
import json
import random
import socket
import struct
import sys
import threading
import time

TIMEOUT = 60
GOOD = {"prompt": "the cat", "max_tokens": 4, "temperature": 0, "seed": 1}
failures = []


def complain(text):
    failures.append(text)
    print("FAILED:", text, file=sys.stderr)


# ---- talking to it ----

class Peer:
    """One connection, written and read by hand."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """False where it was cut off meanwhile, as is its right."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False

    def more(self):
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        self.buffer += data
        return bool(data)

    def answer(self):
        """(status, body); (0, b"") where the connection ended without one."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.more():
                return 0, b""
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        if status == 100:
            return self.answer()
        headers = dict(line.lower().split(":", 1) for line in lines[1:])
        if headers.get("transfer-encoding", "").strip() == "chunked":
            return status, self.chunks()
        length = int(headers.get("content-length", "0"))
        while len(self.buffer) < length and self.more():
            pass
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return status, body

    def chunks(self):
        while not self.buffer.startswith(b"0\r\n\r\n") and b"\r\n0\r\n\r\n" not in self.buffer and self.more():
            pass
        body, rest = b"", self.buffer
        while b"\r\n" in rest:
            size, rest = rest.split(b"\r\n", 1)
            count = int(size, 16)
            if count == 0:
                rest = rest[2:]
                break
            body, rest = body + rest[:count], rest[count + 2:]
        self.buffer = rest
        return body

    def reset(self):
        """Leave at once, with what is under way on the wire."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def request_bytes(path, body=b"", method="POST", headers=()):
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if method == "POST" and not any(h.lower().startswith("content-") for h in headers):
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers]).encode("latin-1") + b"\r\n\r\n" + body


def ask(port, path, body=b"", method="POST", headers=()):
    with Peer(port) as peer:
        peer.send(request_bytes(path, body, method, headers))
        return peer.answer()


def check_error(what, status, body, allowed):
    """An error of OpenAI's shape, with one of the allowed statuses; 0 among them: a cut connection is fine, too."""
    if status not in allowed:
        complain(f"{what}: status {status}, expected one of {allowed}: {body[:200]!r}")
        return
    if status == 0 or not body or not body.startswith(b"{"):
        return
    try:
        error = json.loads(body)["error"]
        if not isinstance(error["message"], str) or "\n" in error["message"] or "type" not in error:
            complain(f"{what}: no error as OpenAI has them: {body[:200]!r}")
    except (ValueError, KeyError):
        complain(f"{what}: no JSON: {body[:200]!r}")


# ---- bodies ----

def deep(depth):
    return b'{"prompt": ' + b"[" * depth + b"]" * depth + b"}"


WIDE = b'{"prompt": [' + b",".join([b"1"] * 300000) + b"]}"
GOOD_BYTES = json.dumps(GOOD).encode()


def broken_body(rng):
    """A body, and whether it may be one that is fine after all."""
    kind = rng.randrange(40)
    if kind == 0:
        return WIDE, False
    if kind == 1:
        return deep(100000), False
    kind %= 8
    at = rng.randrange(len(GOOD_BYTES))
    if kind == 0:  # cut
        return GOOD_BYTES[:at], False
    if kind == 1:  # bytes that are none of UTF-8, in a text
        bad = rng.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80", b"\0", b"\xe2\x82"])
        at = GOOD_BYTES.index(b"cat") + rng.randrange(3)
        return GOOD_BYTES[:at] + bad + GOOD_BYTES[at:], False
    if kind == 2:
        return deep(rng.choice([65, 100, 1000])), False
    if kind == 3:
        key = rng.choice(["max_tokens", "n", "top_k", "logprobs", "stream", "stop", "messages"])
        return ('{"prompt": "x", "%s": %s}' % (key, rng.choice(["-3", "0.5", "1e300", "[[]]", "{}", "1e17"]))).encode(), key == "messages"
    if kind == 4:
        number = rng.choice(["1e999", "-1", "1e308", "-0.0001", "00", "0x10", "NaN", "Infinity", "1" * 5000, "-", "1.", ".5"])
        return ('{"prompt": "x", "temperature": %s}' % number).encode(), False
    if kind == 5:
        return rng.randbytes(rng.randrange(1, 200)), False
    if kind == 6:
        return b'{"prompt": %s, "moec": %s}' % (rng.choice([b'""', b"[]", b"7", b"null"]), rng.choice([b"[]", b'"x"', b'{"x": 1}', b'{"top_k": 1e9}'])), False
    mark = rng.choice([b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u12"])
    return GOOD_BYTES[:at] + mark + GOOD_BYTES[at:], True


def test_bodies(port, count, rng, _options):
    paths = ["/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/tokenize", "/detokenize"]
    jobs = [(rng.choice(paths), *broken_body(rng)) for _ in range(count)]

    def run(part):
        peer = None
        for path, body, perhaps in part:
            peer = peer or Peer(port)
            status, text = peer.answer() if peer.send(request_bytes(path, body)) else (0, b"")
            if status != 200:
                check_error(f"{path} {body[:60]!r}", status, text, (400, 404, 413, 429))
            elif not perhaps:
                complain(f"{path} {body[:80]!r} was answered")
            if status in (0, 413):
                peer.socket.close()
                peer = None
        if peer:
            peer.socket.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(run, jobs[i::8]) for i in range(8)]:
            done.result()
    return count


# ---- HTTP ----

def test_heads(port, count, rng, _options):
    good = json.dumps(GOOD).encode()
    cases = [
        (request_bytes("/v1/completions", good, headers=["Content-Type: text/plain", f"Content-Length: {len(good)}"]), (415,)),
        (request_bytes("/v1/completions", good, headers=["Content-Length: %d" % len(good)]), (415,)),
        (request_bytes("/v1/completions", b"", headers=["Content-Type: application/json", "Content-Length: 99999999999"]), (413,)),
        (request_bytes("/v1/completions", b"", headers=["Content-Type: application/json", "Content-Length: 9" + "9" * 40]), (0, 400, 413)),
        (request_bytes("/v1/completions", b"", headers=["Content-Type: application/json", "Content-Length: -1"]), (0, 400, 413)),
        (request_bytes("/v1/completions", b"", headers=["Content-Type: application/json", "Content-Length: x"]), (0, 400, 413)),
        (request_bytes("/v1/completions", good, headers=["Content-Type: application/json", "Transfer-Encoding: gzip"]), (501,)),
        (request_bytes("/nothing", good, headers=["Transfer-Encoding: gzip, chunked"]), (501,)),
        (request_bytes("/v1/completions", b"zz\r\n", headers=["Content-Type: application/json", "Transfer-Encoding: chunked"]), (0, 400)),
        (request_bytes("/v1/completions", b"ffffffffffffffffff\r\n", headers=["Content-Type: application/json", "Transfer-Encoding: chunked"]), (0, 400, 413)),
        (request_bytes("/v1/completions", method="GET"), (405,)),
        (request_bytes("/v1/completions", method="DELETE"), (405,)),
        (request_bytes("/health", b"{}"), (405,)),
        (request_bytes("/health", method="BREW"), (405,)),
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", (421,)),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", (403,)),
        (b"GET /health HTTP/1.1\r\n\r\n", (0, 400)),
        (b"GET\r\n\r\n", (0, 400)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), (0, 400)),
        (b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n", (0, 200, 400, 505)),
        (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", (0, 400, 404, 414, 431)),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X-Flood: 1\r\n" * 5000 + b"\r\n", (0, 400, 413, 431)),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Flood: " + b"a" * 1000000 + b"\r\n\r\n", (0, 400, 413, 431)),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nno colon here\r\n\r\n", (0, 200, 400)),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n: nothing\r\n\r\n", (0, 200, 400)),
        (bytes(rng.randrange(256) for _ in range(500)) + b"\r\n\r\n", (0, 400)),
    ]
    for path in ["/../../etc/passwd", "/v1/../health", "//health", "/health/", "/health%00", "/%2e%2e/%2e%2e/etc/passwd", "/v1/models/../../x",
                 "/health%2f", "/v1/models/%00", "/\\..\\..", "/v1//models", "/v1/models/" + "a" * 3000, "http://localhost/health", "*"]:
        cases.append((f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), (0, 400, 404)))
    done = 0
    while done < max(count, len(cases)):
        data, allowed = cases[done % len(cases)]
        with Peer(port) as peer:
            peer.send(data)
            peer.socket.settimeout(TIMEOUT)
            if 0 in allowed:
                try:
                    peer.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
            status, body = peer.answer()
        check_error(f"{data[:70]!r}", status, body, allowed) if status != 200 or 200 not in allowed else None
        done += 1
    return done


def test_slow(port, count, rng, options):
    """A byte a second, of a body and of a head: cut off in time, while others are answered."""
    slow = [request_bytes("/v1/completions", b'{"prompt": "' + b"a" * 4000 + b'"}'), b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 4000]
    seconds = options.request_seconds + options.idle_seconds + 15
    head = slow[0].index(b"\r\n\r\n") + 4

    def drip(data, first):
        began = time.monotonic()
        with Peer(port) as peer:
            peer.send(data[:first])
            for at in range(first, len(data)):
                if time.monotonic() - began > seconds:
                    complain(f"{data[:30]!r}: still read after {seconds} s")
                    return
                time.sleep(1)
                peer.socket.setblocking(False)
                try:
                    if not peer.socket.recv(1, socket.MSG_PEEK):
                        return
                    peer.socket.settimeout(TIMEOUT)
                    status, body = peer.answer()
                    check_error("a slow body", status, body, (0, 408))
                    return
                except BlockingIOError:
                    pass
                except OSError:
                    return
                peer.socket.settimeout(TIMEOUT)
                if not peer.send(data[at:at + 1]):
                    return

    threads = [threading.Thread(target=drip, args=(slow[i % 2], head if i % 2 == 0 else 20)) for i in range(min(count, 16))]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        status, _ = ask(port, "/health", method="GET")
        if status != 200:
            complain(f"/health beside slow clients: {status}")
        time.sleep(0.5)
    for thread in threads:
        thread.join()
    return len(threads)


def test_leaving(port, count, rng, options):
    """Clients that go: before the answer, in the stream's middle, with a reset, or with only their sending half closed."""
    def leave(i):
        body = dict(GOOD, max_tokens=20, stream=i % 2 == 0, routing=i % 3 == 0, n=1 + i % 2)
        with Peer(port) as peer:
            peer.send(request_bytes("/v1/completions", body))
            how = i % 5
            if how == 0:
                peer.reset()
            elif how == 1:
                peer.socket.shutdown(socket.SHUT_WR)
                peer.answer()
            elif how == 2:
                peer.more()
                peer.reset()
            elif how == 3:
                peer.more()
            else:
                peer.send(request_bytes("/health", method="GET"))  # the next request before the answer to the first
                peer.answer()

    if options.no_texts:
        return 0
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for done in [pool.submit(leave, i) for i in range(count)]:
            done.result()
    return count


def test_crowd(port, count, rng, options):
    """More connections than the server takes: one more is told so, and answered when others close."""
    crowd = [Peer(port) for _ in range(options.connections + 5)]
    time.sleep(0.3)
    status, body = ask(port, "/v1/models", method="GET")
    check_error("one connection too many", status, body, (503,))
    if ask(port, "/health", method="GET")[0] != 200:
        complain("/health beside a crowd")
    for peer in crowd:
        peer.socket.close()
    deadline = time.monotonic() + TIMEOUT
    while ask(port, "/v1/models", method="GET")[0] != 200:
        if time.monotonic() > deadline:
            complain("nobody is answered behind a crowd that left")
            break
        time.sleep(0.05)
    return len(crowd)


def test_queue(port, count, rng, options):
    """More texts than slots and queue: each is answered, or told to come again."""
    if options.no_texts:
        return 0
    with concurrent.futures.ThreadPoolExecutor(min(64, options.connections // 2)) as pool:
        answers = list(pool.map(lambda _: ask(port, "/v1/completions", dict(GOOD, max_tokens=16)), range(count)))
    for status, body in answers:
        if status == 200:
            json.loads(body)
        else:
            check_error("a full queue", status, body, (429,))
    return count


# ---- afterwards ----

def metrics(port):
    _, body = ask(port, "/metrics", method="GET")
    found = {}
    for line in body.decode().splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found


def check_alive(port, what, options, first):
    status, _ = ask(port, "/health", method="GET")
    if status != 200:
        complain(f"after {what}: /health gave {status}")
    if not options.no_texts and ask(port, "/v1/completions", GOOD)[1].split(b'"choices"')[1].split(b'"usage"')[0] != first:
        complain(f"after {what}: another text than before")


def settle(port):
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        m = metrics(port)
        if m["moec_running"] == 0 and m["moec_waiting"] == 0 and m["moec_connections"] <= 1:
            return m
        time.sleep(0.1)
    complain(f"still busy: {[(k, m[k]) for k in ('moec_running', 'moec_waiting', 'moec_connections')]}")
    return m


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--request-seconds", type=int, default=30)
    parser.add_argument("--idle-seconds", type=int, default=60)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--no-texts", action="store_true")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    first = None
    if not options.no_texts:
        first = ask(options.port, "/v1/completions", GOOD)[1].split(b'"choices"')[1].split(b'"usage"')[0]
    shares = [(test_bodies, 0.6), (test_heads, 0.2), (test_leaving, 0.1), (test_queue, 0.1), (test_crowd, 0), (test_slow, 0.02)]
    for test, share in shares:
        began = time.monotonic()
        count = test(options.port, int(options.requests * share) + 4, rng, options)
        print(f"{test.__name__[5:]:10} {count:6} in {time.monotonic() - began:.1f} s, {len(failures)} failures", flush=True)
        check_alive(options.port, test.__name__, options, first)
    m = settle(options.port)
    print(f"resident {m['moec_resident_bytes'] / 1e6:.1f} MB")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
