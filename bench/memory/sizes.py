"""A chain of FFN layers by its numbers: what a step of training holds and computes at every checkpoint interval."""

from dataclasses import dataclass

ITEM = 4  # bytes of an f32


class Disagreement(Exception):
    """A step's memory or gradients aren't what they have to be: its figures are not to be shown."""


@dataclass(frozen=True)
class Sizes:
    """layers of width d and inner width f, for `rows` tokens."""

    layers: int
    rows: int
    width: int
    ffn: int

    def peak_bytes(self, interval: int) -> int:
        """Most that a step with segments of `interval` layers holds, when the backward pass enters the last segment.

        (n/k - 1) inputs of d, k layers of d + 2 f, and of the layer in work a gradient of d and two of f, per row
        """
        segments = -(-self.layers // interval)
        kept = interval * (self.width + 2 * self.ffn)
        return self.rows * ((segments - 1) * self.width + kept + self.width + 2 * self.ffn) * ITEM

    @property
    def fixed_bytes(self) -> int:
        """Weights, in both orders, and their gradients; the input and its gradient: the same whatever is kept."""
        return (self.layers * 6 * self.width * self.ffn + 2 * self.rows * self.width) * ITEM

    def more_flops(self, interval: int) -> float:
        """FLOPs over those with everything kept, minus one: all but the last segment runs forward twice.

        The backward pass has twice the forward's products, so a step is 3 forward passes.
        """
        return (self.layers - interval) / (3 * self.layers)

    def uniform_less_memory(self, interval: int) -> float:
        """How much less a chain would hold whose layers keep no more than a checkpoint: n / (k + n/k - 1)."""
        return self.layers / (interval + -(-self.layers // interval) - 1)
