"""A library for tests that is always there: this project's own models, in a process of their own."""

from typing import Any

import numpy as np

from bench.measure.models.tasks import Task
from bench.models.libraries import Run
from bench.transformer.libraries import ours
from bench.workloads.model import Model


def prepare(model: Model, weights: Any, phase: str, tokens: np.ndarray, threads: int) -> Run:
    return ours(Task(model, phase, len(tokens)), weights, threads)[0]
