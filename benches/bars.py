#!/usr/bin/env python3
"""bars.py FOLDER: holds the figures of a run of benches/gpu against the bars of BARS.md, and prints Markdown.

Reads FOLDER/results.jsonl, one part of the run on each line, and the table in BARS.md beside this file.
Exit code 0: the summary was written, whatever it says. Exit code 2: a file is missing or malformed.
"""

import json
import re
import sys
from pathlib import Path

MIB = 1 << 20


def fail(sentence):
    print(f"bars: {sentence}", file=sys.stderr)
    sys.exit(2)


class Unknown(Exception):
    """Why there is no figure, in one clause."""


class Run:
    """What the parts of a run found, by name."""

    def __init__(self, lines):
        self.parts = {line["part"]: line for line in lines}

    def result(self, name):
        """The JSON that a part printed."""
        part = self.parts.get(name)
        if part is None:
            raise Unknown(f"the part {name} did not run")
        if part["result"] is None:
            raise Unknown(why_none(part))
        return part["result"]

    def products(self, names):
        """The benchmarks of products that have a result, or why none has."""
        found, reasons = [], []
        for name in names:
            try:
                found.append(self.result(name))
            except Unknown as reason:
                reasons.append(str(reason))
        if not found:
            raise Unknown(", and ".join(reasons))
        return found

    def fastest(self, names, kernel, wanted):
        """The fastest row of each wanted shape whose kernel starts so, by shape, with the benchmark it is from."""
        best = {}
        benchmarks = self.products(names)
        for bench in benchmarks:
            for row in bench["rows"]:
                shape = tuple(row["shape"])
                if not row["kernel"].startswith(kernel) or not wanted(shape):
                    continue
                if shape not in best or row["median_seconds"] < best[shape][0]["median_seconds"]:
                    best[shape] = (row, bench)
        if best:
            return best
        for bench in benchmarks:
            for left in bench["left_out"]:
                if left["operation"].startswith(kernel) and wanted(tuple(left["shape"])):
                    raise Unknown(f"left out: {left['reason']}")
        raise Unknown(f"no row of {kernel} has such a shape")


def why_none(part):
    if part["exit"] is None:
        return f"{part['part']}: {part['why']}"
    if part["exit"] in (124, 137):
        return f"the part {part['part']} reached its limit of {part['limit_seconds']} s"
    return f"the part {part['part']} ended with exit code {part['exit']} and without a result"


def packed_bytes(shape):
    return shape[0] * shape[1] / 4


# The parts that measure products of one row of activations.
GEMV = ["bars", "gemv"]


def number(value, what):
    if value is None:
        raise Unknown(f"{what} was not measured")
    return value


def gemv_large(run):
    rows = run.fastest(GEMV, "gemv_ternary", lambda shape: packed_bytes(shape) >= 128 * MIB)
    return min(row["percent_of_read"] for row, _ in rows.values())


def gemv_16_mib(run):
    rows = run.fastest(GEMV, "gemv_ternary", lambda shape: packed_bytes(shape) == 16 * MIB)
    return min(row["percent_of_read"] for row, _ in rows.values())


def over(run, key, what):
    rows = run.fastest(GEMV, "gemv_ternary", lambda shape: shape == (16384, 16384))
    return number(rows[16384, 16384][0][key], f"{what} at that shape")


def matmul_rate(run):
    shape = (4096, 4096, 4096)
    row, bench = run.fastest(["matmul"], "matmul_ternary", lambda other: other == shape)[shape]
    rate = number(bench["dot4_i8_ops_per_second"], "the rate of integer dot products")
    return 100 * row["gops_per_s"] * 1e9 / rate


def epoch(run):
    train = run.result("train")
    if train["batch"] != 128:
        raise Unknown(f"the batch was {train['batch']}")
    return train["seconds_per_epoch"]


def decode(run):
    rows = [row for row in run.result("generate")["rows"] if "text" in row["test"]]
    return min(100 * number(row["share_of_bound"], f"the bound of {row['name']}") for row in rows)


# How each figure of BARS.md is found.
FIGURES = {
    "gemv_large": gemv_large,
    "gemv_16_mib": gemv_16_mib,
    "gemv_over_f16": lambda run: over(run, "ratio_to_f16", "f16"),
    "gemv_over_f32": lambda run: over(run, "ratio_to_f32", "f32"),
    "matmul_rate": matmul_rate,
    "epoch": epoch,
    "dispatches": lambda run: run.result("train")["dispatches_per_step"],
    "decode": decode,
}


def bars(text):
    """The rows of the table: name, figure, comparison, number, unit."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `") or len(cells) != 3:
            continue
        name, limit = cells[0].strip("`"), re.fullmatch(r"(>=|<=) ([0-9.]+) ?(.*)", cells[2])
        if limit is None:
            fail(f"the limit of {name} in BARS.md is {cells[2]!r}: write >= or <=, a number, a unit")
        found.append((name, cells[1], limit[1], float(limit[2]), limit[3]))
    wrong = {name for name, *_ in found} ^ FIGURES.keys()
    if wrong:
        fail(f"BARS.md and bars.py do not name the same bars; they differ in {', '.join(sorted(wrong))}")
    return found


def figure(value, unit=""):
    return f"{value:.4g} {unit}".strip()


def table(run, rows):
    lines = ["| bar | limit | here | |", "|---|---|---|---|"]
    for name, what, sign, limit, unit in rows:
        said = f"{sign} {limit:g} {unit}".strip()
        try:
            value = FIGURES[name](run)
        except Unknown as reason:
            lines.append(f"| {what} | {said} | - | not measured: {reason} |")
            continue
        met = value >= limit if sign == ">=" else value <= limit
        lines.append(f"| {what} | {said} | {figure(value, unit)} | {'met' if met else 'missed'} |")
    return lines


def beside(run):
    """Figures that have no bar, as far as they were measured."""
    rows = []

    def add(what, find):
        try:
            rows.append(f"| {what} | {find()} |")
        except Unknown as reason:
            rows.append(f"| {what} | not measured: {reason} |")

    def product(shape, key, unit):
        row = run.fastest(GEMV, "gemv_ternary", lambda other: other == shape)[shape][0]
        return f"{figure(row[key], unit)} by {row['kernel']} {row['overrides']}".strip()

    def reached():
        train = run.result("train")
        seconds = number(train["seconds_to_98_5_percent"], f"98.5 % in {len(train['epoch_seconds'])} epochs")
        return figure(seconds, "s")

    def same(kind, shape):
        """PyTorch's product in one type, and how many times as fast ours with trits is."""
        torch = run.result("torch")
        rows = [row for row in torch["gemv"] if row["dtype"] == kind and tuple(row["shape"]) == shape]
        if not rows:
            raise Unknown("no such shape")
        seconds = rows[0]["median_seconds"]
        ours = run.fastest(GEMV, "gemv_ternary", lambda other: other == shape)[shape][0]["median_seconds"]
        return f"{figure(1e6 * seconds, 'µs')}; trits here are {seconds / ours:.2f} times as fast"

    add("read bandwidth", lambda: figure(run.products(GEMV)[0]["read_gb_per_s"], "GB/s"))
    for rows_, cols in [(8192, 8192), (16384, 16384)]:
        add(f"`gemv_ternary` {rows_} x {cols}", lambda: product((rows_, cols), "gweights_per_s", "Gweights/s"))
    add("test accuracy after the last epoch", lambda: f"{100 * run.result('train')['test_accuracy']:.2f} %")
    add("seconds from the start of the program to 98.5 %", reached)
    add("digest of `verify`, of a network after two epochs on this device", lambda: f"`{run.result('verify')['digest']}`")
    def spoken(row):
        return f"{figure(row['tokens_per_second'], 'tokens/s')}, bound by {row['binds'] or 'nothing that is known'}"

    for row in run.parts.get("generate", {}).get("result") and run.result("generate")["rows"] or []:
        add(f"2B4T's shape, {row['name']}", lambda row=row: spoken(row))
    for way in ["eager", "graphs"]:
        add(f"PyTorch, {way}: seconds of an epoch",
            lambda: figure(number(run.result("torch")["epoch"][way], f"{way} on this device"), "s"))
    for kind in ["bf16", "f32"]:
        add(f"PyTorch, {kind}: 16384 x 16384 times one row", lambda: same(kind, (16384, 16384)))
    return ["| beside the bars | here |", "|---|---|"] + rows


def parts(run):
    lines = ["| part | exit code | seconds | its limit |", "|---|---|---|---|"]
    for part in run.parts.values():
        code = part["why"] if part["exit"] is None else part["exit"]
        lines.append(f"| {part['part']} | {code} | {part['seconds']} | {part['limit_seconds']} |")
    return lines


def main():
    if len(sys.argv) != 2:
        fail("give the folder of a run, and nothing else")
    try:
        lines = Path(sys.argv[1], "results.jsonl").read_text().splitlines()
        run = Run([json.loads(line) for line in lines])
        rows = bars(Path(__file__).with_name("BARS.md").read_text())
        print("\n".join(table(run, rows) + [""] + beside(run) + [""] + parts(run)))
    except (OSError, ValueError, KeyError) as error:
        fail(f"{sys.argv[1]}: {error!r}")


main()
