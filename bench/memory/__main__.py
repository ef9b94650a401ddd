"""python -m bench.memory: what training holds in memory, and what holding less of it costs in time, measured.

The analytic side follows Fig. 4 of Gholami et al., "AI and Memory Wall" (2024); the measured side tests its claim that
rematerialisation takes 5 times less memory for 20 % more compute.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.cli import Parser, console, print_json, run
from bench.errors import BadInput
from bench.files import output, replacing
from bench.host.placement import pinned, thread_counts
from bench.measure.timing import Samples, collect
from bench.memory.chain import Chain, Disagreement, Sizes, account
from bench.memory.training import held, printed
from bench.record.intervals import Interval, median_interval
from bench.report.plots import plt
from bench.report.tables import table
from bench.report.text import interval
from bench.workloads.model import find
from kernels.verify import WrongResult

CLAIM = (20.0, 5.0)  # % more compute, times less memory
INTERVALS = "36,24,20,16,12,8,4,2,1"


@dataclass(frozen=True)
class Point:
    """One checkpoint interval: bytes by the arena and by tracemalloc, seconds of each sample."""

    interval: int
    peak: int
    traced: int
    seconds: list[float]


def experiment(chain: Chain, intervals: Sequence[int], rounds: int, progress: Any) -> tuple[list[Point], bool]:
    """Accounts for and times a step at every interval, interleaved; and whether it came to its end.

    Raises Disagreement and WrongResult as account() does. Ctrl-C leaves the intervals that have been timed.
    """
    with pinned(chain.threads):
        progress(f"checking memory and gradients at {len(intervals)} intervals")
        bytes_ = account(chain, intervals)
        samples = [Samples(1) for _ in intervals]
        progress(f"timing {rounds} rounds")
        try:
            collect([[partial(chain.step, k)] for k in intervals], samples, [rounds] * len(intervals))
            complete = True
        except KeyboardInterrupt:
            complete = False
    points = [Point(k, *bytes_[k], s.seconds) for k, s in zip(intervals, samples, strict=True) if s.seconds]
    return points, complete


def figures(sizes: Sizes, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Every point beside the one that keeps everything, by which its memory and time are told; none without that one.

    more_time compares samples of the same round; by_flops and uniform are what it would be by FLOPs and, of memory, in
    a chain whose checkpoints are as large as a layer's activations.
    """
    whole = next((p for p in points if p.interval == sizes.layers), None)
    if whole is None:
        return []
    found = []
    for p in points:
        ratio = median_interval([a / b - 1 for a, b in zip(p.seconds, whole.seconds, strict=False)])
        found.append(
            {
                "interval": p.interval,
                "peak_bytes": p.peak,
                "traced_bytes": p.traced,
                "predicted_bytes": sizes.peak_bytes(p.interval),
                "less_memory": whole.peak / p.peak,
                "less_memory_uniform": sizes.uniform_less_memory(p.interval),
                "seconds": p.seconds,
                "median": median_interval(p.seconds).as_dict(),
                "more_time": ratio.as_dict(),
                "more_time_best": min(p.seconds) / min(whole.seconds) - 1,
                "more_time_by_flops": sizes.more_flops(p.interval),
            }
        )
    return found


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    """What the measured points say on the claim: it holds, it doesn't, or the interval leaves it undecided.

    Judged at the point that takes the fewest FLOPs for it: the luckiest of several noisy points would flatter it.
    """
    percent, times = CLAIM
    enough = [row for row in rows if row["less_memory"] >= times]
    if not enough:
        return f"not reached: at most {max(row['less_memory'] for row in rows):.1f}x less, with these layers"
    chosen = min(enough, key=lambda row: row["more_time_by_flops"])
    fastest = min(enough, key=lambda row: row["more_time"]["value"])
    more = Interval(**chosen["more_time"]).scaled(100)
    word = "holds" if more.high <= percent else "doesn't hold" if more.low > percent else "undecided"
    said = (
        f"{word} here: {chosen['less_memory']:.1f}x less took {interval(more.as_dict(), 0)} % more time at "
        f"k = {chosen['interval']}, the fewest FLOPs for it ({100 * chosen['more_time_by_flops']:.0f} % more)"
    )
    if fastest is not chosen:
        other = interval(Interval(**fastest["more_time"]).scaled(100).as_dict(), 0)
        said += f"; the fastest, k = {fastest['interval']}, took {other} %"
    return said


def _steps_table(sizes: Sizes, rows: Sequence[dict[str, Any]]) -> Table:
    made = table(
        f"Rematerialisation: {sizes.layers} FFN layers of {sizes.width} x {sizes.ffn}, {sizes.rows} tokens, f32",
        (
            "every k layers",
            "MiB",
            "tracemalloc",
            "predicted",
            "less memory",
            "uniform chain",
            "s per step",
            "more time, %",
            "best, %",
            "by FLOPs, %",
        ),
        caption="MiB: the most that a step holds beside its weights and their gradients, which take "
        f"{sizes.fixed_bytes / 2**20:.0f} MiB more. Gradients are equal in every bit. "
        "uniform chain: were a layer's activations no larger than a checkpoint. more time: median of the rounds, each "
        "over its own round's step with all kept [95 % bootstrap]; best: best over best. by FLOPs: the backward pass "
        "has twice the forward's; what stays in cache until it is needed can take less time than that.",
    )
    for row in rows:
        made.add_row(
            str(row["interval"]) + (" (all kept)" if row["interval"] == sizes.layers else ""),
            *(f"{row[name] / 2**20:.1f}" for name in ("peak_bytes", "traced_bytes", "predicted_bytes")),
            f"{row['less_memory']:.2f}x",
            f"{row['less_memory_uniform']:.2f}x",
            f"{row['median']['value']:.3f}",
            interval(Interval(**row["more_time"]).scaled(100).as_dict(), 0),
            f"{100 * row['more_time_best']:.0f}",
            f"{100 * row['more_time_by_flops']:.0f}",
        )
    return made


def training_rows() -> list[dict[str, Any]]:
    """Each row of the paper's Fig. 4 with what held() gives for it; None: the model isn't one that Model describes."""
    found = []
    for row in printed():
        ours = held(find(row.model), row.length, row.batch) if row.model else None
        found.append({**asdict(row), "held": None if ours is None else asdict(ours) | {"total": ours.total}})
    return found


def _training_table(rows: Sequence[dict[str, Any]]) -> Table:
    names = ("parameters", "optimizer", "activations")
    made = table(
        "Training memory in f32: the paper's Fig. 4, and this model's count of it",
        ("<model", "tokens", "batch", *(f"{name}, GB" for name in names), "gradients, GB", "total, GB", "<remark"),
        caption="printed / counted. The paper's totals have no gradients, the counted ones do. Counted: Adam, no "
        "dropout, everything that the backward pass reads. How the paper counts activations isn't stated.",
    )
    for row in rows:
        ours = row["held"]
        both = [f"{row[name] / 1e9:.2f}" + (f" / {ours[name] / 1e9:.2f}" if ours else "") for name in (*names, "total")]
        gradients = f"{ours['gradients'] / 1e9:.2f}" if ours else ""
        remark = row["remark"] or ("" if ours else "not a stack of equal Transformer layers: not counted")
        tokens = str(row["length"]) if ours else ""
        made.add_row(row["name"], tokens, str(row["batch"]), *both[:3], gradients, both[3], remark)
    return made


def _own_table(name: str, length: int, batch: int) -> tuple[dict[str, Any], Table]:
    model = find(name)
    try:
        ours = held(model, length, batch)
    except ValueError as error:
        raise BadInput(str(error)) from error
    parts = asdict(ours) | {"total": ours.total}
    made = table(
        f"Training memory of {model.name}, {batch} x {length} tokens, Adam, f32", (*(f"{p}, GB" for p in parts),)
    )
    made.add_row(*(f"{value / 1e9:,.2f}" for value in parts.values()))
    return {"model": model.name, "length": length, "batch": batch, **parts}, made


def draw(sizes: Sizes, rows: Sequence[dict[str, Any]], stem: Path) -> list[Path]:
    """Less memory against more time: measured, by FLOPs, of a uniform chain, and as claimed; writes stem.png, stem.svg.

    Raises BadInput where they can't be written.
    """
    figure, axes = plt.subplots(figsize=(8, 5.2), layout="constrained")
    every = range(1, sizes.layers + 1)
    flops = [100 * sizes.more_flops(k) for k in every]
    axes.plot(
        flops, [sizes.peak_bytes(sizes.layers) / sizes.peak_bytes(k) for k in every], "k-", lw=1, label="by FLOPs"
    )
    label = "by FLOPs, checkpoints as large as a layer's activations"
    axes.plot(flops, [sizes.uniform_less_memory(k) for k in every], "--", color="0.5", lw=1, label=label)
    more = [Interval(**row["more_time"]).scaled(100) for row in rows]
    less = [row["less_memory"] for row in rows]
    reach = [[m.value - m.low for m in more], [m.high - m.value for m in more]]
    middle = [m.value for m in more]
    axes.errorbar(middle, less, xerr=reach, fmt="o", color="#0072B2", capsize=3, lw=1, label="measured")
    for row, x, y in zip(rows, middle, less, strict=True):
        axes.annotate(f"k={row['interval']}", (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7.5)
    axes.scatter(*CLAIM, marker="*", s=160, c="#D55E00", zorder=4, label="claimed")
    title = f"{sizes.layers} FFN layers of {sizes.width} x {sizes.ffn}, {sizes.rows} tokens, checkpoint every k layers"
    axes.set(xlabel="more time or compute, %", ylabel="times less activation memory", title=title)
    axes.set_ylim(0)
    axes.grid(True, color="0.92", lw=0.6)
    figure.legend(fontsize=8, loc="outside lower center", ncols=2)
    paths = []
    for suffix in ("png", "svg"):
        path = Path(f"{stem}.{suffix}")
        with replacing(path, "wb") as handle:
            figure.savefig(handle, format=suffix, dpi=150)
        paths.append(path)
    plt.close(figure)
    return paths


def _parser() -> Parser:
    parser = Parser("memory", "What training holds in memory, and what holding less of it costs in time, measured.")
    parser.add_argument("--model", help="what training it holds: a model's name, or a TOML file with its numbers")
    parser.add_argument("--length", type=int, default=512, help="tokens of a sequence, for --model")
    parser.add_argument("--batch", type=int, default=1, help="sequences, for --model")
    parser.add_argument("--layers", type=int, default=48, help="of the measured chain")
    parser.add_argument("--width", type=int, default=96, help="of its layers; inside they are 4 times as wide")
    parser.add_argument("--tokens", type=int, default=192, help="that go through it together")
    parser.add_argument(
        "--intervals", default=INTERVALS, help="layers from one checkpoint to the next; the whole chain is added"
    )
    parser.add_argument("--rounds", type=int, default=8, help="timed steps at each interval; 0: measure nothing")
    parser.add_argument("--threads", default="1", help="one thread count; all: one per physical core")
    parser.add_argument("--picture", type=output, help="draw memory against time here, without .png and .svg")
    return parser


def _check(options: Any) -> tuple[Sizes, list[int], int]:
    for name in ("layers", "width", "tokens"):
        if not 1 <= getattr(options, name) <= 1 << 16:
            raise BadInput(f"--{name} {getattr(options, name)}: 1 to {1 << 16}")
    if not 0 <= options.rounds <= 1000:
        raise BadInput(f"--rounds {options.rounds}: 0 to 1000")
    if options.picture and not options.rounds:
        raise BadInput(f"--picture {options.picture}: nothing is measured with --rounds 0")
    counts = thread_counts(options.threads)
    if len(counts) != 1:
        raise BadInput(f"--threads {options.threads}: one thread count")
    try:
        wanted = {int(part) for part in options.intervals.split(",")}
    except ValueError as error:
        raise BadInput(f"--intervals {options.intervals}: give numbers of layers, separated by commas") from error
    if min(wanted) < 1:
        raise BadInput(f"--intervals {options.intervals}: at least 1 layer")
    sizes = Sizes(options.layers, options.tokens, options.width, 4 * options.width)
    if options.intervals == INTERVALS:  # those of a chain as long as the default's
        wanted = {k for k in wanted if k <= sizes.layers}
    if max(wanted) > sizes.layers:
        raise BadInput(f"--intervals {options.intervals}: the chain has {sizes.layers} layers")
    return sizes, sorted(wanted | {sizes.layers}, reverse=True), counts[0]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    sizes, intervals, threads = _check(options)
    own = _own_table(options.model, options.length, options.batch) if options.model else None
    rows: list[dict[str, Any]] = []
    complete = True
    if options.rounds:
        with console(stderr=True).status("building the chain") as status:
            try:
                chain = Chain(sizes, threads)
                points, complete = experiment(chain, intervals, options.rounds, status.update)
            except (Disagreement, WrongResult) as error:
                console(stderr=True).print(f"bench.memory: {error}")
                return 1
        rows = figures(sizes, points)
    if not complete:
        console(stderr=True).print("interrupted: what was measured so far follows")
    pictures = draw(sizes, rows, options.picture) if options.picture and rows else []
    if options.json:
        chain_json = {**asdict(sizes), "threads": threads, "fixed_bytes": sizes.fixed_bytes, "steps": rows}
        print_json(
            {
                "training": training_rows(),
                "model": own[0] if own else None,
                "rematerialisation": chain_json if rows else None,
                "pictures": list(map(str, pictures)),
            }
        )
        return 0 if complete else 130
    out = console()
    out.print(own[1] if own else _training_table(training_rows()))
    if rows:
        out.print(_steps_table(sizes, rows))
        out.print(f"Claimed: {CLAIM[1]:.0f}x less memory for {CLAIM[0]:.0f} % more compute; {verdict(rows)}.")
    for path in pictures:
        print(f"picture: {path}")
    return 0 if complete else 130


if __name__ == "__main__":
    run(main)
