"""The front door: the command `ridgeline`, its session in any folder, the check that all parts are of one tree.

`kernels` and `bench` are names that others have, too: Hugging Face's kernels, which transformers uses, frappe-bench,
and many a folder. Where two are installed into one environment the later one writes over files of the earlier one,
without a word from pip; where they lie apart, Python takes whichever comes first.
"""

from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

MARK = b'PROJECT = "ridgeline"'
"""A line of bench/__init__.py and kernels/__init__.py that others' don't have; read, for an import would run theirs."""
APART = "give each an environment of its own, or uninstall the other and reinstall this one"


def is_ours(file: Path) -> bool:
    return file.is_file() and MARK in file.read_bytes()


def one_tree(own: Path) -> None:
    """Exits in one line unless bench and kernels, its compiled part too, are Ridgeline's and lie in the folder `own`.

    So it does where the current folder is in another checkout than `own`: its figures would be taken for that one's.
    """
    for name in ("bench", "kernels"):
        wanted = own / name / "__init__.py"
        spec = find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin and spec.has_location else None
        if found is None:
            raise SystemExit(
                f"{own / 'ridgeline'} is there, {wanted} isn't: another package's uninstall took it; {APART}"
            )
        if found != wanted and not is_ours(found):
            raise SystemExit(
                f"{name} is {found}, not Ridgeline's {wanted}: call `ridgeline` instead of `python -m`, leave that "
                f"folder out of PYTHONPATH; if it is an environment's, {APART}"
            )
        if not is_ours(wanted):
            raise SystemExit(f"another package's {wanted} was written over the one of {own / 'ridgeline'}: {APART}")
    for other in _others(own):
        raise SystemExit(f"two Ridgelines, {own} and {other}: leave the folder of one, or `pip install -e .` the other")


def _others(own: Path) -> Iterator[Path]:
    """The trees that take part, and aren't `own`."""
    for spec in (find_spec("kernels._native"), find_spec("kernels"), PathFinder.find_spec("bench")):
        if spec and spec.origin and spec.has_location:
            tree = Path(spec.origin).resolve().parents[1]
            if tree != own and is_ours(tree / "kernels" / "__init__.py"):
                yield tree
    try:
        here = Path.cwd().resolve()
    except OSError:  # a folder that is gone
        return
    for folder in (here, *here.parents):
        if folder == own:
            return
        if is_ours(folder / "bench" / "__init__.py") and is_ours(folder / "kernels" / "__init__.py"):
            yield folder
