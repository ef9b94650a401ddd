"""What every picture shares: colours and markers, and how it is written."""

from pathlib import Path

import matplotlib

from bench.files import replacing

matplotlib.use("Agg")  # files only: no display needed
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

__all__ = ["LOOKS", "plt", "write"]

# colour-blind safe (Okabe and Ito); the shape tells the backend, too
LOOKS = {
    "c": ("#0072B2", "o"),
    "c prepacked": ("#56B4E9", "D"),
    "numba": ("#D55E00", "s"),
    "numba prepacked": ("#E69F00", "p"),
    "blas": ("#009E73", "^"),
}


def write(figure: Figure, stem: Path, dpi: int) -> list[Path]:
    """Writes a figure as stem.png and stem.svg, and closes it."""
    paths = []
    for suffix in ("png", "svg"):
        path = Path(f"{stem}.{suffix}")
        with replacing(path, "wb") as handle:
            figure.savefig(handle, format=suffix, dpi=dpi)
        paths.append(path)
    plt.close(figure)
    return paths
