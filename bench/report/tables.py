"""Figures as tables: what is printed after a session, by every command the same way."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.record.metrics import Metrics
from bench.record.row import Row
from bench.report.text import compiled_text, interval, machine_line, seconds, trust_text

STYLES = {"memory-bound": "cyan", "compute-bound": "magenta", "undecided": "yellow"}


def table(title: str, columns: Iterable[str], caption: str | None = None) -> Table:
    """A plain table; a column whose heading begins with < is left-aligned, the others hold numbers."""
    made = Table(title=title, title_justify="left", caption=caption, caption_justify="left", box=None, pad_edge=False)
    for heading in columns:
        left = heading.startswith("<")
        made.add_column(heading.lstrip("<"), justify="left" if left else "right", no_wrap=not left)
    return made


def _spread(figure: Mapping[str, float]) -> str:
    half = max(figure["high"] - figure["value"], figure["value"] - figure["low"])
    return f"±{100 * half / figure['value']:.1f} %"


def kernels_table(metrics: Metrics) -> Table:
    """One line per kernel row: layer, shape, time with interval, rates, intensity, share of roof, verdict."""
    made = table(
        "Kernels",
        (
            "<layer",
            "m",
            "n",
            "k",
            "<kernel",
            "data",
            "threads",
            "median",
            "interval",
            "GFLOP/s",
            "GB/s",
            "FLOP/B",
            "% of roof",
            "best then",
            "<verdict",
        ),
        caption="% of roof: median of the kernel over the best of the roof, "
        "min(FMA peak, FLOP/B x read bandwidth of where the data is). "
        "best then: the best sample over the best roof just before and after it, since clocks and neighbours change. "
        "GB/s and FLOP/B count what comes from there: cold weights from DRAM, otherwise every operand once. "
        "interval: 95 % bootstrap.",
    )
    last = None
    for row, f in metrics.pairs:
        if row["kind"] != "kernel":
            continue
        dims = row["dims"]
        times = f"{dims['batch']} x " if "batch" in dims else ""
        shape = (f"{times}{dims.get('m', 1)}", dims["n"], dims.get("k", ""), row["layers"])
        if last not in (None, shape):
            made.add_section()
        name = "; ".join(row["layers"]) if shape != last else ""
        last = shape
        remark = f.get("error") or f.get("note")
        text = Text(
            f["verdict"] + (f" - {remark}" if remark else ""),
            style="bold red" if "error" in f else STYLES[f["verdict"]],
        )
        made.add_row(
            name,
            *map(str, shape[:3]),
            f"{row['operation']} {row['dtype']} {row['backend']}/{row['isa']}",
            f"cold {row['level']}" if row["cold"] else f"hot {row['level']}",
            str(row["threads"]),
            seconds(f["seconds"]["value"]),
            _spread(f["seconds"]),
            f"{f['gflops']['value']:.1f}",
            f"{f['gbps']['value']:.1f}",
            f"{f['intensity']:.2f}",
            f"{f['percent_of_roof']:.0f}" if "percent_of_roof" in f else "-",
            f"{f['percent_of_roof_then']:.0f}" if "percent_of_roof_then" in f else "-",
            text,
        )
    return made


def roofs_table(metrics: Metrics) -> Table:
    """The ceilings of every thread count."""
    made = table(
        "Roofs",
        ("threads", "<ceiling", "best", "interval"),
        caption="best of all samples; interval: 95 %, blocks of rounds resampled",
    )
    for threads, roofs in metrics.roofs.items():
        for (dtype, isa), peak in roofs.peaks.items():
            made.add_row(
                str(threads),
                f"FMA peak {dtype} {isa}",
                f"{peak.value / 1e9:.1f} GFLOP/s",
                interval(peak.scaled(1e-9).as_dict(), 1),
            )
        for level, rate in roofs.bandwidths.items():
            made.add_row(
                str(threads), f"read {level}", f"{rate.value / 1e9:.1f} GB/s", interval(rate.scaled(1e-9).as_dict(), 1)
            )
    return made


def ridges_table(metrics: Metrics) -> Table:
    """The ceilings' ridge and where each backend's kernels really bend, with the ratio of the two."""
    made = table(
        "Ridge, in FLOP/byte",
        ("threads", "<dtype", "<of", "ridge [95 %]", "of ceilings'", "levels off at", "<remark"),
        caption="ceilings: FMA peak / DRAM read bandwidth. "
        "Kernels: where the best GEMMs leave their slanted roof, fitted over m and all weight matrices, cold.",
    )
    for threads, roofs in metrics.roofs.items():
        for (dtype, isa), ridge in roofs.ridges.items():
            peak = f"{roofs.peaks[dtype, isa].value / 1e9:.1f} GFLOP/s"
            made.add_row(str(threads), dtype, f"ceilings ({isa})", interval(ridge.as_dict()), "1.00", peak, "")
            for knee in metrics.knees:
                if (knee["threads"], knee["dtype"]) != (threads, dtype) or (
                    len(roofs.ridges) > 1 and isa != metrics.record["session"]["isa"]
                ):
                    continue
                found = knee["ridge"]
                made.add_row(
                    "",
                    "",
                    f"kernels: {knee['backend']}",
                    interval(found) if found else "undecided",
                    f"{found['value'] / ridge.value:.2f}" if found else "-",
                    f"{knee['flat'] / 1e9:.1f} GFLOP/s" if found else "-",
                    knee["reason"] or "",
                )
    return made


def probes_table(rows: Sequence[Row], figures: Sequence[Mapping[str, Any]]) -> Table:
    """Bandwidth probes in both byte conventions."""
    made = table(
        "Bandwidth",
        (
            "<kernel",
            "<stores",
            "<backend",
            "threads",
            "<level",
            "MiB/array",
            "best GB/s",
            "+ write-allocate",
            "median",
            "interval",
            "samples",
        ),
        caption="GB/s = 1e9 bytes/s. best and median count STREAM's bytes; "
        "+ write-allocate adds the lines that regular stores read first.",
    )
    for row, f in zip(rows, figures, strict=True):
        if "gbps" not in f:
            continue
        operation, _, flavour = row["operation"].partition("_")
        reads = operation == "read"
        ratio = f["gbps_write_allocate"]["value"] / f["gbps"]["value"]
        made.add_row(
            operation,
            {"": "none" if reads else "regular", "nt": "non-temporal"}.get(flavour, f"none; {flavour} streams"),
            f"{row['backend']}/{row['isa']}",
            str(row["threads"]),
            row["level"],
            f"{row['dims']['n'] * 8 / 2**20:.3g}",
            f"{f['best_gbps']:.2f}",
            f"{f['best_gbps'] * ratio:.2f}",
            f"{f['gbps']['value']:.2f}",
            _spread(f["gbps"]),
            str(len(row["seconds"])),
        )
    return made


def summary(metrics: Metrics) -> RenderableType:
    """The whole report of a session."""
    record = metrics.record
    parts: list[RenderableType] = [Text(machine_line(record["machine"], record["session"])), Text()]
    if any(row["kind"] == "kernel" for row in metrics.rows):
        parts += [kernels_table(metrics), Text()]
    parts += [roofs_table(metrics), Text()]
    if any(roofs.ridges for roofs in metrics.roofs.values()):
        parts += [ridges_table(metrics), Text()]
    if record["session"]["jit_seconds"]:
        parts += [Text(compiled_text(record["session"])), Text()]
    parts.append(trust_text(metrics))
    return Group(*parts)
