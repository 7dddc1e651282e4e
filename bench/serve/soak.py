#!/usr/bin/env python3
"""Many clients that stream from `moec serve` at once, for a while: soak.py MOEC MODEL [--clients 64] [--minutes 10] [--slots 64] [serve's options]

Starts the server on a free port. Each client asks for one streamed completion after another, with prompts of its own and from 8 to 64
tokens, until the time is over; the answers to a fixed seed are compared whenever a client asks the same again. Prints what went wrong,
requests and tokens, the time between a stream's tokens (median and 99 %), the time to the first token, and the server's resident
memory over time. Exit 0: no error, every request answered whole, and memory flat (the last minute's within a tenth of that at half-time: until the
pool of keys and values has all the blocks that it ever needs at once, it grows).
"""
import argparse
import asyncio
import json
import random
import statistics
import subprocess
import time

WORDS = "the model of a river that runs by night and tells what it has seen to those who ask in the morning light".split()


class Tally:
    def __init__(self):
        self.gaps, self.firsts, self.errors, self.answers = [], [], [], {}
        self.requests = self.tokens = 0


async def stream(port, body, tally):
    """The text of one streamed completion, or raises ValueError with what was wrong."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nConnection: close\r\n"
                 b"Content-Length: %d\r\n\r\n%s" % (port, len(data), data))
    await writer.drain()
    asked = last = time.monotonic()
    text, done, status = "", False, None
    first = True
    async for line in reader:
        status = status or line.decode().strip()
        if " 200 " not in f"{status} ":
            raise ValueError(status)
        if not line.startswith(b"data: "):
            continue
        if line.strip() == b"data: [DONE]":
            done = True
            continue
        event = json.loads(line[6:])
        if "error" in event:
            raise ValueError(event["error"])
        if not event["choices"]:
            tally.tokens += event["usage"]["completion_tokens"]
            continue
        now = time.monotonic()
        (tally.firsts if first else tally.gaps).append(now - (asked if first else last))
        first, last = False, now
        text += event["choices"][0]["text"]
    writer.close()
    if not done:
        raise ValueError("a stream without its [DONE]")
    return text


async def client(number, port, until, tally):
    rng = random.Random(number)
    while time.monotonic() < until:
        which = rng.randrange(8)
        prompt = " ".join(random.Random(1000 * number + which).choices(WORDS, k=5 + 5 * which))
        body = {"prompt": prompt, "max_tokens": 8 * (1 + which), "temperature": 0.8, "seed": number, "stream": True,
                "stream_options": {"include_usage": True}}
        try:
            text = await stream(port, body, tally)
            tally.requests += 1
            if tally.answers.setdefault((number, which), text) != text:
                tally.errors.append(f"client {number}: another answer to the same request")
        except (OSError, ValueError) as e:
            tally.errors.append(f"client {number}: {e}")
            await asyncio.sleep(0.2)


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmRSS"))


async def watch(pid, until, seen):
    while time.monotonic() < until:
        seen.append(resident(pid))
        await asyncio.sleep(5)


async def soak(args, server, port):
    tally, memory = Tally(), []
    until = time.monotonic() + 60 * args.minutes
    await asyncio.gather(watch(server.pid, until, memory), *(client(i, port, until, tally) for i in range(args.clients)))
    return tally, memory


def report(args, tally, memory):
    print(f"{args.clients} clients, {args.minutes:g} minutes: {tally.requests} requests, {tally.tokens} tokens "
          f"({tally.tokens / 60 / args.minutes:.0f} tokens/s), {len(tally.errors)} errors")
    for e in tally.errors[:5]:
        print(f"  {e}")
    if not tally.gaps:
        return False
    gaps, firsts = sorted(tally.gaps), sorted(tally.firsts)
    median, late = statistics.median(gaps), gaps[int(0.99 * len(gaps))]
    print(f"between tokens: median {1e3 * median:.0f} ms, 99 % {1e3 * late:.0f} ms ({late / median:.1f} x), "
          f"longest {1e3 * gaps[-1]:.0f} ms")
    print(f"first token: median {statistics.median(firsts):.2f} s, longest {firsts[-1]:.2f} s")
    minutes = [max(memory[i:i + 12]) for i in range(0, len(memory), 12)]
    print(f"resident memory: {memory[0]:.0f} MB at first, at most by minute", *(f"{m:.0f}" for m in minutes), "MB")
    return not tally.errors and minutes[-1] <= 1.1 * minutes[len(minutes) // 2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("moec")
    parser.add_argument("model")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=10)
    args, rest = parser.parse_known_args()
    server = subprocess.Popen([args.moec, "serve", args.model, "--port", "0", *rest], stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        port = int(line.strip().rstrip("/").rsplit(":", 1)[1])
        good = report(args, *asyncio.run(soak(args, server, port)))
    finally:
        server.terminate()
        code = server.wait()
    if code:
        print(f"the server ended with {code}")
    raise SystemExit(0 if good and code == 0 else 1)


main()
