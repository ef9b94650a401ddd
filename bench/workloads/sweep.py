"""What a session runs: which shapes, at which m, for how long. --sweep chooses one of SWEEPS."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.workloads.model import MODELS, Model, distinct_shapes
from bench.workloads.shapes import Case, Shape


@dataclass(frozen=True)
class Sweep:
    """lengths: tokens that enter a layer (1: decode). walk: m at which each weight matrix is walked across the ridge.

    contexts: tokens in a decoder's KV cache. seconds: measuring time per kernel and shape. matrices: the weight
    matrices (k, n), all of the models' where empty; walked: those that are walked, all of them where empty. rungs:
    shapes on which GEMM's lower rungs run too. pointwise: tokens at which the pointwise operations run.
    """

    lengths: tuple[int, ...]
    walk: tuple[int, ...]
    contexts: tuple[int, ...]
    seconds: float
    matrices: tuple[tuple[int, int], ...] = ()
    rungs: tuple[tuple[int, int, int], ...] = ()
    pointwise: tuple[int, ...] = (128,)
    walked: tuple[tuple[int, int], ...] = ()


SWEEPS = {
    "quick": Sweep((1, 32, 128), (1, 2, 4, 8, 16, 32, 128), (), 0.035, matrices=((768, 768), (768, 3072))),
    "default": Sweep(
        (1, 8, 32, 128, 512),
        (1, 2, 4, 8, 16, 32, 64, 128),
        (128, 512),
        0.1,
        rungs=((128, 768, 768),),
        walked=((768, 768), (768, 2304), (768, 3072), (3072, 768)),
    ),
    "full": Sweep(
        (1, 8, 32, 128, 512),
        (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256),
        (1, 8, 32, 128, 512),
        0.6,
        rungs=((128, 768, 768), (128, 3072, 768), (512, 768, 768)),
        pointwise=(8, 32, 128, 512),
    ),
}


def _at_one(case: Case) -> Case:
    """A product with one row of activations is a GEMV: of nn.Linear's W[n,k] unless the model stores W[k,n]."""
    return replace(case, operation="gemv") if case.operation == "gemm" and case.m == 1 else case


def _wanted(case: Case, sweep: Sweep) -> bool:
    return not sweep.matrices or (case.weight and (case.k, case.n) in sweep.matrices)


def layer_cases(sweep: Sweep) -> list[Case]:
    """Every distinct product of the models' layers at the sweep's lengths, all lengths of a matrix together.

    The LM head appears once, at m = 1: only the last position needs it.
    """
    tall = tuple(n for n in sweep.lengths if n > 1)
    cases = distinct_shapes(MODELS, lengths=tall, contexts=sweep.contexts or (128,))
    if 1 in sweep.lengths:
        cases += [_at_one(c) for c in distinct_shapes(MODELS, lengths=(1,), phases=("encode",)) if c.weight]
    else:
        cases = [c for c in cases if c.m > 1]
    cases = [c for c in cases if _wanted(c, sweep)]
    return sorted(_merged(cases), key=lambda c: (not c.weight, c.k * c.n if c.weight else 0, c.k, c.n, c.m))


def _merged(cases: Iterable[Case]) -> list[Case]:
    """One case per shape, with the layers of all."""
    found: dict[Shape, Case] = {}
    for case in cases:
        before = found.get(case.shape)
        found[case.shape] = (
            case if before is None else replace(before, layers=tuple(dict.fromkeys(before.layers + case.layers)))
        )
    return list(found.values())


def walk_cases(sweep: Sweep) -> list[Case]:
    """Each weight matrix of the layers at every m of the walk; at m = 1 as x W[k,n], the same matrix."""
    found = {(c.k, c.n): c.layers for c in layer_cases(sweep) if c.weight and c.m > 1}
    matrices = {kn: layers for kn, layers in found.items() if not sweep.walked or kn in sweep.walked}
    return [
        Case("gemv_t" if m == 1 else "gemm", m, n, k, True, layers)
        for (k, n), layers in matrices.items()
        for m in sweep.walk
    ]


def pointwise_cases(sweep: Sweep) -> list[Case]:
    """Softmax, norms, GELU, biases and residuals, on activations that the last product left in a cache."""
    widths = {k for k, _ in sweep.matrices}
    models = [model for model in MODELS if not widths or model.width in widths]
    cases = distinct_shapes(models, lengths=sweep.pointwise, phases=("encode", "prefill"), of=Model.pointwise)
    return sorted(cases, key=lambda c: (c.operation, c.n, c.m))
