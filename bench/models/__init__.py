"""Whole models. BACKENDS: those that have every operation of a model."""

BACKENDS = ("c", "numba")
