"""What rank 0 shows at the end: a line for every rank with the main figures of its record, and who failed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bench.errors import plain
from bench.fleet.gathering import Gathering, Host
from bench.record.intervals import Interval
from bench.report.classes import Headline, headline
from bench.report.columns import Column
from bench.report.text import interval

CONTESTANT = "c"  # whose share of the roof is shown: every session has it


class Line(NamedTuple):
    """A rank. machine, trust and figures are those of its record, if that is a good one."""

    label: str
    host: Host
    machine: str | None
    trust: str | None
    figures: Headline | None

    def as_dict(self) -> dict[str, Any]:
        """Rates in GFLOP/s and GB/s."""
        host = self.host
        return {
            "host": host.name,
            "rank": host.rank,
            "good": host.reason is None,
            "reason": host.reason,
            "record": str(host.path) if host.path else None,
            "there_before": host.there,
            "on_its_host": host.place,
            "machine": self.machine,
            "trust": self.trust,
            **(self.figures.as_dict() if self.figures else {}),
        }


def lines(gathering: Gathering) -> list[Line]:
    return [_line(gathering.label(host), host) for host in gathering.hosts]


def _line(label: str, host: Host) -> Line:
    metrics = host.judged.metrics if host.judged and not host.judged.reason else None
    if metrics is None:
        return Line(label, host, None, None, None)
    machine = metrics.record["machine"]
    name = plain(machine["cpu"]["model"] or machine["id"])
    return Line(label, host, name, metrics.trust["grade"], headline(metrics))


def _figure(known: Callable[[Headline], Interval | None], digits: int, scale: float = 1.0) -> Callable[[Line], str]:
    """A cell: a figure with its interval."""

    def cell(line: Line) -> str:
        found = known(line.figures) if line.figures else None
        return interval(found.scaled(scale).as_dict(), digits) if found else "-"

    return cell


def _record(line: Line) -> str:
    if line.host.reason:
        return "incomplete" if line.machine else "kept apart" if line.host.path else "none"
    return "there before" if line.host.there else "good"


RANKS: Sequence[Column[Line]] = (
    Column("host", lambda one: one.label, left=True),
    Column("machine", lambda one: one.machine or "-", left=True),
    Column("record", _record, left=True),
    Column("trust", lambda one: one.trust or "-", left=True),
    Column("threads", lambda one: str(one.figures.threads) if one.figures else "-"),
    Column("peak, GFLOP/s", _figure(lambda of: of.peak, 0, 1e-9)),
    Column("read, GB/s", _figure(lambda of: of.read, 1, 1e-9)),
    Column("ridge, FLOP/byte", _figure(lambda of: of.ridge, 2)),
    Column(
        "% of roof",
        _figure(lambda of: of.percent.get(CONTESTANT), 0),
        "Medians with 95 % intervals; % of roof: geometric mean of all kernels in C.",
    ),
)


def failures(found: Sequence[Line]) -> list[str]:
    """Who isn't good, why, and where what there is of it lies."""
    said = []
    for one in found:
        if one.host.reason:
            where = [f"here {one.host.path}"] if one.host.path else []
            where += [f"on its host {one.host.place}"] if one.host.place else []
            said.append(plain(f"{one.label}: {one.host.reason}{''.join(f'; {text}' for text in where)}"))
    return said
