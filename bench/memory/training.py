"""What training a Transformer holds in memory: parameters, gradients, optimizer state, activations; exact bytes.

Activations are what the backward pass reads, without dropout: of each layer and token 8 d + 2 f + h l elements for the
models of the paper (16 d + h l with f = 4 d). That is Korthikanti et al., "Reducing Activation Recomputation in Large
Transformer Models" (2022), whose s b h (34 + 5 a s / h) bytes in 16 bits are 32 + 2 a s / h without dropout.
"""

from dataclasses import asdict, dataclass
from typing import Any

from bench.files import csv_rows
from bench.workloads.model import Model, find

ADAM = 2  # a first and a second moment per parameter


@dataclass(frozen=True)
class Held:
    """Bytes of what a training step needs, were all gradients and all activations there at once."""

    parameters: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimizer + self.activations


def layer_elements(model: Model, length: int) -> int:
    """Elements per token and layer that the backward pass reads; `length` tokens attend to each other.

    d   what enters Q K V, the FFN and each of the two norms                          4 d
    q   Q, and what attention returns to O; kv: K and V                               2 q + 2 kv
    f   before and after the activation; gated: the third matrix's and the product    2 f, or 4 f
    h l the softmax's result, of which both of attention's products need a row
    """
    inner = 4 if model.gated else 2
    return 4 * model.width + 2 * (model.heads_width + model.kv_width) + inner * model.ffn + model.heads * length


def held(model: Model, length: int, batch: int, itemsize: int = 4, states: int = ADAM) -> Held:
    """What one step holds, all of it in elements of `itemsize` bytes.

    batch    sequences of `length` tokens
    states   optimizer's elements per parameter: 2 for Adam, 1 for SGD with momentum

    A decoder also keeps what enters and leaves its LM head: its last norm's input, its output, and every token's
    probabilities. Raises ValueError for a length or a batch below 1.
    """
    if length < 1 or batch < 1:
        raise ValueError(f"training takes at least 1 sequence of 1 token, not {batch} of {length}")
    weights = model.parameters() * itemsize
    per_token = model.layers * layer_elements(model, length)
    if model.decoder:
        per_token += 2 * model.width + model.vocabulary
    return Held(weights, weights, states * weights, batch * length * per_token * itemsize)


@dataclass(frozen=True)
class Printed:
    """A row of the paper's Fig. 4, in bytes.

    model    the model that it must be; None: not one that Model describes
    length   tokens of a sequence
    remark   in what the row contradicts itself or the model
    """

    name: str
    year: int
    batch: int
    parameters: float
    optimizer: float
    activations: float
    total: float
    model: str | None
    length: int
    remark: str


# model, tokens, remark
KNOWN: dict[str, tuple[str | None, int, str]] = {
    "BERT Large": ("BERT-Large", 512, ""),
    "GPT-2": ("GPT-2-XL", 1024, "printed for 2014 tokens, but the model takes 1024; its parts add up to 26.11"),
    "AlexNet": (None, 0, "its parts add up to 1.17"),
}


def printed() -> list[Printed]:
    """Fig. 4, row by row."""
    found = []
    for row in csv_rows("bench.memory", "training_memory"):
        parts = {name: float(row[name]) * 1e9 for name in ("parameters", "optimizer", "activations", "total")}
        model, length, remark = KNOWN.get(row["model"], (None, 0, ""))
        found.append(
            Printed(
                row["model"], int(row["year"]), int(row["batch"]), **parts, model=model, length=length, remark=remark
            )
        )
    return found


def training_rows() -> list[dict[str, Any]]:
    """Each row of the paper's Fig. 4 with what held() gives for it; None: the model isn't one that Model describes."""
    found = []
    for row in printed():
        ours = held(find(row.model), row.length, row.batch) if row.model else None
        found.append({**asdict(row), "held": None if ours is None else asdict(ours) | {"total": ours.total}})
    return found
