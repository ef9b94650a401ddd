"""Records are read, compared, checked and drawn where nothing was compiled: no kernels._native, no Numba."""

from pathlib import Path

import pytest

from bench.record import store
from support import records
from support.process import ROOT, Run
from support.runs import inference, training

RECORD = ROOT / "tests" / "record" / "record-2.json"
BARE = """
import runpy, sys
from importlib.machinery import ModuleSpec

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numba", "llvmlite") or name == "kernels._native":
            return ModuleSpec(name, self)

    def create_module(self, spec):
        raise ModuleNotFoundError(f"No module named {spec.name!r}", name=spec.name)

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Hidden())
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["bench.check", RECORD, ROOT / "docs" / "ladder.json"], "good, "),
        (["bench.compare", RECORD, RECORD], "rows compared"),
        (["bench.roofline", RECORD, "--picture", "roofline"], "Trust: "),
        (["bench.wall", RECORD, "--picture", "wall"], "Hosts on these lines"),
        (["bench.report", RECORD, ROOT / "docs" / "ladder.json", "-o", "page.html"], "page.html: 2 records"),
        (["bench.ladder", ROOT / "docs" / "ladder.json", "--picture", "climb"], "% of FMA peak"),
        (["bench"], "bench.check"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_records_need_no_kernels(python: Run, tmp_path: Path, command: list[str], words: str) -> None:
    ran = python("-c", BARE, *command)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert words in ran.stdout
    if "--picture" in command:
        assert (tmp_path / f"{command[-1]}.png").read_bytes().startswith(b"\x89PNG")


def test_a_record_beside_libraries_needs_no_kernels(python: Run, tmp_path: Path) -> None:
    rows = [records.product(8, 60), records.product(8, 50) | {"backend": "torch", "isa": "2.9"}]
    store.save(records.make(rows).record, tmp_path / "r.json")
    ran = python("-c", BARE, "bench.peers", "r.json")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "beside torch 2.9" in ran.stdout


def test_a_record_of_whole_models_needs_no_kernels(python: Run, tmp_path: Path) -> None:
    runs = [inference(), inference(backend="numba", seconds=(1.1,) * 9)]
    store.save(records.of([records.fma(), records.read()], runs=runs).record, tmp_path / "r.json")
    ran = python("-c", BARE, "bench.transformer", "r.json", "--parts")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "BERT-Base encodes 128 tokens in 1 s" in ran.stdout
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_a_record_of_training_needs_no_kernels(python: Run, tmp_path: Path) -> None:
    runs = [training(8), training(2, (1.25,) * 9, 250)]
    store.save(records.of([records.fma(), records.read()], runs=runs).record, tmp_path / "r.json")
    ran = python("-c", BARE, "bench.memory", "r.json")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "8 (all kept)" in ran.stdout


def test_measuring_says_what_is_missing(python: Run) -> None:
    ran = python("-c", BARE, "bench.stream", "--size", "1")
    assert ran.returncode != 0


SLOW = "archspec jsonschema llvmlite matplotlib numba rich.progress scipy.special scipy.stats"
"""Modules that take long to import: nothing needs them to print its help, or to check a good record."""


def test_help_imports_nothing_slow(python: Run) -> None:
    code = f"""
import importlib, sys
from bench.__main__ import commands
for name in commands():
    module = importlib.import_module("bench." + name)
    if hasattr(module, "__path__"):
        importlib.import_module("bench." + name + ".__main__")
    print(name, *sorted({{*{SLOW.split()}}} & {{*sys.modules}}))
"""
    ran = python("-c", code)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) > 9
    assert [line for line in ran.stdout.splitlines() if " " in line] == []


def test_checking_imports_no_compiler_and_no_statistics(python: Run) -> None:
    code = f"""
import sys
from bench import check
check.main(sys.argv[1:])
print(*sorted({{name.split(".")[0] for name in sys.modules}} & {{"cffi", "psutil"}}))
print(*sorted({{*{SLOW.split()}, "kernels.registry", "bench.measure", "bench.host"}} & {{*sys.modules}}))
"""
    ran = python("-c", code, RECORD)
    assert ran.stdout.splitlines()[-2:] == ["", ""], ran.stdout + ran.stderr


def test_without_matplotlib_only_pictures_are_missing(python: Run, tmp_path: Path) -> None:
    ran = python("-c", BARE.replace('"numba", "llvmlite"', '"matplotlib", "pytest"'), "bench.wall", RECORD)
    assert (ran.returncode, "Hosts on these lines" in ran.stdout) == (0, True)
    assert ran.stderr == (
        "bench.wall: left out: pictures and pages, matplotlib isn't installed: pip install 'ridgeline[pictures]'\n"
    )
