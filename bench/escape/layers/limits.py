"""What stops a kernel on cold weights: memory, or its own instructions, as it runs where memory is no limit."""

from typing import Literal

Limit = Literal["bandwidth", "unpacking", "issue", "instructions", "latency"]

NEAR = 0.75
"""Of its nearest bound: what stays below meets none, but waits: loads and instructions don't overlap."""
MOSTLY = 0.5
"""Of the peak, hot: multiply-adds alone take that share of what the core can issue."""

MEANING = (
    "Limited by: bandwidth, where the read roof is below what the kernel reads from its own L2 (hot); otherwise issue, "
    f"where that is over {100 * MOSTLY:.0f} % of the peak of its products, or unpacking: what turns stored weights "
    "into numbers; instructions, where that peak wasn't measured: one of the two; latency, where it comes within "
    f"{100 * NEAR:.0f} % of neither bound."
)


def limited_by(cold: float, roof: float, hot: float, of_peak: float | None) -> Limit:
    """cold, roof, hot: bytes/s of a kernel's weights from memory, that memory can be read at, and of the same kernel
    where they are in its cores' L2. of_peak: its share of the peak of such multiply-adds there; None: not measured.
    """
    if cold < NEAR * min(roof, hot):
        return "latency"
    if roof <= hot:
        return "bandwidth"
    if of_peak is None:
        return "instructions"
    return "issue" if of_peak > MOSTLY else "unpacking"
