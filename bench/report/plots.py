"""What every picture shares: colours and markers, and how it is written."""

import os
from pathlib import Path

os.environ["MPLBACKEND"] = (
    "agg"  # files only; a Jupyter kernel's, which its children inherit, is in no other environment
)
import matplotlib

from bench.files import replacing

matplotlib.use("Agg")  # files only: no display needed
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

matplotlib.rcdefaults()  # a user's matplotlibrc, with LaTeX, say, or fonts that aren't here, is for other figures

__all__ = ["LOOKS", "literal", "plt", "write"]

# colour-blind safe (Okabe and Ito); the shape tells the backend, too
LOOKS = {
    "c": ("#0072B2", "o"),
    "c prepacked": ("#56B4E9", "D"),
    "numba": ("#D55E00", "s"),
    "numba prepacked": ("#E69F00", "p"),
    "blas": ("#009E73", "^"),
}


def literal(figure: Figure) -> None:
    """Dollars in names are dollars, no mathematics; before a figure is drawn or laid out."""
    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label in axis.get_ticklabels(which="both")
    }
    for text in figure.findobj(Text):
        if text not in ticks:  # those of a logarithmic axis are mathematics: 10 to the 3rd
            text.set_parse_math(False)


def write(figure: Figure, stem: Path, dpi: int) -> list[Path]:
    """Writes a figure as stem.png and stem.svg, and closes it."""
    literal(figure)
    figure.dpi = dpi
    if engine := figure.get_layout_engine():
        engine.execute(figure)  # once: savefig() lays out and draws twice for each format
    figure.set_layout_engine("none")
    png, svg = (Path(f"{stem}.{suffix}") for suffix in ("png", "svg"))
    with replacing(png, "wb") as handle:
        FigureCanvasAgg(figure).print_png(handle)  # type: ignore[no-untyped-call]
    with replacing(svg, "wb") as handle:
        FigureCanvasSVG(figure).print_svg(handle)  # type: ignore[no-untyped-call]
    plt.close(figure)
    return [png, svg]
