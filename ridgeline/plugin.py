"""pytest's plugin: `pytest --pyargs bench --sweep quick` knows the options of bench/conftest.py.

pytest reads a conftest.py for options where the command line names its folder, not where it names a package. So the
package becomes its folder, before conftest.py is looked for: options are registered there and nowhere else, whether
this plugin is installed or not, and no other project's run gets them.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from ridgeline import is_ours


def _folder(argument: str) -> str:
    """bench, bench::test_walk, bench.test_session: as a path, where bench is Ridgeline's."""
    module, colons, test = argument.partition("::")
    package, _, file = module.partition(".")
    spec = find_spec("bench") if package == "bench" else None
    if not spec or not spec.origin or not is_ours(Path(spec.origin)):
        return argument
    path = Path(spec.origin).parent / (f"{file}.py" if file else "")
    return f"{path}{colons}{test}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> Iterator[None]:
    known = early_config.known_args_namespace
    if known.pyargs:
        args[:] = map(_folder, args)
        known.file_or_dir[:] = map(_folder, known.file_or_dir)
    return (yield)
