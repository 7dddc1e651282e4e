"""GPTQ of the 30.5 M-parameter model's matrices (configs/upcycle-9l.yaml): moec beside a PyTorch implementation of the same algorithm,
one after the other, shape by shape, in one run.

usage: gptq_compare.py GPTQ_SPEED [--repeat 3] [--threads 1] [--bits 4]      GPTQ_SPEED: from build.sh

Both: act-order, Hessian damped by 1 % of its mean diagonal, blocks of 128 columns with lazy updates, for each row the best of 20 scales by
the error weighted with the Hessian's diagonal, the best 3 of which GPTQ itself compares. Hessians are of inputs whose spectrum falls as
a power law, with a few large channels, as trained models' are; 4,096 tokens. PyTorch's rows stand side by side in memory for each column, and the
three finalists are rounded in one go. Reading, writing and the second moments are not counted on either side. --cpu counts the process's time on all
CPUs instead of the clock's: of one thread on a machine that others use too that is what it would take alone.
"""
import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch

parser = argparse.ArgumentParser()
parser.add_argument("gptq_speed")
parser.add_argument("--repeat", type=int, default=3)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--cpu", action="store_true")
parser.add_argument("--bits", type=int, default=4)
options = parser.parse_args()
torch.set_num_threads(options.threads)
torch.set_grad_enabled(False)

CANDIDATES, FINALISTS, BLOCK, DAMP = 20, 3, 128, 0.01
SHAPES = {  # [rows, cols]: how often the model has it
    (512, 512): 18,
    (256, 512): 18,
    (2048, 512): 9,
    (512, 2048): 9,
    (8192, 512): 1,
    (512, 128): 1,
}


def problem(rows, cols, generator):
    spectrum = torch.arange(1, cols + 1).float() ** -0.6
    basis = torch.linalg.qr(torch.randn(cols, cols, generator=generator))[0]
    x = torch.randn(4096, cols, generator=generator) * spectrum @ basis
    x[:, torch.randperm(cols, generator=generator)[: cols // 64]] *= 8
    return torch.randn(rows, cols, generator=generator) * 0.05, x.T @ x


def best_scales(w, importance, levels):
    """[FINALISTS, rows]: the scales of least weighted rounding error."""
    largest = w.abs().amax(1)
    scales, errors = [], []
    for i in range(CANDIDATES):
        scale = 1.05 * 0.93**i * largest / levels
        q = (w / scale[:, None]).round_().clamp_(-levels, levels)
        errors.append((w - q * scale[:, None]).square_() @ importance)
        scales.append(scale)
    order = torch.stack(errors).topk(FINALISTS, dim=0, largest=False).indices
    return torch.stack(scales).gather(0, order)


def inverse_factor(h):
    """U, upper triangular, with inverse(h) = U^T U."""
    lower = torch.linalg.cholesky(h)
    return torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)


def gptq(w, h, bits):
    levels = 2 ** (bits - 1) - 1
    rows, cols = w.shape
    diagonal = h.diagonal() + DAMP * h.diagonal().mean()
    order = diagonal.argsort(descending=True)
    h = h.clone()
    h.diagonal().copy_(diagonal)
    u = inverse_factor(h[order][:, order])
    scale = best_scales(w, diagonal, levels).reshape(-1)  # [FINALISTS * rows]
    inverse = 1 / scale
    work = w[:, order].T.repeat(1, FINALISTS).contiguous()  # [cols, FINALISTS * rows]
    q = torch.empty_like(work)
    error = torch.zeros_like(scale)
    for first in range(0, cols, BLOCK):
        last = min(first + BLOCK, cols)
        block, part, e = work[first:last], u[first:last, first:last], torch.empty_like(work[first:last])
        for i in range(last - first):
            torch.round(block[i] * inverse, out=q[first + i])
            q[first + i].clamp_(-levels, levels)
            torch.sub(block[i], q[first + i] * scale, out=e[i])
            e[i] /= part[i, i]
            block[i + 1 :].addr_(part[i, i + 1 :], e[i], alpha=-1)
        error += e.square().sum(0)
        work[last:].addmm_(u[first:last, last:].T, e, alpha=-1)
    best = error.reshape(FINALISTS, rows).argmin(0)
    columns = best * rows + torch.arange(rows)
    result = torch.empty_like(w)
    result[:, order] = (q[:, columns] * scale[columns]).T
    return result


def relative_error(w, result, h):
    difference = (w - result).double()
    return (((difference @ h.double()) * difference).sum() / ((w.double() @ h.double()) * w.double()).sum()).item()


def run_torch(w, h):
    clock = time.process_time if options.cpu else time.perf_counter
    start = clock()
    result = gptq(w, h, options.bits)
    seconds = clock() - start
    return seconds, relative_error(w, result, h)


def run_moec(folder, rows, cols):
    command = [options.gptq_speed, folder, str(rows), str(cols), str(options.bits)]
    environment = {"OMP_NUM_THREADS": str(options.threads), "OPENBLAS_NUM_THREADS": str(options.threads)}
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.split()
    return float(found[1 if options.cpu else 0]), float(found[2])


totals = {"torch": [0.0] * options.repeat, "moec": [0.0] * options.repeat}
print(f"{options.bits} bits, {options.threads} threads; {'CPU ' if options.cpu else ''}seconds a matrix, median of {options.repeat}")
print("| matrix | in the model | PyTorch | moec | ratio | error left, PyTorch | moec |")
print("|---|---:|---:|---:|---:|---:|---:|")
generator = torch.Generator().manual_seed(1)
for (rows, cols), times in SHAPES.items():
    w, h = problem(rows, cols, generator)
    with tempfile.TemporaryDirectory() as folder:
        w.numpy().tofile(Path(folder) / "w")
        h.numpy().tofile(Path(folder) / "h")
        run_torch(w[:32], h)  # warm
        of_torch, of_moec = [], []
        for i in range(options.repeat):
            of_torch.append(run_torch(w, h))
            of_moec.append(run_moec(folder, rows, cols))
            totals["torch"][i] += times * of_torch[-1][0]
            totals["moec"][i] += times * of_moec[-1][0]
    a, b = statistics.median(t for t, _ in of_torch), statistics.median(t for t, _ in of_moec)
    print(f"| {rows} × {cols} | {times} | {a:.3f} | {b:.3f} | {a / b:.1f} | {of_torch[0][1]:.6f} | {of_moec[0][1]:.6f} |")
for i in range(options.repeat):
    a, b = totals["torch"][i], totals["moec"][i]
    print(f"whole model, run {i + 1}: PyTorch {a:.2f} s, moec {b:.2f} s, {a / b:.2f} times")
