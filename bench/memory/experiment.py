"""Rematerialisation: memory and time of a step at several checkpoint intervals, held against a claim."""

from collections.abc import Sequence
from typing import Any

from bench.memory.sizes import Sizes
from bench.record.intervals import Interval
from bench.record.metrics import Metrics
from bench.record.runs.run import Run
from bench.report.text import interval

CLAIM = (20.0, 5.0)  # % more compute, times less memory
NAME = "FFN chain"
"""What a record calls the model."""


def sizes_of(run: Run) -> Sizes:
    model = run["model"]
    return Sizes(model["layers"], run["length"], model["width"], model["ffn"])


def compared(metrics: Metrics) -> list[dict[str, Any]]:
    """Every interval beside the one that keeps everything, in which memory and time are told; none without that one.

    more_time is told of steps of the same round; by_flops and uniform are what it would be by FLOPs and, of memory, in
    a chain whose checkpoints are as large as a layer's activations.
    """
    steps = [(run, f) for run, f in metrics.run_pairs if run["what"] == "training" and run["held"] and "over_unit" in f]
    whole = next((run for run, _ in steps if run["interval"] == run["model"]["layers"]), None)
    if whole is None:
        return []
    found = []
    for run, figures in sorted(steps, key=lambda pair: -(pair[0]["interval"] or 0)):
        sizes, k, held = sizes_of(run), run["interval"], run["held"]
        if sizes != sizes_of(whole) or k is None or held is None or whole["held"] is None:
            continue
        over = figures["over_unit"]
        found.append(
            {
                "interval": k,
                "peak_bytes": held["counted"],
                "traced_bytes": held["traced"],
                "predicted_bytes": sizes.peak_bytes(k),
                "less_memory": whole["held"]["counted"] / held["counted"],
                "less_memory_uniform": sizes.uniform_less_memory(k),
                "seconds": run["seconds"],
                "median": figures["seconds"],
                "more_time": {name: value - 1 for name, value in over.items()},
                "more_time_best": min(run["seconds"]) / min(whole["seconds"]) - 1,
                "more_time_by_flops": sizes.more_flops(k),
                "marked": len({i for at in run["marks"].values() for i in at}),
                "grade": figures.get("grade"),
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
