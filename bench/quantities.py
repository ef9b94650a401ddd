"""Counts and sizes in words, spelled alike in all rooms."""

import math

UNITS = ("B", "KiB", "MiB", "GiB")


def plural(count: int, noun: str, many: str = "") -> str:
    """ "1 core", "2 cores"; many: the noun of several, where it isn't the noun and an s."""
    return f"{count} {noun if count == 1 else many or f'{noun}s'}"


def size(count: float) -> str:
    """Bytes in the binary units that caches and memory come in: "32 KiB", "23.5 GiB"."""
    power = min(max(int(count).bit_length() - 1, 0) // 10, len(UNITS) - 1)
    value = count / 1024**power
    return f"{value:.{4 if value >= 1000 else 3}g} {UNITS[power]}"


def places(value: float) -> int:
    """Behind the point, of three digits; none where there are as many before it."""
    return max(0, 2 - math.floor(math.log10(float(f"{abs(value):.3g}")))) if value else 0


def digits(value: float) -> str:
    """Three of them, or those before the point: "4.30", "97.6", "1765"."""
    return f"{value:.{places(value)}f}"


def spanned(value: float, low: float, high: float) -> str:
    """A figure and its interval with as many places: "4.30 [3.92, 5.00]"; alone where low and high are equal to it."""
    inside = f" [{low:.{places(value)}f}, {high:.{places(value)}f}]" if low < high else ""
    return digits(value) + inside
