"""How machines are told apart: a colour (Okabe and Ito, safe for colour-blind eyes), a shape and a dash each.

Ten machines have ten shapes; colours come again after seven, with another dash.
"""

from typing import NamedTuple


class Look(NamedTuple):
    """Of one machine.

    light, dark  the colour on a light page and on a dark one
    shape        an SVG path about the origin, 10 units wide
    dash         of lines, as SVG has it; "": solid
    marker       the shape, as matplotlib calls it
    """

    light: str
    dark: str
    shape: str
    dash: str
    marker: str


def _polygon(*points: tuple[float, float]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points) + "Z"


_CIRCLE = "M-4.5,0A4.5,4.5,0,1,0,4.5,0A4.5,4.5,0,1,0,-4.5,0Z"
_CROSS = [(-1.6, -5), (1.6, -5), (1.6, -1.6), (5, -1.6), (5, 1.6), (1.6, 1.6)]
_CROSS += [(1.6, 5), (-1.6, 5), (-1.6, 1.6), (-5, 1.6), (-5, -1.6), (-1.6, -1.6)]
_DIAGONAL = [(x * 0.707 - y * 0.707, x * 0.707 + y * 0.707) for x, y in _CROSS]
_STAR = [(0, -6), (1.6, -2), (5.7, -1.9), (2.5, 0.8), (3.5, 4.9), (0, 2.5), (-3.5, 4.9), (-2.5, 0.8), (-5.7, -1.9)]

LOOKS = (
    Look("#0072B2", "#56B4E9", _CIRCLE, "", "o"),
    Look("#C44E00", "#E8833A", _polygon((-4.2, -4.2), (4.2, -4.2), (4.2, 4.2), (-4.2, 4.2)), "7 3", "s"),
    Look("#007A5A", "#2FC79B", _polygon((0, -5.2), (5, 4), (-5, 4)), "2 3", "^"),
    Look("#A8478A", "#E59CC9", _polygon((0, -5.6), (5.6, 0), (0, 5.6), (-5.6, 0)), "9 3 2 3", "D"),
    Look("#B07600", "#E69F00", _polygon((0, 5.2), (5, -4), (-5, -4)), "12 4", "v"),
    Look("#2B2B2B", "#E6E6E6", _polygon(*_CROSS), "5 2 2 2 2 2", "P"),
    Look("#7A7300", "#F0E442", _polygon(*_DIAGONAL), "3 2", "X"),
    Look("#0072B2", "#56B4E9", _polygon(*_STAR, (-1.6, -2)), "1 3", "*"),
    Look("#C44E00", "#E8833A", _polygon((0, -5.2), (5, -1.6), (3.1, 4.2), (-3.1, 4.2), (-5, -1.6)), "14 3 2 3", "p"),
    Look(
        "#007A5A",
        "#2FC79B",
        _polygon((-2.6, -4.6), (2.6, -4.6), (5.2, 0), (2.6, 4.6), (-2.6, 4.6), (-5.2, 0)),
        "8 8",
        "h",
    ),
)
MOST = len(LOOKS)
"""Machines that a page tells apart."""
