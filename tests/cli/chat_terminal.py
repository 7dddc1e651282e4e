#!/usr/bin/env python3
"""moec chat on a terminal: editing, history, Ctrl-C, Ctrl-D, colours. usage: tests/cli/chat_terminal.py MOEC

Python's pty is the terminal: what is typed goes in, what is shown comes out.
"""
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time

MOEC = os.path.abspath(sys.argv[1])
IUTF8 = 0o40000  # asm-generic/termbits.h; Python's termios does not name it
CONFIG = """
data: {data: WORK/data}
model: {vocab_size: 320, num_layers: 2, model_dim: 32, num_heads: 2, num_kv_heads: 1, rope_dims: 8, bigram_buckets: 0, num_loops: 0,
        parallel_start_layer: 2, moe_layers: [1], moe_num_experts: 2}
train: {run: WORK/run, batch: 2, seq: 32, steps: 3, checkpoint_every: 3, val_every: 0, dtype: f32}
average: {ema_decay: 0}
events: []
"""


class Terminal:
    def __init__(self, work, *arguments, behind=None, **environment):
        """behind: what a shell does when the chat has ended"""
        env = {**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": f"{work}/state", "HOME": str(work), "LC_ALL": "C.UTF-8",
               "OMP_WAIT_POLICY": "passive", **environment}
        env = {name: value for name, value in env.items() if value is not None}
        self.seen = ""
        self.child, self.side = pty.fork()
        if self.child == 0:
            command = [MOEC, "chat", f"{work}/run", "--dtype", "f32", *arguments]
            if behind:
                command = ["/bin/sh", "-c", f'"$0" "$@"; {behind}', *command]
            os.execve(command[0], command, env)
        settings = termios.tcgetattr(self.side)
        settings[0] |= IUTF8  # as terminals have it: what is typed before the line editor listens is rubbed out by character, too
        termios.tcsetattr(self.side, termios.TCSANOW, settings)

    def read(self, seconds):
        if select.select([self.side], [], [], seconds)[0]:
            try:
                data = os.read(self.side, 65536)
            except OSError:
                data = b""
            self.seen += data.decode(errors="replace")
            return bool(data)
        return True

    def wait(self, pattern, what):
        """Until what is shown from now on matches; it, and what came before it."""
        end = time.monotonic() + 60
        while not (found := re.search(pattern, self.seen, re.S)):
            if time.monotonic() > end or not self.read(0.2):
                raise SystemExit(f"FAILED: waited for {what}, found {self.seen!r}")
        shown, self.seen = self.seen[: found.end()], self.seen[found.end():]
        while pattern.endswith("> ") and self.is_cooked() and time.monotonic() < end:
            self.read(0.01)  # libedit shows the prompt before it has the terminal: Ctrl-C in between is none of its
        return shown

    def is_cooked(self):
        return bool(termios.tcgetattr(self.side)[3] & termios.ICANON)

    def type(self, text):
        os.write(self.side, text.encode())

    def end(self):
        late = time.monotonic() + 60
        while self.read(10):
            if time.monotonic() > late:
                raise SystemExit(f"FAILED: waited for the end, found {self.seen!r}")
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


def check(condition, message):
    if not condition:
        raise SystemExit(f"FAILED: {message}")


def talk(work):
    terminal = Terminal(work, "--tokens", "6", "--routing", "--temperature", "0", NO_COLOR=None)
    greeting = terminal.wait("> ", "the first prompt")
    check("2 experts (expert 0, expert 1)" in greeting and "Ctrl-D ends" in greeting, f"the greeting: {greeting!r}")
    terminal.type("a dog seés\x7f\x7f\x7fees\r")  # rubbed out character by character: é is one
    shown = terminal.wait(r"tokens read[^\]]*\]\r\n.*> ", "an answer")
    check("\033[38;5;" in shown, f"no colours: {shown!r}")
    check("tokens by expert:" in shown, f"no shares: {shown!r}")
    terminal.type("\033[A")  # the line before
    terminal.wait("a dog sees", "the line called back")
    terminal.type("\r")
    terminal.wait(r"tokens read[^\]]*\]\r\n.*> ", "an answer to it")
    terminal.type("half a li\x03")  # Ctrl-C: a new line
    terminal.wait("> ", "a new prompt")
    terminal.type("/temprature 1\r")
    shown = terminal.wait("nearest is /temperature.*> ", "an error, and a prompt behind it")
    check("\033[31m" in shown, f"an error without red: {shown!r}")
    terminal.type("\x04")
    check(terminal.end() == 0, "Ctrl-D does not end it well")
    history = (work / "state/moec/chat-history").read_text()
    for line in ("a\\040dog\\040sees", "/temprature\\0401"):
        check(line in history, f"{line} is not in the history: {history!r}")
    check("half" not in history, f"a dropped line is in the history: {history!r}")
    check((work / "state/moec/chat-history").stat().st_mode & 0o77 == 0, "others may read the history")
    check(sorted(p.name for p in (work / "state/moec").iterdir()) == ["chat-history"], "something lies beside the history")


def stop(work):
    terminal = Terminal(work, "--tokens", "100000", "--context", "200000", "--temperature", "1", "--top-p", "1", NO_COLOR="1")
    terminal.wait("> ", "the first prompt")
    for turn in range(3):  # the second Ctrl-C is one like the first
        for attempt in range(20):  # an answer may be short by chance
            terminal.type(f"/seed {turn * 100 + attempt}\r")
            terminal.wait("> ", "a prompt")
            terminal.type("the cat sees\r")
            terminal.wait(r"the cat sees\r\n.", "the beginning of an answer")
            time.sleep(0.02 * attempt)  # or Ctrl-C was too early
            terminal.type("\x03")
            shown = terminal.wait(r"(tokens read[^\]]*|message is dropped)\]\r\n> ", "an answer, its beginning, or that there is none")
            time.sleep(0.1)  # a Ctrl-C that came too late begins a new line
            if "; stopped]" in shown:
                break
        check("; stopped]" in shown, f"Ctrl-C did not stop an answer: {shown!r}")
        check("\033[38;5;" not in shown, f"colours in spite of NO_COLOR: {shown!r}")
    terminal.type(f"/save {work}/saved.json\r")
    terminal.wait("saved in.*> ", "the conversation, saved, and a prompt")
    check((work / "saved.json").read_text().count('"assistant"') >= 3, "stopped answers are not in the conversation")
    terminal.type("/quit\r")
    check(terminal.end() == 0, "/quit does not end it well")
    terminal = Terminal(work)
    terminal.wait("> ", "the first prompt")
    terminal.type("\033[A\033[A")  # of the conversation before
    terminal.wait("/save", "a line of an earlier conversation")
    os.kill(terminal.child, signal.SIGTERM)
    check(terminal.end() == -signal.SIGTERM, "SIGTERM does not end it")


def ahead(work):
    """Whoever types does not wait: not for the first prompt, nor for answers, nor for the shell's prompt behind /quit."""
    terminal = Terminal(work, "--tokens", "3", "--temperature", "0", "--context", "4096", NO_COLOR="1", behind='read line; echo "left: $line"')
    said = [f"line {i} é" for i in range(12)]
    typed = "".join(f"{line}\r" for line in said) + f"/save {work}/ahead.json\r/quit\rfor the shell\r"
    for i, at in enumerate(range(0, len(typed), 7)):  # in pieces that end anywhere in lines
        terminal.type(typed[at: at + 7])
        terminal.read(0.02 * (i % 3))
    terminal.wait("left: for the shell\r\n", "what was typed for the shell")
    check(terminal.end() == 0, "it does not end well")
    messages = json.loads((work / "ahead.json").read_text())["messages"]
    found = [message["content"] for message in messages if message["role"] == "user"]
    check(found == said, f"what was typed ahead: {found}")


def main():
    if b"libedit" not in subprocess.run(["ldd", MOEC], capture_output=True).stdout:
        print("moec was built without libedit: skipped")
        return 77
    os.environ["OMP_WAIT_POLICY"] = "passive"
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        lines = [f"{who} sees {i * 7 % 13} birds, and {who} likes number {i * 11 % 17}.\n"
                 for i in range(300) for who in ("the cat", "a dog", "my sister")]
        for i in range(30):
            (work / "text").mkdir(exist_ok=True)
            (work / f"text/{i}.txt").write_text("".join(lines[30 * i: 30 * i + 30]))
        (work / "config.yaml").write_text(CONFIG.replace("WORK", folder))
        for command in (["data", f"{folder}/data", "--domain", f"text={folder}/text", "--vocab", "320", "--heldout", "0.1"],
                        ["train", f"{folder}/config.yaml"]):
            done = subprocess.run([MOEC, *command], capture_output=True, text=True)
            check(done.returncode == 0, f"moec {command[0]}: {done.stderr}")
        talk(work)
        stop(work)
        ahead(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
