"""Every picture of every command, drawn from a made-up record of all that is measured: no library has a word to say."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.legend import Legend

from bench import roofline
from bench.escape import __main__ as escape
from bench.escape.chip.figures import SET
from bench.ladder import __main__ as ladder
from bench.memory import __main__ as memory
from bench.record import store
from bench.record.runs.run import Run
from bench.transformer import __main__ as transformer
from bench.wall import __main__ as wall
from support import records, runs
from support.process import ROOT

WAYS = ("layers", "chip", "sparsity", "decode")


def one_row(operation: str, types: Any, seconds: float, **other: Any) -> Any:
    dims = {"n": 1024, "k": 1024} | ({"m": 1} if operation == "linear_a8" else {}) | other.pop("dims", {})
    fields = {"cold": ["w"], "layers": ["GPT-2 o"]} | other
    starts = [start + 0.2 for start in records.STARTS]
    return records.sampled("kernel", operation, types, 1, dims, [seconds] * 9, starts, **fields)


def every_row() -> list[Any]:
    """Of one layer, of working sets and of densities two each, in f32 and another type or format."""
    four: Any = {"w": "i4g32"}
    rows = [one_row("gemv_t", "f32", 2.1e-4), one_row("linear_a8", four, 5e-5)]
    for level, n, seconds in (("L1", 8, 1e-6), ("DRAM", 2048, 4.2e-4)):
        hot: Any = {"layers": [SET], "level": level, "cold": [], "dims": {"n": n}}
        rows += [one_row("gemv", "f32", seconds, **hot), one_row("linear_a8", four, seconds / 4, **hot)]
    for percent, seconds in ((10, 5e-5), (60, 4e-4)):
        layers = [f"density {percent} %"]
        rows.append(one_row("gemv", "f32", 2.1e-4, layers=layers))
        rows.append(one_row("gemv_bitmap", "f32", seconds, layers=layers, dims={"nnz": 1024 * 1024 * percent // 100}))
    return [*rows, *(records.product(m, g) for m, g in ((1, 9), (16, 90), (64, 92)))]


def every_run() -> list[Run]:
    stored = {"types": {"weights": "i4g32", "activations": "f32"}, "linear": "linear_a8"}
    models = [runs.inference(runs.GPT2, "decode", 16), runs.inference(runs.GPT2, "decode", 16, (0.5,) * 9, **stored)]
    return [*models, runs.inference(), *(runs.training(k) for k in (8, 4, 2, 1))]


@pytest.mark.parametrize(
    ("main", "names"),
    [
        (escape.main, [f"p-{way}" for way in WAYS]),
        (roofline.main, ["p"]),
        (wall.main, ["p"]),
        (transformer.main, ["p"]),
        (memory.main, ["p"]),
        (ladder.main, ["p"]),
    ],
    ids=lambda value: getattr(value, "__module__", ""),
)
def test_no_library_has_a_word_to_say(
    main: Callable[..., int], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Neither a warning nor, of a legend that looks for the best place, one that comes where that takes a second."""
    path, places = tmp_path / "r.json", []
    store.save(records.of([records.fma(), records.read(), *every_row()], runs=every_run()).record, path)
    made = Legend.__init__

    def noted(self: Legend, *of: Any, **other: Any) -> None:
        places.append(other.get("loc"))
        made(self, *of, **other)

    monkeypatch.setattr(Legend, "__init__", noted)
    monkeypatch.setattr(FigureCanvasSVG, "print_svg", lambda self, file: file.write(b"drawn"))  # as slow as the other
    given = ROOT / "docs" / "ladder.json" if main is ladder.main else path
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main([str(given), "--picture", str(tmp_path / "p")]) == 0
    assert capsys.readouterr().err == ""
    assert all((tmp_path / f"{name}.{suffix}").stat().st_size for name in names for suffix in ("png", "svg"))
    assert places and not {None, "best", 0} & {*places}
