"""The result format: one JSON document per session, versioned. schema/record.schema.json describes every field.

A record holds raw seconds. The figures in it are there for other tools to read: this project always derives them again.
"""

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, NotRequired, TypedDict

import orjson

from bench.record.placement import Found
from bench.record.row import Row
from bench.record.runs.run import Run, RunFigures

FORMAT = "ridgeline-record"
VERSION = 2
LARGEST = sys.float_info.max

Grade = Literal["A", "B", "C", "D"]
Verdict = Literal["memory-bound", "compute-bound", "neither", "undecided"]
Figure = dict[str, float]
"""An Interval: value, low, high."""


class Cpu(TypedDict):
    model: str | None
    vendor: NotRequired[str | None]
    family: NotRequired[str | None]
    model_number: NotRequired[str | None]
    stepping: NotRequired[str | None]
    microarchitecture: NotRequired[str | None]


class Machine(TypedDict):
    """What python -m bench.machine --json prints, and how the kernels were built; a fact that is unknown is None."""

    id: str
    cpu: Cpu
    topology: dict[str, Any]
    caches: list[dict[str, Any]]
    memory_bytes: int | None
    libraries: dict[str, str | None]
    build: dict[str, Any]
    llc_bytes_aggregate: NotRequired[int | None]
    memory_limit_bytes: NotRequired[int | None]
    cpu_quota: NotRequired[float | None]
    virtual_machine: NotRequired[str | None]
    page_bytes: NotRequired[int]
    huge_pages: NotRequired[dict[str, Any]]
    kernel: NotRequired[str | None]
    libc: NotRequired[str | None]
    python: NotRequired[str]
    blas: NotRequired[list[dict[str, Any]]]
    commit: NotRequired[str | None]
    notes: NotRequired[list[str]]


class Pair(TypedDict):
    """What two CPUs share: bench.measure.pairs. None where it couldn't be measured.

    seconds                    round trip of a cache line
    fma_together               multiply-adds per second of both at once over the sum of each alone
    read_together              the same of reads of data in L3
    """

    round: int
    cpus: list[int]
    seconds: float | None
    fma_together: float | None
    read_together: float | None
    found: Found


class Condition(TypedDict):
    """What disturbed one block of the session: bench.host.conditions. None where Linux doesn't tell."""

    round: int
    clock_hertz: float | None
    wall_seconds: float
    steal_share: float | None
    other_share: float | None
    throttled_seconds: float | None
    throttled_periods: int | None
    involuntary_switches: int


LinkKind = Literal["shared memory", "loopback", "virtual network", "network", "unknown"]


class Rank(TypedDict):
    """An MPI process. node: the host that it is on, by number: ranks with the same one share a kernel."""

    node: int
    machine: str
    cpus: list[int]


class Link(TypedDict):
    """What a message between the pair goes through, by the kernel's own counters.

    interface  that counted it, and the share of the bytes that it did; None: none counted most of them
    speed      bits/s that the interface claims; None: it claims nothing
    """

    kind: LinkKind
    interface: str | None
    share: float | None
    speed: float | None


class Interconnect(TypedDict):
    """Between whom messages went. bytes_checked: received, or summed, and compared; one wrong ends the session."""

    library: str
    ranks: list[Rank]
    pair: list[int]
    link: Link
    bytes_checked: int


class Circumstances(TypedDict):
    """Of the session."""

    isa: str
    forced: str | None
    timer_resolution: float
    cpus: dict[str, list[int]]
    placements: list[Pair]
    conditions: list[Condition]
    untrusted: list[str]
    remarks: list[str]
    jit_seconds: dict[str, float]
    vector_code: dict[str, dict[str, int | bool]]


class RowFigures(TypedDict, total=False):
    """What follows from one row; which of them, goes by what was measured."""

    seconds: Figure
    best_seconds: float
    gflops: Figure
    gbps: Figure
    best_gbps: float
    gbps_write_allocate: Figure
    intensity: float
    roof_gflops: float
    percent_of_roof: Figure
    verdict: Verdict
    grade: Grade
    cold_over_hot: float
    note: str
    error: str


class MeasuredRidgeFigures(TypedDict):
    """bench.record.ridge.MeasuredRidge, and whose it is."""

    backend: str
    types: str
    type: str
    threads: int
    ridge: Figure | None
    flat: float
    slope: float
    sharpness: float
    points: int
    reason: str | None


class Trust(TypedDict):
    """How far the figures can be relied on, by the size of what moved them: bench.record.trust.

    grade    None: no evidence, for nothing was measured in two visits
    effect   share by which the figures differ, between visits or best and median; None where the grade is, or a roof
             can't be believed
    reasons  each says what was seen, and what to do about it
    """

    grade: Grade | None
    effect: float | None
    reasons: list[str]


class Figures(TypedDict):
    rows: list[RowFigures]
    ceilings: list[dict[str, Any]]
    measured_ridges: list[MeasuredRidgeFigures]
    drift: dict[str, float]
    trust: Trust
    runs: NotRequired[list[RunFigures]]


class Record(TypedDict):
    """A session. None: what a record of version 1 didn't keep."""

    format: str
    version: int
    command: str
    arguments: list[str] | None
    options: dict[str, Any] | None
    started: str | None
    ended: str
    complete: bool
    machine: Machine
    session: Circumstances
    rows: list[Row]
    runs: NotRequired[list[Run]]
    interconnect: NotRequired[Interconnect]
    figures: Figures | None
    digest: str


def digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of everything but the digest itself, in canonical form.

    So it is over values: a tool that reorders keys or writes 16.0 as 16 changes nothing.
    """
    return hashlib.sha256(canonical(_unsigned(record)).encode()).hexdigest()


def earlier_digest(record: Mapping[str, Any]) -> str:
    """The same by the rule of older records, over Python's spelling of numbers: of what json.loads() read."""
    plain = json.dumps(_unsigned(record), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()


def _unsigned(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "digest"}


_text = json.encoder.encode_basestring
_WORDS = {None: "null", True: "true", False: "false"}
_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_SUBCLASS
_SORTED |= orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_OTHERWISE = re.compile(rb":(?:-?[0-9.]+e|-?[0-9]+\.0[,}]|null)").search
"""Numbers of an object that orjson spells another way: 1e-6, 2.0; null may be one that isn't finite."""


def canonical(value: Any) -> str:
    """A document's spelling by RFC 8785, the JSON Canonicalization Scheme. Raises ValueError for what isn't JSON.

    Lists of numbers, and objects without lists, are most of a record and most of them spelled alike by orjson, which
    is ten times as quick.
    """
    kind = type(value)
    if kind is float or kind is int:
        return _number(value)
    if kind is str or isinstance(value, str):
        return _text(value)
    if value is None or kind is bool:
        return _WORDS[value]
    if kind is dict or isinstance(value, Mapping):
        spelled = b"" if list in map(type, value.values()) else _spelled(value)
        if spelled and not _OTHERWISE(spelled):
            return spelled.decode()
        return f"{{{','.join([spelled + canonical(value[key]) for spelled, key in _order(tuple(value))])}}}"
    if isinstance(value, float | int):
        return _number(value)
    spelled = _spelled(value)
    if spelled.translate(None, b"0123456789.,-") == b"[]":
        text = spelled.decode()  # in which parts are found in half of the time
        if ".0," not in text and ".0]" not in text:
            return text
    return f"[{','.join(map(canonical, value))}]"


def _spelled(value: Any) -> bytes:
    """By orjson; nothing where it can't, or may order keys another way."""
    try:
        spelled = orjson.dumps(value, option=_SORTED)
    except TypeError:  # a whole number of more than 53 bits, a number of NumPy's, half of a surrogate pair
        return b""
    return spelled if spelled.isascii() else b""


@lru_cache(4096)
def _order(keys: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Keys in the order of their UTF-16, each behind its spelling."""
    return tuple((f"{_text(key)}:", key) for key in sorted(keys, key=lambda key: key.encode("utf-16-be")))


def _number(value: float) -> str:
    """The double nearest to a number in the fewest digits, as ECMAScript writes it: no exponent in [1e-6, 1e21)."""
    if not -LARGEST <= value <= LARGEST:
        raise ValueError(f"{value!r:.40} is not a number in JSON")
    spelled = float.__repr__(value) if isinstance(value, float) else int.__repr__(value)  # NumPy's have another
    if "e" not in spelled and len(spelled) < 16:
        return spelled.removesuffix(".0") if value else "0"
    spelled = repr(float(value))
    if "e" not in spelled:
        return spelled.removesuffix(".0")
    if 1e-6 <= abs(value) < 1e21:
        return f"{Decimal(spelled):f}"
    digits, exponent = spelled.split("e")
    return f"{digits}e{int(exponent):+d}"
