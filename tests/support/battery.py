"""Bad files, by the hundred: each is to be refused in one line by whatever reads records, and never called good.

A case's name says what is wrong with it; its class is what stands before the colon.
"""

import copy
import itertools
import json
import os
import re
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.record.format import digest
from bench.record.schema import schema
from support import records, runs

Document = dict[str, Any]
Keys = tuple[str | int, ...]

FACTS: dict[str, Any] = {
    "cpu": {name: "x" for name in ("model", "vendor", "family", "model_number", "stepping", "microarchitecture")},
    "topology": {"logical_cpus": [0, 1], "cores": [[0], [1]], "packages": 1, "numa_nodes": 1},
    "caches": [{"level": 1, "type": "Data", "bytes": 1 << 15, "line_bytes": 64, "shared_by": 1, "instances": 2}],
    "llc_bytes_aggregate": 1 << 25,
    "memory_bytes": 1 << 33,
    "memory_limit_bytes": 1 << 32,
    "cpu_quota": 1.5,
    "virtual_machine": "kvm",
    "page_bytes": 4096,
    "huge_pages": {"transparent": "madvise", "nr_hugepages": 3},
    "kernel": "6.1",
    "libc": "glibc 2.36",
    "python": "3.11",
    "libraries": {"numpy": "2.0"},
    "blas": [{"name": "openblas", "version": "0.3"}],
    "commit": "abc1234",
    "notes": ["a note"],
    "build": {
        "compiler": "gcc 12",
        "flags": "-O3",
        "isas": ["avx2"],
        "module_sha256": "0" * 64,
        "sources_sha256": "0" * 64,
    },
}
PAIR: dict[str, Any] = {
    "round": 0,
    "cpus": [0, 1],
    "seconds": 6e-8,
    "fma_together": 1.0,
    "read_together": 0.75,
    "found": "one L3",
}
CONDITION: dict[str, Any] = {
    "round": 0,
    "clock_hertz": 3e9,
    "wall_seconds": 2.5,
    "steal_share": 0.01,
    "other_share": 0.01,
    "throttled_seconds": 0.1,
    "throttled_periods": 1,
    "involuntary_switches": 3,
}


def whole() -> Document:
    """A good record with something in every field."""
    circumstances: dict[str, Any] = {
        "forced": "avx2",
        "placements": [PAIR],
        "conditions": [CONDITION],
        "remarks": ["a remark"],
        "untrusted": ["a doubt"],
        "cpus": {"1": [0]},
        "jit_seconds": {"gemm_f32": 1.5},
        "vector_code": {"gemm_f32": {"vector_bits": 256, "fma": True}},
    }
    rows = [
        records.product(8, 60) | {"layers": ["BERT-Base ffn_up"], "marks": {"preempted": [1, 2]}, "huge_pages": 0.5},
        records.fma(),
    ]
    made: Any = records.of(
        [*rows, records.read()],
        machine=records.MACHINE | FACTS,
        runs=[runs.inference(), runs.training(8)],
        **circumstances,
    ).record
    return json.loads(json.dumps(made))


CONTROL = {
    "escape": "\x1b[31mred",
    "newline": "two\nlines",
    "trailing newline": "avx2\n",
    "zero": "a\0b",
    "bell": "\a",
    "one-byte escape": "\x9b31m",
    "bidi": "\u202egood",
    "isolate": "\u2066good",
    "zero width": "a\u200bb",
    "lone surrogate": "\ud800",
    "line separator": "a\u2028b",
}


def _put(name: str, value: str, text: str) -> str:
    """The text with another value of a field that has a number."""
    return re.sub(rf'"{name}": [^,}}]+', f'"{name}": {value}', text, count=1)


TEXTS = {
    "duplicate key": lambda t: t.replace('"complete": true', '"complete": true, "complete": true'),
    "duplicate key within": lambda t: t.replace('"level": 1', '"level": 1, "level": 1'),
    "a key twice, escaped": lambda t: t.replace('"level": 1', '"level": 1, "l\\u0065vel": 1'),
    **{
        f"{name}: {value}": partial(_put, name, value)
        for name in ("timer_resolution", "wall_seconds", "steal_share", "memory_bytes", "calls", "value")
        for value in (
            "1e999",
            "-1e999",
            "NaN",
            "Infinity",
            "-Infinity",
            "0x10",
            "01",
            "+1",
            ".5",
            "1.",
            "1e",
            "1_0",
            "१",
        )
    },
    "5000 digits": partial(_put, "version", "2" + "0" * 5000),
    "4000 digits": partial(_put, "version", "2" + "0" * 4000),
    **{f"version {value}": partial(_put, "version", value) for value in ("2.5", "2e9", "true", '"2"', "0", "-2", "3")},
    "two marks of the byte order": lambda t: "\ufeff\ufeff" + t,
    "two documents": lambda t: t + t,
    "a comment": lambda t: "// record\n" + t,
    "single quotes": lambda t: t.replace('"', "'"),
    "a raw control character": lambda t: t.replace("made-up", "made\tup"),
    "half an escape": lambda t: t.replace("made-up", "made\\u12"),
    "an unknown escape": lambda t: t.replace("made-up", "made\\x1b"),
    "a trailing comma": lambda t: t.rstrip().removesuffix("}") + ",}",
    "nested arrays": lambda t: "[" * 100_000 + "]" * 100_000,
    "nested objects": lambda t: '{"format":' * 50_000 + "1" + "}" * 50_000,
    **{
        f"nested within, {depth}": lambda t, d=depth: t.replace('"rows": [', '"rows": [' + "[" * d + "]" * d + ",", 1)
        for depth in (100, 300, 900, 5000)
    },
}
BYTES = {
    "nothing": lambda b: b"",
    "white space": lambda b: b" \n\t",
    "zeros": lambda b: bytes(4096),
    "a picture": lambda b: b"\x89PNG\r\n\x1a\n" + b,
    "compressed": lambda b: b"\x1f\x8b\x08\x00" + b,
    "UTF-16": lambda b: b.decode().encode("utf-16"),
    "UTF-32": lambda b: b.decode().encode("utf-32"),
    "Latin-1": lambda b: b.replace(b"made-up", b"made-\xfcp"),
    "a surrogate in UTF-8": lambda b: b.replace(b"made-up", b"\xed\xa0\x80"),
    "an overlong slash": lambda b: b.replace(b"made-up", b"\xc0\xaf"),
    "a word": lambda b: b"GB/s",
    "a number": lambda b: b"42",
    "a list": lambda b: b"[1, 2]",
    "a text": lambda b: b'"ridgeline-record"',
    "another document": lambda b: b'{"format": "ridgeline-record"}',
}


def documents(good: Document, every: int = 1) -> Iterator[tuple[str, bytes]]:
    """Name and content of every bad file but the special ones; `good` has a value in every field.

    every   of some 1,600 bad values of fields only one in so many
    """
    text = json.dumps(good)
    for name, of_text in TEXTS.items():
        yield f"text: {name}", of_text(text).encode("utf-8", "surrogatepass")
    for name, of_bytes in BYTES.items():
        yield f"bytes: {name}", of_bytes(text.encode())
    for part in range(1, 40):
        yield f"cut off: at {part}/40", text[: len(text) * part // 40].encode()
    for where, keys, bad in itertools.islice(_changes(good), 0, None, every):
        yield f"field: {where}", _dumped(_with(good, keys, bad), renew=keys != ("digest",))


def _changes(good: Document) -> Iterator[tuple[str, Keys, Any]]:
    """A name, the keys of a field, and a bad value for it."""
    texts = itertools.cycle(CONTROL)
    for keys, value in _values(good):
        where = ".".join(map(str, keys))
        yield from ((f"{where}, {name}", keys, bad) for name, bad in _bad(keys, value))
        if isinstance(value, str):
            yield from ((f"{where}, {name}", keys, value + CONTROL[name]) for name in itertools.islice(texts, 3))
    for keys, fields in _objects(good, schema()):
        where = ".".join(map(str, keys)) or "top"
        yield from ((f"{where}, {name} missing", (*keys, name), MISSING) for name in fields)
        yield f"{where}, an unknown key", (*keys, "~"), 1


def _bad(keys: Keys, value: Any) -> Iterator[tuple[str, Any]]:
    """What can stand nowhere, and what can't stand where this value does."""
    yield "nested", [[[[]]]]
    yield "a huge number", 10**400
    if isinstance(value, str):
        yield "too long", "x" * 20_000
    if keys[0] == "options":  # of any plain type
        return
    yield "an object", {"x": {}}
    if isinstance(value, dict):
        yield "a key that is no name", value | {"\x1b[2J": next(iter(value.values()), 1)}
    if isinstance(value, str):
        yield "a number", 1
    else:
        yield "a text", "[/b]"
        yield "a number below 0", -1
    if not isinstance(value, bool):
        yield "a truth", True
    if isinstance(value, int | float):
        yield "1e300", 1e300
        if not isinstance(value, float):
            yield "a fraction", 0.5


def special(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and path of what is no file, or one that never ends."""
    os.mkfifo(folder / "fifo.json")
    (folder / "folder.json").mkdir()
    (folder / "loop.json").symlink_to(folder / "loop.json")
    (folder / "nowhere.json").symlink_to(folder / "none")
    with (folder / "sparse.json").open("wb") as file:
        file.truncate(1 << 40)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.json"))
    names = ("fifo", "folder", "loop", "nowhere", "sparse", "socket", "missing", "\x1b[31m", "\udcff", "a\nb", "[/b]")
    yield from ((f"special: {name!a}", folder / f"{name}.json") for name in names)
    yield from ((f"special: {path}", Path(path)) for path in ("/dev/zero", "/dev/null", "/dev/random", "/proc/kmsg"))
    yield from ((f"special: {path}", Path(path)) for path in ("/proc/self/mem", "/proc/self/status", "/", ""))
    yield "special: a long name", folder / ("x" * 300)
    yield "special: a zero byte", folder / "a\0b"


def signed(document: Document) -> Document:
    """With the digest that it should have; of numbers that are none there is none."""
    try:
        return document | {"digest": digest(document)}
    except ValueError:
        return document


def _dumped(document: Document, renew: bool = True) -> bytes:
    """As JSON, its digest renewed: the digest alone mustn't be what refuses it."""
    return json.dumps(signed(document) if renew and "digest" in document else document).encode()


def _with(document: Document, keys: Keys, value: Any) -> Document:
    """The document with another value behind the keys; MISSING: without them."""
    changed = copy.deepcopy(document)
    at: Any = changed
    for key in keys[:-1]:
        at = at[key]
    if value is MISSING:
        del at[keys[-1]]
    else:
        at[keys[-1]] = value
    return changed


MISSING = object()


def _values(value: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every value of a document with its keys, of a list the first; not the figures', which are derived again."""
    if keys:
        yield keys, value
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _values({} if key == "figures" else one, (*keys, key))
    elif isinstance(value, list) and value:
        yield from _values(value[0], (*keys, 0))


def _objects(value: Any, of: Document, keys: Keys = ()) -> Iterator[tuple[Keys, list[str]]]:
    """The keys of every object whose fields the schema `of` names, and which of them it has to have."""
    of = schema()["$defs"][of["$ref"].rpartition("/")[2]] if "$ref" in of else of
    if isinstance(value, dict) and "properties" in of:
        yield keys, of.get("required", [])
        for key, one in value.items():
            yield from _objects(one, of["properties"][key], (*keys, key))
    elif isinstance(value, list) and value and "items" in of:
        yield from _objects(value[0], of["items"], (*keys, 0))
