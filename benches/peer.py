#!/usr/bin/env python3
"""peer.py [--small]: PyTorch at what benches/gpu measures, as one JSON object on stdout.

An epoch of the same network, eager and by CUDA graphs, and matrix-vector products in bf16 and f32. The network has the
layers, the quantisers and the optimizer of `sterna bench train`. It gets random images instead of MNIST and no
augmentation, so it does less work than Sterna does. Without a GPU it computes on the CPU, where there are no graphs.
Exit code 1: the network did not learn, so its seconds count for nothing.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

DIMS = [784, 256, 128, 10]
BATCH = 128
GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")


def wait():
    if GPU:
        torch.cuda.synchronize()


class BitLinear(nn.Module):
    """RMSNorm with gain, int8 activations, ternary weights; gradients pass both roundings unchanged."""

    def __init__(self, cols, rows):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(cols))
        self.weight = nn.Parameter(torch.empty(rows, cols).uniform_(-1, 1) / cols**0.5)

    def forward(self, x):
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.gain
        s = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
        x = x + ((x * s).round().clamp(-128, 127) / s - x).detach()
        beta = self.weight.abs().mean().clamp(min=1e-5)
        w = self.weight + ((self.weight / beta).round().clamp(-1, 1) * beta - self.weight).detach()
        return F.linear(x, w)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(BitLinear(*pair) for pair in zip(DIMS, DIMS[1:]))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class Training:
    """A network and the images that it learns: of each class one picture of noise, with other noise laid over it."""

    def __init__(self, images, capturable=False):
        torch.manual_seed(0)
        self.labels = torch.randint(DIMS[-1], (images,), device=DEVICE)
        pictures = torch.rand(DIMS[-1], DIMS[0], device=DEVICE)
        self.images = pictures[self.labels] + torch.rand(images, DIMS[0], device=DEVICE)
        self.network = Network().to(DEVICE)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=3e-3, weight_decay=0.0, capturable=capturable)
        self.batch = torch.zeros(BATCH, dtype=torch.long, device=DEVICE)
        self.loss = torch.zeros((), device=DEVICE)

    def step(self):
        """One step on the images that `batch` names."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.network(self.images[self.batch]), self.labels[self.batch])
        loss.backward()
        self.optimizer.step()
        self.loss.copy_(loss.detach())

    def epoch(self, step):
        """Seconds of all steps on whole batches, and the last loss."""
        order = torch.randperm(len(self.images), device=DEVICE)
        wait()
        began = time.perf_counter()
        for start in range(0, len(order) - BATCH + 1, BATCH):
            self.batch.copy_(order[start : start + BATCH])
            step()
        wait()
        return time.perf_counter() - began, self.loss.item()

    def graph(self):
        """A step that is recorded once and replayed."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        return graph.replay


def epochs(images, count):
    """The median seconds of an epoch after the first, each way, and the last loss of each."""
    ways = ["eager", "graphs"] if GPU else ["eager"]
    found = {"eager": None, "graphs": None, "batch": BATCH, "images": images, "last_loss": {}}
    for name in ways:
        training = Training(images, capturable=name == "graphs")
        step = training.graph() if name == "graphs" else training.step
        runs = [training.epoch(step) for _ in range(count + 1)]
        found[name] = statistics.median(seconds for seconds, _ in runs[1:])
        found["last_loss"][name] = runs[-1][1]
    return found


def product(dtype, shape, rotation, samples):
    """A matrix times one row, over matrices in rotation that no cache holds together, as a lap that is replayed."""
    each = shape[0] * shape[1] * torch.finfo(dtype).bits // 8
    count = max(2, -(-rotation // each))
    matrices = [torch.randn(shape, device=DEVICE, dtype=dtype) for _ in range(count)]
    x = torch.randn(shape[1], device=DEVICE, dtype=dtype)
    out = torch.empty(shape[0], device=DEVICE, dtype=dtype)

    def lap():
        for matrix in matrices:
            torch.mv(matrix, x, out=out)

    lap()
    if GPU:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            lap()
        lap = graph.replay
    times = []
    for _ in range(samples + 1):
        wait()
        began = time.perf_counter()
        lap()
        wait()
        times.append((time.perf_counter() - began) / count)
    return {
        "dtype": {torch.bfloat16: "bf16", torch.float32: "f32"}[dtype],
        "shape": shape,
        "matrices": count,
        "median_seconds": statistics.median(times[1:]),
        "gb_per_s": 1e-9 * each / statistics.median(times[1:]),
    }


def main():
    small = sys.argv[1:] == ["--small"]
    if sys.argv[1:] and not small:
        print("peer: the only argument is --small", file=sys.stderr)
        sys.exit(2)
    shapes = [[1024, 1024]] if small else [[4096, 4096], [8192, 8192], [16384, 16384]]
    rotation, samples = (1 << 25, 5) if small else (1 << 30, 21)
    epoch = epochs(*(6000, 2) if small else (60000, 3))
    gemv = [product(dtype, shape, rotation, samples) for shape in shapes for dtype in [torch.bfloat16, torch.float32]]
    print(json.dumps({
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if GPU else "CPU",
        "epoch": epoch,
        "gemv": gemv,
    }))
    # A network that knows nothing has a loss of ln 10.
    for way, loss in epoch["last_loss"].items():
        if not loss < 2.0:
            print(f"peer: {way}: the last loss is {loss:.3f}, so the network did not learn", file=sys.stderr)
            sys.exit(1)


main()
