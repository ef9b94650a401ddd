"""How libraries round activations before they multiply them, and what their results then have to be.

Few do it as `linear_a8` is defined: each rounds in its own way, so each row of a library that rounds says how. Its
results are compared with float64's on activations that were rounded so, within the error of summing; an activation
that lies so near the middle between two steps that another order of arithmetic may round it the other way may be one
step off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernels.types import TYPES, Types
from kernels.verify import error_bound, reference

TIE = 2**-9
"""Of a step: how near the middle between two an activation may be rounded either way. f32 of up to 255 steps, divided
or multiplied by a reciprocal, is off by 255 x 3 x 2^-24 of one, a zero point that was rounded before by twice that."""


@dataclass(frozen=True)
class Activations:
    """How they are rounded.

    type    "bf16" or "f16": to that type, and so is the result where `output` is set; "": to integers
    group   neighbours along k that share a scale; 0: all of a row, -1: all of the matrix
    levels  of a symmetric scale 127: -127 to 127; of one that goes from the least to the largest 255, or 127
    affine  whether it does
    scale   the type of the scale
    output  the type to which results are rounded, "" where they are f32
    """

    type: str = ""
    group: int = 32
    levels: int = 127
    affine: bool = False
    scale: str = "f32"
    output: str = ""

    def rounded(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x[m,k] after rounding, in float64, and by how much each may be off."""
        if self.type:
            element = TYPES[self.type]
            return element.decode(element.encode(np.asarray(x, np.float64))), np.zeros(x.shape)
        rows = x.reshape(1, -1) if self.group < 0 else x
        m, k = rows.shape
        group = self.group if self.group > 0 else k
        padded = np.zeros((m, -(-k // group) * group))
        padded[:, :k] = rows
        q, step = self._quantised(padded.reshape(m, -1, group))
        near = np.abs(np.abs(q - np.floor(q)) - 0.5) < TIE
        found, off = (y.reshape(m, -1)[:, :k].reshape(x.shape) for y in (np.rint(q) * step, near * step))
        return found, off

    def _quantised(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Groups in steps from zero, not rounded yet, and the step that is multiplied with."""
        if self.affine:  # 0 is a step: the zero point is an integer, and drops out
            least, largest = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
            step = (largest - least) / self.levels
        else:
            step = np.abs(x).max(-1, keepdims=True) / self.levels
        kept = step.astype(TYPES[self.scale].storage).astype(np.float64)
        with np.errstate(all="ignore"):
            return np.where(step > 0, x / step, 0), np.broadcast_to(kept, x.shape)

    def meaning(self, types: Types, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(what x w^T is to be in float64, the bound of its error) for `linear`'s inputs as they are stored."""
        x, w = inputs
        near, off = self.rounded(x)
        expected = reference("linear", types, [near, w])
        bound = error_bound("linear", types, [near, w]) + off @ np.abs(TYPES[types["w"]].decode(w)).T
        if self.output:
            bound += TYPES[self.output].unit_roundoff * (np.abs(expected) + bound)
        return expected, bound
