"""The plane of compute, memory and network: bytes of memory per byte sent, FLOPs per byte of memory.

After Checconi, Tithi and Petrini, "Ridgeline: A 2D Roofline Model for Distributed Systems" (2022): with F FLOPs, B_M
bytes of memory and B_N bytes of network a kernel stands at (B_M / B_N, F / B_M). Three lines part the plane by what
takes longest: F / peak, B_M / read bandwidth or B_N / link bandwidth. The lines and points here are measured ones.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.errors import BadInput
from bench.parallel.figures import Found, Layer, Roofs, place
from bench.parallel.figures import Place as At
from bench.parallel.model import SUMS, Wire
from bench.parallel.tables import rate
from bench.record.metrics import Metrics
from bench.report.labels import Labels, Place
from bench.report.plots import literal, plt, write
from bench.report.text import seconds

REGIONS = {"compute": "#DCEAF4", "memory": "#FBE5D6", "network": "#DDF0E7"}
INK = {"compute": "#0072B2", "memory": "#B34700", "network": "#00704F"}
COLOURS = ("#0072B2", "#D55E00", "#CC79A7", "#E69F00")  # Okabe and Ito's
MARKERS = ("o", "s", "D", "^")
ROWS = tuple(2**n for n in range(8))  # tokens of the way between decoding and prefill
FINE = 240
APART = 1.15  # times as far to the right: lines that are nearer to the main one aren't drawn
SIDES = (
    ((10, 0), "left", "center"),
    ((-10, 0), "right", "center"),
    ((0, 10), "center", "bottom"),
    ((0, -10), "center", "top"),
)
"""Where a point's label may be."""


class Corner:
    """Where the three lines meet, for a link that carries `network` bytes/s."""

    def __init__(self, roofs: Roofs, network: float) -> None:
        self.x, self.y = roofs.read / network, roofs.peak / roofs.read

    def lines(self, left: float, right: float, bottom: float, top: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Compute and memory, memory and network, compute and network, within these limits."""
        up = np.geomspace(self.y, top, FINE)
        return {
            "compute, memory": (np.geomspace(self.x, right, FINE), np.full(FINE, self.y)),
            "memory, network": (np.full(FINE, self.x), np.geomspace(bottom, self.y, FINE)),
            "compute, network": (self.x * self.y / up, up),
        }


def small(roofs: Roofs, layer: Layer) -> float:
    """Bytes/s that a layer's sums, as small as they are, get through the link."""
    at = layer.place()
    return at.sent / (SUMS * roofs.wire.sum_(layer.ranks, layer.size))


def draw(metrics: Metrics, found: Found, wires: Sequence[Wire], stem: Path) -> list[Path]:
    """Writes stem.png and stem.svg; wires: other links, whose lines are drawn, too. Raises BadInput without roofs."""
    if not found.roofs:
        raise BadInput("no plane: peak, read bandwidth or the link wasn't measured")
    figure, axes = plt.subplots(figsize=(8.2, 6.2), layout="constrained")
    panel = _Panel(axes, found, found.roofs, wires)
    panel.draw()
    axes.set_title(_note(metrics, found.roofs.wire, found.layers[0].ranks), loc="left", fontsize=7.5, color="0.35")
    literal(figure)
    figure.draw_without_rendering()  # lays out
    figure.set_layout_engine("none")
    panel.label()
    return write(figure, stem, dpi=150)


def _note(metrics: Metrics, wire: Wire, ranks: int) -> str:
    """What was measured where and when; what the dashed lines are."""
    record = metrics.record
    kind = record["interconnect"]["link"]["kind"]
    where = f"{record['machine']['cpu']['model']}, {record['ended'][:10]}, trust {metrics.trust['grade'] or '-'}"
    link = f"{ranks} ranks, {kind}: {rate(wire.beta)}, {seconds(wire.alpha)}"
    return f"{where}; {link}\ndashed: the network's lines with messages as small as a layer's, and with other links"


class _Panel:
    """draw() comes first; label() when the page is laid out, for it measures."""

    def __init__(self, axes: Axes, found: Found, roofs: Roofs, wires: Sequence[Wire]) -> None:
        self.axes, self.layers = axes, found.layers
        self.main = Corner(roofs, roofs.wire.beta)
        sums = {f"{layer.size / 1024:.3g} KiB at a time": Corner(roofs, small(roofs, layer)) for layer in self.layers}
        others = sums | {wire.name: Corner(roofs, wire.beta) for wire in wires}
        self.others = {name: one for name, one in others.items() if one.x > APART * self.main.x}
        self.points = [(layer, _xy(layer.place())) for layer in self.layers]
        first = self.layers[0]
        self.path = [_xy(place({**first.dims, "m": m}, first.ranks)) for m in ROWS if m <= max(1, first.dims["keys"])]
        at = [
            *self.path,
            *(xy for _, xy in self.points),
            *((one.x, one.y) for one in (self.main, *self.others.values())),
        ]
        xs, ys = zip(*at, strict=True)
        self.x, self.y = (min(xs) / 25, max(xs) * 8), (min(ys) / 5, max(ys) * 5)

    def draw(self) -> None:
        axes, corner = self.axes, self.main
        axes.set(
            xscale="log",
            yscale="log",
            xlim=self.x,
            ylim=self.y,
            xlabel="memory intensity (bytes of memory per byte sent)",
            ylabel="arithmetic intensity (FLOP per byte of memory)",
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        x = np.array([*np.geomspace(self.x[0], corner.x, FINE), *np.geomspace(corner.x, self.x[1], FINE)])
        edge = np.maximum(corner.y, corner.x * corner.y / x)  # above it compute takes longest
        for name, low, high, where in (
            ("compute", edge, self.y[1], x > 0),
            ("memory", self.y[0], edge, x >= corner.x),
            ("network", self.y[0], edge, x <= corner.x),
        ):
            axes.fill_between(x, low, high, where=where, color=REGIONS[name], lw=0, zorder=0)
        for line in corner.lines(*self.x, *self.y).values():
            axes.plot(*line, color="black", lw=1.6, zorder=2)
        for other in self.others.values():
            lines = other.lines(*self.x, *self.y)
            for name in ("memory, network", "compute, network"):
                axes.plot(*lines[name], color="0.35", lw=0.9, ls="--", zorder=1.5)
        axes.plot(*zip(*self.path, strict=True), color="0.45", lw=0.8, marker=".", ms=3, zorder=2.5)
        for (_, (across, up)), colour, marker in zip(self.points, COLOURS, MARKERS, strict=False):
            axes.plot(across, up, color=colour, marker=marker, ms=8, mec="white", mew=0.8, ls="none", zorder=4)

    def label(self) -> None:
        labels, corner = Labels(self.axes), self.main
        for one in (corner, *self.others.values()):
            for xs, ys in one.lines(*self.x, *self.y).values():
                labels.avoid([at for at in zip(xs, ys, strict=True) if self.x[0] < at[0] < self.x[1]])
        labels.avoid(_between(self.path))
        labels.avoid([at for _, at in self.points])
        for (layer, here), colour in zip(self.points, COLOURS, strict=False):
            took = f"{seconds(layer.split.value)}, {layer.speedup.value:.2f} times as fast"
            labels.put(f"{layer.name}, {layer.ranks} ranks\n{took}", [Place(here, *side) for side in SIDES], 8, colour)
        right = self.x[1]
        ridge = f"peak / read bandwidth: {corner.y:.3g} FLOP/B"
        places = [Place((right, corner.y), (-4, y), "right", up) for y, up in ((3, "bottom"), (-3, "top"))]
        labels.put(ridge, places, 8, "black")
        self._upright(labels, corner, f"read / link bandwidth: {corner.x:.3g} B/B", "black", 8)
        for name, other in self.others.items():
            self._upright(labels, other, f"{name}: {other.x:.3g}", "0.25", 7)
        ends = max(self.x[0], corner.x * corner.y / self.y[1]), corner.x
        along = [(x, corner.x * corner.y / x) for x in np.geomspace(*ends, 12)[4:-4]]
        self._along(labels, f"peak / link bandwidth: {corner.x * corner.y:.3g} FLOP/B", along, "black")
        tokens = self.layers[0].dims["keys"]
        self._along(
            labels, f"the same layer, 1 to {tokens} tokens", _between(self.path)[FINE // 4 : -FINE // 4], "0.35"
        )
        self._regions(labels)

    def _along(self, labels: Labels, text: str, line: Sequence[tuple[float, float]], color: str) -> None:
        """On a line that falls as fast as one rises, on either side."""
        turn = -labels.angle
        for_line = (-np.sin(np.radians(turn)), np.cos(np.radians(turn)))
        places = [Place(at, (4 * for_line[0], 4 * for_line[1]), "center", "bottom", turn) for at in line]
        places += [Place(at, (-4 * for_line[0], -4 * for_line[1]), "center", "top", turn) for at in line]
        labels.put(text, places, 7.5, color)

    def _upright(self, labels: Labels, corner: Corner, text: str, color: str, size: float) -> None:
        """Along the line between memory and network, as low as there is room."""
        ys = np.geomspace(self.y[0], corner.y, 14)[1:8]
        places = [
            Place((corner.x, y), (x, 0), side, "bottom", 90) for y in ys for x, side in ((-3, "right"), (4, "left"))
        ]
        labels.put(text, places, size, color)

    def _regions(self, labels: Labels) -> None:
        """Their names, in the middle of what is seen of them."""
        corner, shares = self.main, (0.5, 0.35, 0.65, 0.25, 0.75, 0.15, 0.85)
        inside = {
            "compute": ((corner.x, self.x[1]), (corner.y, self.y[1])),
            "memory": ((corner.x, self.x[1]), (self.y[0], corner.y)),
            "network": ((self.x[0], corner.x), (self.y[0], corner.y)),
        }
        for name, ((left, right), (low, high)) in inside.items():
            at = [(left * (right / left) ** i, low * (high / low) ** j) for i in shares for j in shares]
            labels.put(f"bound by {name}", [Place(one, (0, 0), "center", "center") for one in at], 12, INK[name])


def _xy(at: At) -> tuple[float, float]:
    return at.memory_intensity, at.arithmetic_intensity


def _between(path: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points on a path, close to each other."""
    xs, ys = (np.log([at[i] for at in path]) for i in (0, 1))
    place = np.linspace(0, len(path) - 1, FINE)
    each = (np.exp(np.interp(place, range(len(path)), of)).tolist() for of in (xs, ys))
    return list(zip(*each, strict=True))
