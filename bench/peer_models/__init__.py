"""Whole models in the libraries that people would use instead, on the same weights, a module for each.

None is imported before prepare(), and each has a process of its own (bench.workers). All compute in f32: nothing falls
back to TF32 or bfloat16.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.layers import Model
from bench.weights import Weights
from kernels.peers import PIP, version_of

Result = tuple[Any, Any]
"""Hidden states [length, width], or of a decoder the last token's logits [vocabulary]; and the tokens that were chosen.
Both are what np.asarray() takes."""
Run = Callable[[], Result]


@dataclass(frozen=True)
class Library:
    """One library: the module of this package that runs models in it.

    distributions   what it needs from PyPI, its own first
    path            what of the library is used, and what holds keys and values while it decodes
    """

    name: str
    module: str
    distributions: tuple[str, ...]
    path: str

    def version(self) -> str | None:
        """Its version, None where it isn't installed; found without importing it."""
        return version_of(self.distributions)

    def prepare(self, model: Model, weights: Weights, phase: str, tokens: np.ndarray, threads: int) -> Run:
        """One forward pass over `tokens` in f32; decode: from the first of them, as many are generated one by one."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        return module.prepare(model, weights, phase, tokens, threads)  # type: ignore[no-any-return]


LIBRARIES = (Library("torch", "pytorch", ("torch",), "linear layers packed by oneDNN; SDPA; a cache written in place"),)


def present() -> list[Library]:
    return [library for library in LIBRARIES if library.version()]


def missing() -> list[str]:
    """Of each library that isn't installed one line: its name and how to get it."""
    return [
        f"{library.name}: not installed ({', '.join(library.distributions)}): {PIP}"
        for library in LIBRARIES
        if not library.version()
    ]
