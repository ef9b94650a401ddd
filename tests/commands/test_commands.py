"""The commands as a user runs them: help, JSON, small measurements, and one line for whatever can't be used."""

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from bench import cli
from bench.__main__ import commands
from bench.record import store
from bench.stream import plateaus
from support import records
from support.process import Run

STREAM = ["stream", "--size", "0.0625", "--seconds", "0.001", "--threads", "1", "--backend", "c"]
PEAK = ["peak", "--seconds", "0.001", "--threads", "1", "--isa", "generic"]


class Ran(NamedTuple):
    status: int
    out: str
    err: str


def _module(name: str) -> Any:
    folder = find_spec(f"bench.{name}").submodule_search_locations  # type: ignore[union-attr]
    return import_module(f"bench.{name}.__main__" if folder else f"bench.{name}")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[..., Ran]:
    """command(name, *arguments): python -m bench.name in an empty folder, but without a process of its own."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.run(_module(name).main)
        return Ran(int(exit_.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A good and a broken record in the folder where commands run."""
    rows = [records.product(m, g) for m, g in ((1, 9), (16, 90), (64, 92))]
    store.save(records.make(rows).record, tmp_path / "good.json")
    (tmp_path / "bad.json").write_text((tmp_path / "good.json").read_text().replace('"m": 64', '"m": 65'))
    (tmp_path / "cut.json").write_text('{"format"')
    (tmp_path / "cut.toml").write_text("layers = 2")
    return tmp_path


PROGRESS = re.compile(r" *\d+ s  ")


def succeeded(ran: Ran) -> str:
    said = [line for line in ran.err.splitlines() if not PROGRESS.match(line)]  # of a machine that is slow today
    assert (ran.status, said) == (0, [])
    return ran.out


@pytest.mark.parametrize(
    ("arguments", "status", "out", "err"),
    [
        (["bench"], 0, "python -m bench.stream ", ""),
        (["bench.layers", "--help"], 0, "usage: python -m bench.layers", ""),
        (["bench.machine", "--json"], 0, '"microarchitecture"', ""),
        (["bench.stream", "--backend", "fortran"], 2, "", "bench.stream: --backend fortran"),
        (["bench.stream", "--no-such-option"], 2, "", "bench.stream: unrecognized arguments"),
        (["bench.check", "none.json"], 1, "none.json: No such file or directory", ""),
    ],
)
def test_processes(python: Run, arguments: list[str], status: int, out: str, err: str) -> None:
    ran = python("-m", *arguments)
    assert (ran.returncode, out in ran.stdout, err in ran.stderr) == (status, True, True)
    assert ran.stderr.count("\n") == bool(err)


def test_list_of_commands() -> None:
    names = {
        "ab",
        "calibrate",
        "check",
        "compare",
        "escape",
        "fleet",
        "interconnect",
        "ladder",
        "layers",
        "machine",
        "memory",
        "parallel",
        "peak",
        "peers",
        "report",
        "roofline",
        "stream",
        "transformer",
        "wall",
    }
    assert set(commands()) == names
    assert all(commands().values())


@pytest.mark.parametrize("name", commands())
def test_help(command: Any, name: str) -> None:
    text = succeeded(command(name, "--help"))
    assert text.startswith(f"usage: python -m bench.{name}")
    assert "--json" in text


@pytest.mark.parametrize(
    ("arguments", "has"),
    [
        (["layers"], '"lm_head"'),
        (["layers", "--model", "gpt-2", "--phase", "decode", "--length", "7"], '"gemv_t"'),
        (["layers", "--model", "llama-3-8b"], '"ffn_gate"'),
        (["transformer", "--counts", "--model", "bert-large", "--length", "128"], '"act-to-act"'),
        (["machine"], '"microarchitecture"'),
        (["memory", "--rounds", "0"], '"rematerialisation": null'),
        (["check", "good.json"], '"problems": []'),
        (["compare", "good.json", "good.json"], '"verdict": "can\'t tell"'),
        (["roofline", "good.json", "--picture", "drawn/roof"], '"drawn/roof.png"'),
        (["report", "good.json", "-o", "new/page.html"], '"file": "new/page.html"'),
        (STREAM, '"triad_nt"' if os.uname().machine == "x86_64" else '"triad"'),
        (PEAK, '"fma"'),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_json_and_tables(command: Any, saved: Path, arguments: list[str], has: str) -> None:
    """What --json prints is JSON and nothing else; without it there is something to read."""
    assert has in json.dumps(json.loads(succeeded(command(*arguments, "--json"))))
    text = succeeded(command(*arguments))
    assert text
    assert not text.startswith("{")


@pytest.mark.parametrize("arguments", [STREAM, PEAK])
def test_records_that_commands_write_are_good(command: Any, tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "new" / "r.json"
    succeeded(command(*arguments, "--record", path))
    document = store.read(path)
    assert store.problems(store.load(path)) == []
    assert document["complete"]
    assert {row["threads"] for row in document["rows"]} == {1}
    assert document["arguments"] == [*map(str, arguments[1:]), "--record", "FILE"]
    assert document["options"]["threads"] == [1] and "save" not in document["options"]
    lasted = datetime.fromisoformat(document["ended"]) - datetime.fromisoformat(document["started"])
    for row in document["rows"]:
        assert set(row["visits"]) == {0, 1, 2}
        assert sorted(row["starts"]) == row["starts"]
        for start, taken, later in zip(row["starts"], row["seconds"], [*row["starts"][1:], None], strict=True):
            assert 0 <= start < start + taken <= lasted.total_seconds() + 0.002  # started and ended are in milliseconds
            assert later is None or start + taken <= later


@pytest.mark.parametrize(
    "arguments",
    [
        ["transformer", "--counts", "--model", "bert-base", "--length", "{}"],
        ["memory", "--rounds", "0", "--model", "bert-base", "--length", "{}"],
    ],
)
def test_tokens_beyond_a_models_positions_are_named(command: Any, arguments: list[str]) -> None:
    """Counted, as the paper does; where a model is run in parts of its own, they are refused."""
    said = "BERT-Base has 512 positions; with more tokens"
    for tokens, beyond in (("512", False), ("513", True)):
        text = " ".join(succeeded(command(*(word.format(tokens) for word in arguments))).split())
        assert (said in text) == beyond
        assert '"positions": 512' in succeeded(command(*(word.format(tokens) for word in arguments), "--json"))
    for other in (["layers", "--model", "bert-base", "--length", "513"], ["ladder", "--m", "513"]):
        assert "BERT-Base takes 1 to 512 tokens, not 513" in command(*other).err


def test_roofline_draws(command: Any, saved: Path) -> None:
    succeeded(command("roofline", "good.json", "--picture", "a/b"))
    assert (saved / "a/b.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (saved / "a/b.svg").read_text()


BAD: list[tuple[list[str], list[str]]] = [
    (["layers", "--model", "gpt-9"], ["gpt-9", "BERT-Base"]),
    (["layers", "--length", "0"], ["0"]),
    (["layers", "--length", "x"], ["--length", "x"]),
    (["layers", "--phase", "train"], ["--phase", "train"]),
    (["layers", "--model", "bert-base", "--phase", "decode"], ["decode"]),
    (["layers", "--model", "none.toml"], ["none.toml", "No such file"]),
    (["transformer", "--model", "cut.toml"], ["cut.toml", "width"]),
    (["transformer", "--length", "128,"], ["--length", "128,"]),
    *((["transformer", "--weights-as", names], ["--weights-as", "one or several of"]) for names in ("", "i9", "i8,")),
    *(
        (["transformer", "--counts", *more], ["--counts measures nothing", more[0] if more[1:] else "RECORD"])
        for more in (["--record", "r.json"], ["--picture", "p"], ["good.json"])
    ),
    (["transformer", "good.json"], ["good.json: no latency of a whole model"]),
    (["wall", "none.json"], ["none.json"]),
    (["wall", "good.json", "--record", "r.json"], ["--record", "--measure"]),
    (["wall", "--threads", "0"], ["--threads"]),
    (["wall", *["good.json"] * 26], ["26 records"]),
    (["memory", "--layers", "0"], ["--layers"]),
    (["memory", "--rounds", "-1"], ["--rounds"]),
    (["memory", "--rounds", "0", "--picture", "p"], ["--picture"]),
    (["memory", "--rounds", "0", "--record", "p"], ["--record"]),
    (["memory", "--intervals", "0"], ["--intervals"]),
    (["memory", "--intervals", "x"], ["--intervals"]),
    (["memory", "--intervals", "49"], ["--intervals", "48 layers"]),
    (["memory", "--width", "65536"], ["GiB"]),
    (["memory", "--threads", "9999"], ["--threads"]),
    (["memory", "--model", "gpt-9"], ["gpt-9"]),
    (["memory", "--model", "gpt-2", "--batch", "0"], ["sequence"]),
    (["machine", "extra"], ["extra"]),
    (["compare"], ["record"]),
    (["compare", "good.json"], ["2 to 26"]),
    (["calibrate", "good.json"], ["1 session;"]),
    (["compare", "good.json", "none.json"], ["none.json"]),
    (["roofline", "none.json"], ["none.json", "No such file"]),
    (["roofline", "bad.json"], ["bad.json", "digest"]),
    (["roofline", "cut.json"], ["cut.json", "cut off"]),
    (["roofline", "good.json", "--picture", "good.json/p"], ["good.json"]),
    (["report", "good.json"], ["-o"]),
    (["report", "good.json", "-o", "page.pdf"], ["page.pdf", ".html"]),
    (["report", "good.json", "-o", "good.json/page.html"], ["good.json"]),
    (["report", "cut.json", "-o", "page.html"], ["cut.json", "cut off"]),
    (["stream", "--threads", "0"], ["--threads"]),
    (["stream", "--threads", "9999"], ["--threads", "9999"]),
    (["stream", "--threads", "some"], ["--threads", "some"]),
    (["stream", "--threads", ""], ["--threads"]),
    (["stream", "--backend", "fortran"], ["--backend", "fortran"]),
    (["stream", "--backend", ""], ["--backend"]),
    (["stream", "--size", "0"], ["--size"]),
    (["stream", "--size", "5", "--levels"], ["--levels", "--size"]),
    (["stream", "--size", "-1"], ["--size"]),
    (["stream", "--size", "nan"], ["--size"]),
    (["stream", "--size", "inf"], ["--size"]),
    (["stream", "--size", "1e6", "--threads", "1"], ["memory"]),
    (["stream", "--seconds", "0"], ["--seconds"]),
    (["stream", "--seconds", "nan"], ["--seconds"]),
    (["stream", "--record", "good.json/r.json"], ["good.json"]),  # at once: the full commands take minutes
    (["peak", "--record", "good.json/r.json"], ["good.json"]),
    (["wall", "--record", "good.json/r.json"], ["good.json"]),
    (["ladder", "--record", "good.json/new/r.json"], ["good.json"]),
    (["peers", "--results", "good.json"], ["good.json"]),
    (["transformer", "--picture", "good.json/p"], ["good.json"]),
    (["memory", "--picture", "good.json/p"], ["good.json"]),
    (["peak", "--isa", "mmx"], ["--isa", "mmx"]),
    (["peak", "--isa", ""], ["--isa"]),
    *((["peak", "--dtype", types], [f"--dtype {types}: one or several of"]) for types in ("f16", "", "i8,", "i8,i9")),
    *((["peers", "--types", types], [f"--types {types}: one or several of"]) for types in ("f32", "", "i8,", "i8,i9")),
    (["peak", "--seconds", "61"], ["--seconds"]),
    (["peers", "none.json"], ["none.json", "No such file"]),
    (["peers", "good.json"], ["good.json", "no other library"]),
    (["peers", "--seconds", "nan"], ["--seconds"]),
    (["peers", "--dtype", "f16"], ["--dtype", "f16"]),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(map(str, arguments)) for arguments, _ in BAD])
def test_bad_input_is_one_line(command: Any, saved: Path, arguments: Sequence[str], words: Sequence[str]) -> None:
    """On stderr, and it names what can't be used."""
    ran = command(*arguments)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1), ran.err
    assert all(word in ran.err for word in (f"bench.{arguments[0]}: ", *words)), ran.err


def test_failed_checks_exit_with_1(command: Any, saved: Path) -> None:
    ran = command("check", "good.json", "bad.json", "none.json")
    assert (ran.status, ran.err) == (1, "")
    good, _, bad, none = ran.out.splitlines()
    assert good == "good.json: good, 5 rows"
    assert "bad.json: the digest doesn't match" in bad
    assert none == "none.json: No such file or directory"
    ran = command("check", "bad.json", "--json")
    assert (ran.status, [bool(result["problems"]) for result in json.loads(ran.out)]) == (1, [True])


# --- bench.stream.plateaus: the levels of a curve, without measuring one


SIZES = [int(4096 * 2 ** (i / 3)) for i in range(46)]


def curve(*levels: tuple[int, float], noise: float = 0.0) -> Any:
    """Bandwidth by size: each level up to its number of sizes."""
    rates = np.concatenate([np.full(count, rate) for count, rate in levels])
    return rates * (1 + noise * np.random.default_rng(2).uniform(-1, 1, rates.size))


@pytest.mark.parametrize("noise", [0, 0.03])
def test_plateaus(noise: float) -> None:
    found = plateaus(SIZES, curve((10, 120e9), (12, 60e9), (14, 30e9), (10, 12e9), noise=noise))
    assert [p.rate for p in found] == pytest.approx([120e9, 60e9, 30e9, 12e9], rel=0.03)
    assert [(p.first, p.last) for p in found] == [
        (SIZES[a], SIZES[b]) for a, b in ((0, 9), (10, 21), (22, 35), (36, 45))
    ]


def test_slopes_between_plateaus_are_none() -> None:
    slope = np.geomspace(60e9, 12e9, 8)[1:-1]
    found = plateaus(SIZES, [*curve((20, 60e9)), *slope, *curve((20, 12e9))])
    assert [p.rate for p in found] == pytest.approx([60e9, 12e9], rel=0.01)


def test_a_curve_without_steps_is_one_plateau() -> None:
    assert [(p.first, p.last) for p in plateaus(SIZES, curve((46, 10e9), noise=0.05))] == [(SIZES[0], SIZES[-1])]
    assert plateaus(SIZES[:20], 1e9 * 3.0 ** np.arange(20)) == []
    assert plateaus(SIZES[:2], [1e9, 1e9]) == []
