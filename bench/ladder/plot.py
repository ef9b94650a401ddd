"""The climb as a picture: C and Numba side by side on every rung, under the FMA peak of as many threads."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.ladder.steps import BACKENDS, Step
from bench.quantities import plural
from bench.record.metrics import Metrics
from bench.report.plots import LOOKS, plt, write

WIDTH = 0.36  # of a bar; rungs are 1 apart


def draw(metrics: Metrics, steps: Sequence[Step], title: str, stem: Path) -> list[Path]:
    """Draws the steps, writes stem.png and stem.svg and returns the two paths. Raises BadInput where it can't."""
    rungs = list(dict.fromkeys(step.rung for step in steps))
    backends = list(dict.fromkeys(step.backend for step in steps))
    figure, axes = plt.subplots(figsize=(9.2, 5.6), layout="constrained")
    for step in steps:
        side = backends.index(step.backend) - (len(backends) - 1) / 2
        x, rate = rungs.index(step.rung) + side * WIDTH * 1.06, step.gflops.shown
        colour = LOOKS[step.backend][0]
        label = BACKENDS[step.backend] if step.rung == rungs[0] else None
        axes.bar(x, rate.value, WIDTH, color=colour, label=label, zorder=2)
        around = [[rate.value - rate.low], [rate.high - rate.value]]
        axes.errorbar(x, rate.value, yerr=around, color="black", lw=0.9, capsize=2.5, zorder=3)
        lines = [f"{rate.value:.3g}", f"{step.percent.value:.1f} %"]
        lines += [f"x {step.gain.value:.2f}"] if step.gain else []
        axes.annotate(
            "\n".join(lines),
            (x, rate.low),
            xytext=(0, -5),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8.5,
            color="white",
            linespacing=1.4,
            zorder=4,
        )
    peaks = {(s.threads, s.isa): s.peak for s in steps}
    for (threads, isa), peak in peaks.items():
        under = [rungs.index(s.rung) for s in steps if (s.threads, s.isa) == (threads, isa)]
        left, right = min(under) - 0.5, max(under) + 0.5
        axes.plot([left, right], [peak, peak], color="black", lw=1.6, zorder=1)
        axes.annotate(
            f"FMA peak {isa}, {plural(threads, 'thread')}: {peak:.0f}",
            (left if threads == 1 else right, peak),
            xytext=(2 if threads == 1 else -2, 4),
            textcoords="offset points",
            ha="left" if threads == 1 else "right",
            va="bottom",
            fontsize=8.5,
        )
    axes.set(
        yscale="log",
        ylim=(min(s.gflops.shown.low for s in steps) / 4, max(peaks.values()) * 1.6),
        xlim=(-0.5, len(rungs) - 0.5),
        ylabel="GFLOP/s, logarithmic: equal heights are equal factors",
    )
    axes.set_xticks(range(len(rungs)), rungs, fontsize=10.5)
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, axis="y", which="major", color="0.92", lw=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.86), frameon=False, fontsize=10)
    record = metrics.record
    machine, day, trust = record["machine"], record["ended"][:10], metrics.trust["grade"] or "without a grade"
    axes.set_title(
        f"{title}\n{machine['cpu']['model']} ({machine['id'][-8:]}), {day}, trust {trust}; in the bars: GFLOP/s, "
        "share of the FMA peak, times the rung below",
        fontsize=9,
        loc="left",
        color="0.25",
    )
    return write(figure, stem, dpi=160)
