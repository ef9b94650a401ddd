"""Whole models in the libraries that people would use instead, on the same weights, a module for each.

None is imported before prepare(), and each has a process of its own (bench.measure.process). All compute in f32:
nothing falls back to TF32 or bfloat16.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.models.weights import Weights
from bench.workloads.model import Model
from kernels.backends.libraries import PIP, version_of

Result = tuple[Any, Any]
"""Hidden states [length, width], or of a decoder the last token's logits [vocabulary]; and the tokens that were chosen.
Both are what np.asarray() takes."""
Run = Callable[[], Result]


@dataclass(frozen=True)
class Library:
    """One library.

    module          runs models in it
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
        """One forward pass over `tokens`; decode: from the first of them, as many are generated one by one.

        Weights and tokens are used without a copy: the arrays must stay alive.
        """
        made: Run = importlib.import_module(self.module).prepare(model, weights, phase, tokens, threads)
        return made


LIBRARIES = (
    Library("torch", f"{__name__}.pytorch", ("torch",), "weights packed for oneDNN, SDPA, a cache written in place"),
    Library("transformers", f"{__name__}.transformers_", ("transformers", "torch"), "eager, SDPA, StaticCache"),
    Library(
        "onnxruntime", f"{__name__}.onnx", ("onnxruntime", "onnx"), "GroupQueryAttention, its past and present one"
    ),
    Library("openvino", f"{__name__}.openvino", ("openvino",), "one stream; SDPA appends to keys and values, a state"),
)


def present() -> list[Library]:
    return [library for library in LIBRARIES if library.version()]


def missing() -> list[str]:
    """Of each library that isn't installed one line: its name and how to get it."""
    return [
        f"{library.name}: not installed ({', '.join(library.distributions)}): {PIP}"
        for library in LIBRARIES
        if not library.version()
    ]
