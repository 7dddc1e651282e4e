"""A wire between two network namespaces, for what the kernel's netem does where it has none: every frame arrives DELAY milliseconds later,
or is lost with the probability LOSS. SIGUSR1: nothing arrives any more, for good.

usage: link.py NAMESPACE ADDRESS NAMESPACE ADDRESS DELAY LOSS        (as root; says "up" when it is there)
"""
import collections
import ctypes
import fcntl
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
FRAME = 1 << 16


def end_in(namespace, address):
    """A tap device in the namespace: what is written to it arrives there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/run/netns/" + namespace) as there, open("/proc/self/ns/net") as here:
        for change in (there, here):
            if change is there:
                if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
                    sys.exit("setns: " + os.strerror(ctypes.get_errno()))
                tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
                fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", b"wire", IFF_TAP | IFF_NO_PI))
            else:
                libc.setns(here.fileno(), CLONE_NEWNET)
    for command in ("addr add %s/24 dev wire" % address, "link set wire mtu 9000 up", "link set lo up"):
        subprocess.run(["ip", "-n", namespace] + command.split(), check=True)
    return tap


def main():
    first, second = end_in(sys.argv[1], sys.argv[2]), end_in(sys.argv[3], sys.argv[4])
    delay, loss = float(sys.argv[5]) / 1000, float(sys.argv[6])
    other = {first: second, second: first}
    cut = []
    signal.signal(signal.SIGUSR1, lambda *_: cut.append(True))
    under_way = collections.deque()  # (when it arrives, where, frame): the delay is the same for all, so in order
    print("up", flush=True)
    while True:
        wait = max(0, under_way[0][0] - time.monotonic()) if under_way else 1
        for end in select.select([first, second], [], [], wait)[0]:
            frame = os.read(end, FRAME)
            if not cut and random.random() >= loss:
                under_way.append((time.monotonic() + delay, other[end], frame))
        while under_way and under_way[0][0] <= time.monotonic():
            _, end, frame = under_way.popleft()
            try:
                if not cut:
                    os.write(end, frame)
            except OSError:
                pass  # the far end's queue is full: as on a wire, it is lost


main()
