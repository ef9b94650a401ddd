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
from bench.ladder import __main__ as ladder
from bench.memory import __main__ as memory
from bench.record import store
from bench.transformer import __main__ as transformer
from bench.wall import __main__ as wall
from support import records
from support.process import ROOT
from support.runs import every_row, every_run

WAYS = ("layers", "chip", "sparsity", "decode")


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
