"""python -m bench.machine: this machine as far as it matters to a measurement: CPU, caches, limits, versions."""

from collections.abc import Sequence
from typing import Any

from bench.cli import Parser, console, print_json, run
from bench.host.facts import describe
from bench.quantities import plural, size
from bench.report.columns import Column
from bench.report.tables import table

FACTS: Sequence[Column[tuple[str, str]]] = (
    Column("", lambda line: line[0], left=True),
    Column("", lambda line: line[1], left=True),
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = Parser("machine", "Describe this machine as far as it matters to a measurement.").parse_args(arguments)
    found = describe()
    if options.json:
        print_json(found)
        return 0
    console().print(table(found["id"], FACTS, [line for key, value in found.items() for line in _lines(key, value)]))
    return 0


def _lines(key: str, value: Any) -> list[tuple[str, str]]:
    """Rows of the table: one per fact, nested facts and lists of them under the name of the outer one."""
    if isinstance(value, dict):
        return [row for name, inner in value.items() for row in _lines(f"{key}.{name}", inner)]
    if key == "caches":
        return [(key, _cache(cache)) for cache in value]
    if key == "blas":
        return [(key, ", ".join(f"{name} {shown}" for name, shown in info.items())) for info in value]
    if key == "notes":
        return [(key, note) for note in value]
    if "bytes" in key:
        return [(key, _size(value))]
    return [(key, "-" if value is None else str(value))]


def _cache(of: dict[str, Any]) -> str:
    known = of["shared_by"] if of["shared_by"] is None else plural(of["shared_by"], "CPU")
    lines = f"{_size(of['bytes'])}, lines of {of['line_bytes']} bytes"
    return f"L{of['level']} {of['type']}: {lines}, shared by {known}, {of['instances']} reachable"


def _size(bytes_: int | None) -> str:
    return "-" if bytes_ is None else size(bytes_)


if __name__ == "__main__":
    run(main)
