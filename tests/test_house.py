"""The shape of the house: who may import whom, no circles, and nothing that outgrows its room.

An import counts wherever it stands, inside functions and under TYPE_CHECKING, too.
"""

import ast
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from support.process import ROOT

KERNELS = "kernels"
MEANING = "kernels.operations kernels.types"  # what operations and types are: no compiled module, no Numba
GROUND = "bench.errors bench.quantities bench.cli"
MODELS = f"{GROUND} bench.workloads bench.record bench.host bench.files {KERNELS}"

MAY_IMPORT = {
    "kernels": KERNELS,
    "bench": "kernels.cpus",
    "bench.errors": "",
    "bench.quantities": "",
    "bench.cli": "bench.errors",
    "bench.progress": "",
    "bench.files": f"bench.errors {KERNELS}",
    "bench.options": f"{GROUND} bench.host.cpus kernels.arrays {MEANING}",
    "bench.host": f"{GROUND} bench.files {KERNELS}",
    "bench.record": f"{GROUND} bench.files {MEANING}",
    "bench.workloads": f"{GROUND} bench.files {MEANING}",
    "bench.models": MODELS,
    "bench.measure": f"{MODELS} bench.models bench.progress",
    "bench.report": f"{GROUND} bench.comparison bench.workloads bench.record bench.files {MEANING}",
    "bench.comparison": f"{GROUND} bench.record bench.files {MEANING}",
}
"""Room: the rooms and modules that it may import besides itself. "bench" is bench/__init__.py alone."""

COMMAND = f"{MODELS} bench.progress bench.options bench.models bench.measure bench.report bench.comparison"
"""What a command, which is every other module or folder of bench/, may import besides its own parts."""

ONE_COMMAND = {"bench.test_session": "bench.conftest"}  # pytest bench/ is a command of two files

LINES = 320
ENTRIES = 16
COMMANDS = 20  # of bench/: what `python -m bench` lists is one screen
TEXTS = [p for top in ("bench", "ridgeline") for p in sorted((ROOT / top).rglob("*")) if p.suffix in (".py", ".js")]
CODE = {".py", ".pyi", ".c", ".h", ".def"}
FOLDERS = ("csrc", "kernels", "bench", "tests", "docs")


def modules() -> dict[str, Path]:
    """Every module of kernels/ and bench/ by its name."""
    found = {}
    for path in (*ROOT.glob("kernels/**/*.py"), *ROOT.glob("bench/**/*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def imports(name: str) -> list[tuple[int, str]]:
    """(line, module) of what a module imports of this project; of `from package import module`, the module."""
    return list(_imports(name))


def _imports(name: str) -> Iterator[tuple[int, str]]:
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            members = [f"{origin}.{alias.name}" for alias in node.names]
            targets = [member if member in MODULES else origin for member in members]
        else:
            continue
        yield from ((node.lineno, t) for t in targets if t.split(".")[0] in ("kernels", "bench"))


def within(module: str, room: str) -> bool:
    return module == room or (room != "bench" and module.startswith(f"{room}."))


def room_of(module: str) -> str:
    """The room of MAY_IMPORT that a module is in; a command is a room of its own."""
    room = next((room for room in MAY_IMPORT if within(module, room)), None)
    return room or ONE_COMMAND.get(module) or ".".join(module.split(".")[:2])


def allowed(module: str) -> list[str]:
    room = room_of(module)
    return [room, *MAY_IMPORT.get(room, COMMAND).split()]


@pytest.mark.parametrize("module", MODULES)
def test_who_may_import_whom(module: str) -> None:
    exists = {*MODULES, "kernels._native"}
    for line, target in imports(module):
        where = f"{MODULES[module].relative_to(ROOT)}:{line}"
        assert target in exists, f"{where} imports {target}, which doesn't exist"
        assert any(within(target, room) for room in allowed(module)), f"{where} may not import {target}"


def needed(module: str) -> set[str]:
    """What a module imports, and what that imports, and so on."""
    found: set[str] = set()
    new = {module}
    while new := {target for name in new for _, target in imports(name) if target in MODULES} - found:
        found |= new
    return found


def test_no_circles() -> None:
    """No module needs itself, however many others are between."""
    circular = {module for module in MODULES if module in needed(module)}
    assert not circular


@pytest.mark.parametrize("module", MODULES)
def test_texts_are_utf_8_whatever_the_locale(module: str) -> None:
    """Files and what other programs say: every reader and writer of text names its encoding."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and _handles_text(node):
            named = any(word.arg == "encoding" for word in node.keywords)
            assert named, f"{MODULES[module].relative_to(ROOT)}:{node.lineno}: no encoding"


def _handles_text(call: ast.Call) -> bool:
    """A method read_text or write_text, an open() without "b" in its mode, a process with text=True."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = getattr(call.func, "value", None)
    if called == "open":
        strings = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        binary = any(text in ("rb", "wb", "ab", "xb", "r+b") for text in strings)
        return not binary and getattr(owner, "id", "") not in ("os", "tarfile")
    texts = any(word.arg in ("text", "universal_newlines") for word in call.keywords)
    return texts or (owner is not None and called in ("read_text", "write_text"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_are_short(folder: str) -> None:
    sizes = {p.relative_to(ROOT): p.read_text().count("\n") for p in (ROOT / folder).rglob("*") if p.suffix in CODE}
    long = {str(path): lines for path, lines in sizes.items() if lines > LINES}
    assert not long, f"over {LINES} lines: {long}"


@pytest.mark.parametrize("top", FOLDERS)
def test_folders_are_small(top: str) -> None:
    """At most 16 entries a folder; of bench/, the menu, commands are counted apart from what they share, to 20."""
    for folder in (ROOT / top, *(path for path in (ROOT / top).rglob("*") if path.is_dir())):
        if folder.name == "__pycache__":
            continue
        entries = {p for p in folder.iterdir() if p.suffix != ".so" and not p.name.startswith((".", "__pycache__"))}
        commands = {p for p in entries if folder == ROOT / "bench" and is_command(p)}
        assert len(entries - commands) <= ENTRIES, f"{folder.relative_to(ROOT)}: {len(entries - commands)} entries"
        assert len(commands) <= COMMANDS, f"{folder.relative_to(ROOT)}: {len(commands)} commands"


def is_command(path: Path) -> bool:
    """A folder with __main__.py, or a module that python -m runs."""
    runs = path / "__main__.py" if path.is_dir() else path
    return runs.exists() and "__name__ ==" in runs.read_text()


def test_the_rule_has_a_row_for_every_room() -> None:
    """What is neither in the table nor a command has no place."""
    for path in (ROOT / "bench").iterdir():
        name = f"bench.{path.stem}"
        if path.suffix == ".py" or (path / "__init__.py").exists():
            known = name in MAY_IMPORT or path.name in ("__init__.py", "__main__.py", "conftest.py", "test_session.py")
            assert known or is_command(path), f"bench/{path.name} is neither a command nor in MAY_IMPORT"


PLURAL = r"""plural\((?:[^()]|\([^()]*\))*?, ["'](\w+)["'](?:, ["'](\w+)["'])?\)"""
COUNTED = {*re.findall(PLURAL, "".join(p.read_text("utf-8") for p in TEXTS))}
"""Nouns that are counted somewhere, each with that of several where it isn't the noun and an s."""


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_of_one_the_noun_is_singular(path: Path) -> None:
    """No "1 cores": what plural() counts in one place, it counts everywhere; but for a constant, which is more."""
    several = "|".join(sorted(many or f"{noun}s" for noun, many in COUNTED))
    found = re.findall(rf"(?<!\d to )\{{([^{{}}:]*)\}} ({several})\b", path.read_text(encoding="utf-8"))
    assert not [f"{{{count}}} {nouns}" for count, nouns in found if not re.search("[A-Z]{3}", count)]


@pytest.mark.xdist_group("groups")
@pytest.mark.parametrize("turn", range(6))
def test_tests_of_a_group_share_a_process(
    turn: int, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Or what they share is made, and measured, once in each, and Numba's compilers wait for each other."""
    if not pytestconfig.getoption("loadgroup", default=False):
        pytest.skip("not one of several processes, of --dist loadgroup")
    seen = tmp_path_factory.getbasetemp().parent / "groups"  # of all processes of this run
    seen.mkdir(exist_ok=True)
    (seen / os.environ["PYTEST_XDIST_WORKER"]).touch()
    assert len(list(seen.iterdir())) == 1, "they ran in several: see pytest in pyproject.toml"
