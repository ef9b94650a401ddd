"""What importing the parts of kernels needs: no compiled module and no Numba for what only counts and checks."""

import ast
from pathlib import Path

import pytest

import kernels
from support.process import Run

HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {hidden} or name in {hidden}:
            raise ImportError(f"{{name}} is hidden")
sys.meta_path.insert(0, Hidden())
"""
COMPILED = HIDE.format(hidden=("kernels._native", "numba", "llvmlite", "cffi", "scipy"))


@pytest.mark.parametrize("module", ["operations", "types", "verify", "definitions", "arguments", "arrays", "packing"])
def test_needs_nothing_compiled(module: str, python: Run) -> None:
    ran = python("-c", f"{COMPILED}\nimport kernels.{module}")
    assert (ran.returncode, ran.stderr) == (0, "")


def test_operations_are_counted_and_checked_without_compiled_code(python: Run) -> None:
    code = """
import numpy as np
from kernels import OPERATIONS, TYPES
from kernels.verify import check, reference
print(OPERATIONS["gemm"].bytes({"m": 2, "n": 3, "k": 4}, "f32"), len(TYPES) > 1)
a = np.ones((2, 2), np.float32)
check("gemm", "f32", [a, a], a * 2)
print(reference("gemm", "f32", [a, a]).sum())
"""
    ran = python("-c", COMPILED + code)
    assert (ran.stdout, ran.stderr) == ("104 True\n8.0\n", "")


def test_the_package_alone_imports_nothing(python: Run) -> None:
    code = "import sys; before = set(sys.modules); import kernels; print(*sorted(set(sys.modules) - before))"
    modules = python("-c", code).stdout.split()
    assert [
        name for name in modules if name.split(".")[0] in ("numpy", "numba", "scipy", "cffi", "_cffi_backend")
    ] == []
    assert [name for name in modules if name.startswith("kernels.")] == ["kernels.cpus"]  # which reads the mask


def test_numba_is_imported_where_its_rows_are_wanted(python: Run) -> None:
    code = """
import sys, kernels
kernels.find("gemm", "f32", "c"), kernels.find("gemm", "f32", "blas"), kernels.chosen_isa(), kernels.Kernel
print("numba" in sys.modules)
kernels.find("gemm", "f32", "numba")
print("numba" in sys.modules)
"""
    assert python("-c", code).stdout == "False\nTrue\n"


@pytest.mark.parametrize("use", ["kernels.find('gemm', 'f32', 'c')", "kernels.KERNELS", "kernels.chosen_isa()"])
def test_a_missing_compiled_module_is_one_line(use: str, python: Run) -> None:
    ran = python("-c", f"{HIDE.format(hidden=('kernels._native',))}\nimport kernels\n{use}")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == (
        "ImportError: kernels/_native, the compiled part, is missing or not for this Python: "
        "build it with `make build` or `pip install -e .` (kernels._native is hidden)"
    )


def test_every_lazy_name_is_declared_for_type_checkers() -> None:
    """And found where it is declared."""
    tree = ast.parse(Path(str(kernels.__file__)).read_text())
    declared = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == kernels._HOMES
    for name in declared:
        assert getattr(kernels, name) is getattr(kernels, name)
        assert name in dir(kernels)
    with pytest.raises(AttributeError, match="module 'kernels' has no attribute 'gemm'"):
        kernels.gemm  # noqa: B018
