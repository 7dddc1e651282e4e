"""moec's coder against others on the same integers: those of an artifact's grids.

    python bench/coder/compare.py MODEL.moec [--most WEIGHTS] [--part NAME] [--without xz,brotli,zstd,nncodec]

Needs a built moec (build/), the packages brotli, zstandard and numpy, and for DeepCABAC nncodec 2.1.3. xz -9e, brotli and zstd get all
matrices in one file, one int8 a weight, row after row; nncodec gets each matrix on its own, as int32, as moec's coder does.
Prints a line of a Markdown table: weights, order-0 entropy, then the bytes of each."""
import argparse
import glob
import importlib.util
import lzma
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def matrices(folder):
    codes = np.fromfile(os.path.join(folder, "codes.i8"), np.int8)
    at = 0
    for line in open(os.path.join(folder, "index.tsv")):
        name, rows, cols, _, own, _ = line.rstrip("\n").split("\t")
        rows, cols = int(rows), int(cols)
        yield name, codes[at:at + rows * cols].reshape(rows, cols), int(own)
        at += rows * cols


def by_xz(folder, data):
    return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def by_brotli(folder, data):
    import brotli
    return len(brotli.compress(data, quality=11, lgwin=24))


def by_zstd(folder, data):
    import zstandard
    return len(zstandard.ZstdCompressor(level=22).compress(data))


def deep_cabac():
    """nncodec's extension without its package, which would load torch."""
    package = importlib.util.find_spec("nncodec")
    path = glob.glob(os.path.join(os.path.dirname(package.origin), "extensions", "deepCABAC*.so"))[0]
    spec = importlib.util.spec_from_file_location("deepCABAC", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_nncodec(folder, data):
    """As nncodec calls it: 11 flags for magnitudes, the contexts' parameters optimised, rows of zeros skipped."""
    cabac = deep_cabac()
    total = 0
    for _, q, _ in matrices(folder):
        encoder = cabac.Encoder()
        encoder.initCtxModels(11, 1)
        empty = np.array([0 if row.any() else 1 for row in q], np.int32)
        encoder.encodeLayer(q.astype(np.int32), 0, 0, 1, 0, int(empty.any()), empty, cabac.HdspMode.AlwaysOff,
                            np.array((0, 0), np.int8), 0, 0)
        total += len(encoder.finish())
    return total


OTHERS = {"xz": by_xz, "brotli": by_brotli, "zstd": by_zstd, "nncodec": by_nncodec}


def built(name):
    path = subprocess.run(["sh", os.path.join(HERE, "build.sh"), name], check=True, capture_output=True, text=True)
    return os.path.join(HERE, "..", "..", path.stdout.strip())


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--most", default=str(2**62))
    p.add_argument("--part", default="")
    p.add_argument("--without", default="")
    o = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([built("dump_codes"), o.model, folder, o.most, o.part], check=True)
        speed = subprocess.run([built("codec_speed"), folder, "--twins"], check=True, capture_output=True, text=True)
        print(speed.stdout.strip())
        data = open(os.path.join(folder, "codes.i8"), "rb").read()
        for name, coder in OTHERS.items():
            if name in o.without.split(","):
                continue
            start = time.process_time()
            bytes_ = coder(folder, data)
            print(f"{name}\t{bytes_}\t{8 * bytes_ / len(data):.4f} bits\t{time.process_time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
