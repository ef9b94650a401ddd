"""Labels in a picture, each where it hides least: of the places it may have, the first that is free."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
"""A row of each: left, bottom, right, top in pixels."""
POINT = 2.5  # half of a marker, in pixels
LEAVING = 9.0  # times as bad to leave the frame as to hide something


class Place(NamedTuple):
    """Where a label may go: a point of the data, an offset from it in points of type, its alignment and its turn."""

    at: tuple[float, float]
    offset: tuple[float, float]
    across: str
    up: str
    turn: float = 0.0


class Labels:
    """Of one panel, whose scales and limits are set."""

    def __init__(self, axes: Axes) -> None:
        self._axes, self._taken = axes, np.empty((0, 4))
        frame = axes.get_window_extent()
        figure = axes.get_figure()
        assert figure is not None
        self._letter = figure.dpi / 72 * 0.8  # pixels of a letter's height, in points of type
        self._frame = np.array([[frame.x0, frame.y0, frame.x1, frame.y1]])

    @property
    def angle(self) -> float:
        """Degrees that a line of slope one has on the page, where both scales are logarithmic."""
        (x0, y0), (x1, y1) = self._axes.transData.transform([(1, 1), (10, 10)])
        return float(np.degrees(np.arctan2(y1 - y0, x1 - x0)))

    def avoid(self, points: Sequence[tuple[float, float]]) -> None:
        """Points of the data that no label should hide."""
        if points:
            at = self._axes.transData.transform(points)
            self._taken = np.concatenate([self._taken, np.hstack([at - POINT, at + POINT])])

    def put(self, text: str, places: Iterable[Place], size: float, color: str) -> None:
        """The label at the first place that is free, else where it hides least; nowhere without a place."""
        best: tuple[float, Annotation, Boxes] | None = None
        for place in places:
            made = self._axes.annotate(
                text,
                place.at,
                xytext=place.offset,
                textcoords="offset points",
                ha=place.across,
                va=place.up,
                rotation=place.turn,
                rotation_mode="anchor" if place.turn % 90 else "default",
                fontsize=size,
                color=color,
            )
            made.set_parse_math(False)
            boxes = self._boxes(made)
            outside = (boxes[:, 2:] - boxes[:, :2]).prod(-1) - _shared(boxes, self._frame)
            hidden = float(_shared(boxes, self._taken).sum() + LEAVING * outside.sum())
            if best is None or hidden < best[0]:
                if best:
                    best[1].remove()
                best = hidden, made, boxes
            else:
                made.remove()
            if not best[0]:
                break
        if best:
            self._taken = np.concatenate([self._taken, best[2]])

    def _boxes(self, label: Annotation) -> Boxes:
        """What a label covers; a slanting one, as a chain of boxes as high as its letters."""
        extent = label.get_window_extent()
        if not label.get_rotation() % 90:
            return np.array([[extent.x0, extent.y0, extent.x1, extent.y1]])
        height = self._letter * float(label.get_fontsize())
        count = max(2, int(np.hypot(extent.width, extent.height) / height))
        xs = np.linspace(extent.x0, extent.x1 - height, count)
        ys = np.linspace(extent.y0, extent.y1 - height, count)[:: 1 if label.get_rotation() < 180 else -1]
        return np.column_stack([xs, ys, xs + height, ys + height])


def _shared(boxes: Boxes, others: Boxes) -> Boxes:
    """Of each box, the area that it has in common with all others."""
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    high = np.minimum(boxes[:, None, 2:], others[:, 2:])
    area: Boxes = (high - low).clip(0).prod(-1).sum(-1)
    return area
