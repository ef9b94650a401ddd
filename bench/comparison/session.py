"""What a comparison takes from a session: of every row two logarithms, its speed and its share of the roof.

Rows of two sessions are the same measurement where their keys are equal. Threads enter by their role, which every
machine has.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bench.comparison.facts import facts_of
from bench.comparison.families import Key, allowed, cores_of, key_of, role
from bench.files import PLACES, without_folders
from bench.record.format import Figures, Record, RowFigures, Trust
from bench.record.intervals import median_interval, student
from bench.record.metrics import Metrics
from bench.record.roofs import Peak, Roofs, roofs
from bench.record.row import Row, arithmetic, counted, multiplied
from bench.record.runs.run import Run, good

HALF = 1.96  # standard errors in half of a 95 % interval of one visit


class Value(NamedTuple):
    """What a session found of one row.

    speed        log of calls per second; of a probe, of what it counts per second
    speed_error  its standard error within the session
    share        log of the share of the roof in the same rounds; nan where there is none
    """

    speed: float
    speed_error: float
    share: float
    share_error: float

    @property
    def seconds(self) -> float:
        """Of a call; of a probe, per unit that it counts."""
        return math.exp(-self.speed)


class Roof(NamedTuple):
    """What a row's share is one of: a peak, and reads of a level on so many threads; own: its ISA's own peak."""

    type: str
    isa: str
    own: bool
    level: str
    threads: int


@dataclass(frozen=True)
class Session:
    """A record, as far as it is compared.

    grade  of its trust; None: no evidence
    cores  physical ones that it could use; None: unknown
    group  its making, which replicates share: machine, ISA, CPUs, commit, options, roles of threads
    roofs  by role: peak in FLOP/s, read in bytes/s, ridge in FLOP/byte with its interval
    facts  whatever may explain a difference, in words
    digest its record's
    held   of each kernel row the roofs that it can be held against, as values have it first; none: it has no roof
    under  a row's share of another of these, and its error, as Value has them; None: they aren't known
    once   rows, and the roles of roofs, that one visit measured: nothing in the session tells whether they repeat
    """

    name: str
    machine: str
    started: str
    grade: str | None
    isa: str
    cores: int | None
    group: tuple[str, ...]
    roofs: Mapping[str, Mapping[str, float]]
    facts: Mapping[str, str]
    values: Mapping[Key, Value]
    digest: str | None = None
    held: Mapping[Key, Sequence[Roof]] = field(default_factory=dict)
    under: Callable[[Key, Roof], tuple[float, float]] | None = None
    once: Collection[Key | str] = frozenset()


@dataclass(frozen=True)
class _Under:
    """Session.under of a record's rows; a class, since sessions go from process to process."""

    metrics: Metrics
    rows: Mapping[Key, Row]

    def __call__(self, key: Key, roof: Roof) -> tuple[float, float]:
        row = self.rows[key]
        share = self.metrics.share_of(row, (roof.type, roof.isa))
        figure = median_interval(share.values, share.visits).as_dict() if share else None
        return _figure(figure, row["visits"])


def session(metrics: Metrics, name: str) -> Session:
    """Of a record with its figures."""
    found = _session(metrics.record, metrics.pairs, metrics.trust, _roofs(metrics), name)
    rows = dict(_keyed(metrics.record, metrics.rows))

    whose = (" ".join(_whose(metrics.record, of.best_peaks)) for of in metrics.roofs.values() if of.best_peaks)
    facts = {**found.facts, "peak of": ", ".join(dict.fromkeys(whose)) or "unknown"}
    held, once = _held(rows, metrics.roofs), _once(metrics.record, rows, metrics.roofs)
    return replace(found, facts=facts, held=held, under=_Under(metrics, rows), once=once)


def stored(record: Record, name: str) -> Session:
    """Of a record with the figures that it stores; with derived ones where it stores none."""
    figures = record["figures"] or Metrics(record).as_dict()
    pairs = list(zip(record["rows"], figures["rows"], strict=True))
    found = _session(record, pairs, figures["trust"], _stored_roofs(record, figures), name)
    rows, known = dict(_keyed(record, record["rows"])), roofs(record["rows"])
    return replace(found, held=_held(rows, known), once=_once(record, rows, known))


def _once(record: Record, rows: Mapping[Key, Row], known: Mapping[int, Roofs]) -> frozenset[Key | str]:
    """What one visit measured; of roofs, the peak or the read of memory that make the ridge."""
    visits: list[tuple[Key | str, Sequence[int]]] = [(key, row["visits"]) for key, row in rows.items()]
    visits += ((_run_key(record, run), run["visits"]) for run in record.get("runs", []))
    for threads, of in known.items():
        best = [of.peak_series[_whose(record, of.best_peaks)]] if of.peak_series else []
        makers = [*best, *(of.read_series[level] for level in ("DRAM",) if level in of.read_series)]
        visits += ((role(threads, record["machine"]), series.visits) for series in makers)
    return frozenset(key for key, of_key in visits if len(set(of_key)) < 2)


def _session(
    record: Record,
    pairs: Sequence[tuple[Row, RowFigures]],
    trust: Trust,
    heads: Mapping[str, Mapping[str, float]],
    name: str,
) -> Session:
    machine = record["machine"]
    values = dict(_rows(record, pairs)) | dict(_runs(record))
    given = without_folders(record["options"] or {})  # older records have them
    options = {k: v for k, v in given.items() if k.strip("-") not in OWN}
    roles = ",".join(sorted({key.role for key in values}))
    isa, commit, build = record["session"]["isa"], machine.get("commit") or "unknown", machine["build"]
    if commit.endswith("-dirty"):  # what was built of it, then, tells which
        commit += f" {build.get('module_sha256')} {build.get('sources_sha256')}"
    return Session(
        name,
        machine["id"],
        record["started"] or record["ended"],
        trust["grade"],
        isa,
        cores_of(machine),
        (machine["id"], isa, allowed(machine), commit, str(sorted(options.items())), roles),
        heads,
        facts_of(record, options),
        values,
        record["digest"],
    )


OWN = ("threads", *PLACES, "json", "arguments")
"""Options that don't make sessions different: where files go, and threads, whose roles are compared as they are."""


def _figure(figure: Any, visits: Sequence[int]) -> tuple[float, float]:
    """The log of a figure with an interval, and its standard error."""
    if not isinstance(figure, Mapping):
        return math.nan, math.nan
    low, high = max(figure["low"], 1e-300), max(figure["high"], 1e-300)
    count = len(set(visits))
    errors = student(max(count - 1, 2)) if count > 1 else HALF  # as bench.record.intervals makes them
    return math.log(figure["value"]), (math.log(high) - math.log(low)) / (2 * errors)


def _rows(record: Record, pairs: Sequence[tuple[Row, RowFigures]]) -> Iterator[tuple[Key, Value]]:
    """By key and value; rows with one key, such as probes of several sizes, are numbered, the smallest first.

    The probes of a session with kernels are its roofs: they are in the head of a page, and not judged.
    """
    figures = {id(row): of for row, of in pairs}
    yield from ((key, _value(row, figures[id(row)])) for key, row in _keyed(record, [row for row, _ in pairs]))


def _keyed(record: Record, rows: Sequence[Row]) -> Iterator[tuple[Key, Row]]:
    met: dict[Key, int] = {}
    kernels = any(row["kind"] == "kernel" for row in rows)
    for row in sorted(rows, key=lambda row: row["dims"].get("n", 0)):
        if kernels and row["kind"] == "probe":
            continue
        key = key_of(row, record)
        met[key] = met.get(key, -1) + 1
        yield key._replace(rank=met[key]), row


def _held(rows: Mapping[Key, Row], known: Mapping[int, Roofs]) -> dict[Key, list[Roof]]:
    """Of each kernel row the roofs that it can be held against, that of its figures first."""
    met: dict[Any, list[Roof]] = {}  # by what the choice goes by: few rows differ in it
    found = {}
    for key, row in rows.items():
        if row["kind"] == "kernel":
            of = (*(row[name] for name in ("operation", "backend", "isa", "level", "threads")), *row["types"].items())
            if of not in met:
                met[of] = _candidates(row, known[row["threads"]]) if row["threads"] in known else []
            found[key] = met[of]
    return found


def _candidates(row: Row, known: Roofs) -> list[Roof]:
    if row["level"] not in known.read_series:
        return []
    own = {type_: known.own(type_, row["backend"], row["isa"]) for type_ in (multiplied(row), arithmetic(row))}
    peaks = known.candidates(own, row["isa"])
    return [Roof(*peak, peak == own[peak[0]], row["level"], row["threads"]) for peak in peaks]


def _value(row: Row, figures: RowFigures) -> Value:
    slowness, error = _figure(figures["seconds"], row["visits"])
    units = math.log(counted(row)) if row["kind"] == "probe" else 0.0
    percent = figures.get("percent_of_roof")
    share, share_error = _figure(percent, row["visits"])
    return Value(units - slowness, error, share - math.log(100), share_error)


def _runs(record: Record) -> Iterator[tuple[Key, Value]]:
    """Whole models and steps of training: the one place that knows how a record has them."""
    for run in record.get("runs", []):
        kept = good(run)
        seconds = median_interval([run["seconds"][i] for i in kept], [run["visits"][i] for i in kept]).as_dict()
        slowness, error = _figure(seconds, run["visits"])
        yield _run_key(record, run), Value(-slowness, error, math.nan, math.nan)


def _run_key(record: Record, run: Run) -> Key:
    dims = [("length", run["length"]), *([("interval", run["interval"])] if run["interval"] else [])]
    types = "-".join(dict.fromkeys([*run["types"].values(), *filter(None, [run.get("linear")])]))
    place = role(run["threads"], record["machine"])
    return Key("run", run["model"]["name"], types, run["backend"], tuple(dims), run["phase"], False, place)


def _roofs(metrics: Metrics) -> dict[str, dict[str, float]]:
    """By role."""
    found = {}
    for threads, of in metrics.roofs.items():
        peaks = {key: peak.value for key, peak in of.peaks.items()}
        ridges = {key: ridge.as_dict() for key, ridge in of.ridges.items()}
        reads = {level: rate.value for level, rate in of.bandwidths.items()}
        found[role(threads, metrics.record["machine"])] = _headline(metrics.record, peaks, ridges, reads)
    return found


def _stored_roofs(record: Record, figures: Figures) -> dict[str, dict[str, float]]:
    """The same from figures that a record stores."""
    found = {}
    for of in figures["ceilings"]:
        peaks = {(peak["type"], peak["isa"]): peak["flops"]["value"] for peak in of["peaks"]}
        ridges = {(ridge["type"], ridge["isa"]): ridge["ridge"] for ridge in of["ridges"]}
        reads = {rate["level"]: rate["bytes"]["value"] for rate in of["bandwidths"]}
        found[role(of["threads"], record["machine"])] = _headline(record, peaks, ridges, reads)
    return found


def _whose(record: Record, peaks: Mapping[Peak, float]) -> Peak:
    return max(peaks, key=lambda key: (key == ("f32", record["session"]["isa"]), peaks[key]))


def _headline(
    record: Record,
    peaks: Mapping[tuple[str, str], float],
    ridges: Mapping[tuple[str, str], Mapping[str, float]],
    reads: Mapping[str, float],
) -> dict[str, float]:
    """The peak of f32 and the session's ISA where it was measured, else the highest, with its ridge."""
    known: dict[str, float] = {}
    if peaks:
        best = _whose(record, peaks)
        known["peak"] = peaks[best]
        if best in ridges:
            ridge = ridges[best]
            known |= {"ridge": ridge["value"], "ridge_low": ridge["low"], "ridge_high": ridge["high"]}
    if "DRAM" in reads:
        known["read"] = reads["DRAM"]
    return known
