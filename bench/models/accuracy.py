"""How far a model with stored weights is from the same one in its native type, on the same tokens.

Of a decoder: logits, Kullback-Leibler divergence, likeliest tokens, perplexity; of an encoder: hidden states. Both are
run on the kernels that are timed, so that activations rounded on the way count.
"""

from collections.abc import Iterator, Sequence
from math import exp, sqrt

import numpy as np

from bench.models.inference import Decoder, Encoder
from bench.models.steps import Binder
from bench.models.text import Text
from bench.models.weights import Weights
from bench.record.runs.run import Accuracy
from bench.workloads.model import Model
from kernels.verify import WrongResult

WINDOW = 1024  # tokens: what GPT-2 takes
ROWS = 32  # positions whose logits are held at once
LARGEST = 1e300  # a perplexity that a record takes


class Scorer:
    """What a model gives at every position of a window of `length` tokens, the first of which follows nothing.

    Arguments as of Decoder and Encoder.
    """

    def __init__(self, model: Model, weights: Weights, length: int, threads: int, backend: str) -> None:
        self._pass: Encoder | Decoder
        if not model.decoder:
            self._pass = Encoder(model, weights, length, threads, backend)
            return
        self._pass = Decoder(model, weights, length, length, threads, backend)
        self._weights, self._threads = weights, threads
        self._logits = Binder("f32", threads, backend).empty(min(ROWS, length), model.vocabulary)

    def blocks(self, tokens: np.ndarray) -> Iterator[np.ndarray]:
        """The logits of ROWS positions after the other, or an encoder's hidden states; overwritten by the next."""
        if isinstance(self._pass, Encoder):
            yield self._pass.encode(tokens)
            return
        self._pass.start(tokens)
        assert self._pass.prefill
        hidden = self._pass.prefill.y
        for first in range(0, len(hidden), ROWS):
            rows = hidden[first : first + ROWS]
            out = self._logits[: len(rows)]
            if head := self._weights.stored_head:
                head.kernel(rows, head.packed, out=out, threads=self._threads)
            else:
                np.matmul(rows, self._weights.head.T, out=out)
            yield out


class Errors:
    """Of one model against its native one; add() takes what both gave, accuracy() sums up."""

    def __init__(self) -> None:
        self.positions = self.values = self.predicted = 0
        self.max = self.squares = self.native_squares = self.kl = self.kl_most = self.changes = 0.0
        self.same = 0
        self.surprise = np.zeros(2)  # the native model's, then this one's: -log p of the next token, summed

    def hidden(self, native: np.ndarray, other: np.ndarray) -> None:
        """Values at some positions, [positions, any]. Raises WrongResult where they aren't finite."""
        if not np.isfinite(other).all():
            raise WrongResult("values that aren't finite")
        wide = native.astype(np.float64)
        error = other - wide
        self.max = max(self.max, float(np.abs(error).max()))
        self.squares += float(np.vdot(error, error))
        centred = wide - wide.mean(-1, keepdims=True)
        self.native_squares += float(np.vdot(centred, centred))
        self.positions += len(wide)
        self.values += wide.size

    def logits(self, native: "Distribution", other: "Distribution", following: np.ndarray) -> None:
        """Logits of some positions, and the tokens that follow them, one fewer where nothing follows the last."""
        self.hidden(native.logits, other.logits)
        divergence = np.sum(native.p * (native.log_p - other.log_p), axis=-1)
        self.kl += float(np.maximum(divergence, 0).sum())
        self.kl_most = max(self.kl_most, float(divergence.max()))
        rows, top = np.arange(len(native.p)), native.logits.argmax(-1)
        self.same += int((other.logits.argmax(-1) == top).sum())
        self.changes += float(((other.p[rows, top] - native.p[rows, top]) ** 2).sum())
        at = np.arange(len(following)), following
        self.surprise -= native.log_p[at].sum(), other.log_p[at].sum()
        self.predicted += len(following)

    def accuracy(self, model: Model, checkpoint: bool, given: bool) -> Accuracy:
        """checkpoint: the weights aren't random; given: nor is the text."""
        count = self.positions
        meaning = model.decoder and checkpoint and given
        native, other = (min(_exp(s / self.predicted), LARGEST) if meaning else None for s in self.surprise)
        known = model.decoder
        return {
            "positions": count,
            "weights": "checkpoint" if checkpoint else "random",
            "text": "given" if given else "random",
            "max_error": self.max,
            "rms_error": sqrt(self.squares / self.values),
            "rms": sqrt(self.native_squares / self.values),
            "kl": self.kl / count if known else None,
            "kl_most": self.kl_most if known else None,
            "same_top": self.same / count if known else None,
            "top_change": sqrt(self.changes / count) if known else None,
            "perplexity": other,
            "native_perplexity": native,
        }


def _exp(x: float) -> float:
    return exp(x) if x < 690 else LARGEST


class Distribution:
    """Of the next token, at some positions: logits, and in float64 the logarithms of probabilities and these."""

    def __init__(self, logits: np.ndarray) -> None:
        self.logits = logits
        wide = logits.astype(np.float64)
        wide -= wide.max(-1, keepdims=True)
        self.p = np.exp(wide)
        total = self.p.sum(-1, keepdims=True)
        self.p /= total
        self.log_p = wide - np.log(total)


def windows(tokens: np.ndarray, length: int) -> list[np.ndarray]:
    """The text in pieces of `length` tokens, the last one shorter."""
    return [tokens[first : first + length] for first in range(0, len(tokens), length)]


def accuracies(
    model: Model, native: Weights, others: Sequence[tuple[str, Weights]], text: Text, threads: int, checkpoint: bool
) -> list[Accuracy]:
    """Of each of `others`, a backend and its weights, over a text; the native model runs on the first one's kernels.

    Raises WrongResult where values aren't finite.
    """
    length = min(model.positions, WINDOW)
    each = [(others[0][0], native), *others]
    found = [Errors() for _ in others]
    scorers: dict[int, list[Scorer]] = {}
    for window in windows(text.tokens, length):
        if len(window) not in scorers:
            scorers[len(window)] = [Scorer(model, w, len(window), threads, backend) for backend, w in each]
        at = 0
        for block in zip(*(scorer.blocks(window) for scorer in scorers[len(window)]), strict=True):
            _add(found, model, block, window[at + 1 : at + 1 + len(block[0])])
            at += len(block[0])
    return [errors.accuracy(model, checkpoint, text.given) for errors in found]


def _add(found: Sequence[Errors], model: Model, block: Sequence[np.ndarray], following: np.ndarray) -> None:
    """What all models gave at some positions, the native one first."""
    if not model.decoder:
        for errors, one in zip(found, block[1:], strict=True):
            errors.hidden(block[0], one)
        return
    expected = Distribution(block[0])
    for errors, one in zip(found, block[1:], strict=True):
        errors.logits(expected, Distribution(one), following)
