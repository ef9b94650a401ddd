"""Counts and sizes in words, spelled alike in all rooms."""

UNITS = ("B", "KiB", "MiB", "GiB")


def plural(count: int, noun: str, many: str = "") -> str:
    """ "1 core", "2 cores"; many: the noun of several, where it isn't the noun and an s."""
    return f"{count} {noun if count == 1 else many or f'{noun}s'}"


def size(count: float) -> str:
    """Bytes in the binary units that caches and memory come in: "32 KiB", "23.5 GiB"."""
    power = min(max(int(count).bit_length() - 1, 0) // 10, len(UNITS) - 1)
    value = count / 1024**power
    return f"{value:.{4 if value >= 1000 else 3}g} {UNITS[power]}"
