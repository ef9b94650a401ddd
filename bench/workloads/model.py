"""The matrix products of BERT, GPT-2 or another model: shapes of a forward pass, their FLOPs and compulsory bytes.

A model is one row of MODELS, or a TOML file with the same numbers; everything else follows from them. Batch 1, no
fusion, and attention as the dense products, head by head: a causal mask is not exploited, nor that heads may share K
and V. The embedding look-up and BERT's pooler are left out.
Sources: Vaswani et al. 2017 (the layer), Devlin et al. 2019 (BERT), Radford et al. 2019 (GPT-2), the released weights.
"""

import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from importlib.resources import files
from pathlib import Path

from bench.errors import BadInput, plain
from bench.files import read_text
from bench.workloads.shapes import PHASES, Case, Product, Shape

MOST = {
    "layers": 10**5,
    "width": 10**6,
    "heads": 10**6,
    "ffn": 10**7,
    "vocabulary": 10**8,
    "positions": 10**8,
    "segments": 10**6,
    "kv_heads": 10**6,
    "head_dim": 10**6,
}
"""The largest numbers that a model may have: what a record takes of them."""
NAME = 200  # characters
EPSILON = {False: 1e-12, True: 1e-5}  # BERT's and, for decoders, GPT-2's
GELU = {False: "gelu", True: "gelu_tanh"}


@dataclass(frozen=True)
class Model:
    """A Transformer as a few numbers.

    width       model dimension d
    ffn         inner dimension f of the feed-forward network
    vocabulary, positions, segments   rows of the embedding tables; positions is also the longest input
    decoder     generates tokens with a KV cache and a language-model head; an encoder has a pooler instead
    fused_qkv   Q, K and V are one product with n = heads_width + 2 kv_width (3 d where all heads have K and V)
    conv1d      weights are stored W[k, n] (GPT-2's Conv1D), not W[n, k] (nn.Linear)
    kv_heads    heads of K and V, each shared by heads / kv_heads of Q (grouped-query attention); 0: as many as heads
    head_dim    elements per head; 0: width / heads
    gated       the FFN multiplies its inner activations by those of a third matrix, the gate (SwiGLU)
    biases      matrices and norms have one; without, a norm is a gain alone (RMSNorm)
    rotary      positions are rotated into Q and K: there is no table of them
    tied        the LM head is the token embedding
    epsilon     what a norm adds to the variance; 0: BERT's 1e-12, a decoder's 1e-5
    activation  GELU by the error function, "gelu", or by tanh, "gelu_tanh"; "": as in BERT, or a decoder's

    Raises ValueError for numbers that make no model.
    """

    name: str
    layers: int
    width: int
    heads: int
    ffn: int
    vocabulary: int
    positions: int
    segments: int = 0
    decoder: bool = False
    fused_qkv: bool = False
    conv1d: bool = False
    kv_heads: int = 0
    head_dim: int = 0
    gated: bool = False
    biases: bool = True
    rotary: bool = False
    tied: bool = True
    epsilon: float = 0.0
    activation: str = ""

    def __post_init__(self) -> None:
        if not self.name or self.name != plain(self.name) or len(self.name) > NAME:
            raise ValueError(
                f"name must be one printable line of 1 to {NAME} characters, not {plain(self.name)[:40]!r}"
            )
        for name in ("layers", "width", "heads", "ffn", "vocabulary", "positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("segments", "kv_heads", "head_dim"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} can't be negative, as {getattr(self, name)} is")
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} can be {most} at most")
        if not self.head_dim:
            if self.width % self.heads:
                raise ValueError(f"width {self.width} is no multiple of {self.heads} heads: give head_dim")
            object.__setattr__(self, "head_dim", self.width // self.heads)
        if not self.kv_heads:
            object.__setattr__(self, "kv_heads", self.heads)
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads can't share {self.kv_heads} kv_heads evenly")
        if not self.epsilon:
            object.__setattr__(self, "epsilon", EPSILON[self.decoder])
        if not 0 < self.epsilon < 1:
            raise ValueError(f"epsilon must be between 0 and 1, not {self.epsilon}")
        if not self.activation:
            object.__setattr__(self, "activation", GELU[self.decoder])
        if self.activation not in GELU.values():
            raise ValueError(f"activation must be {' or '.join(GELU.values())}, not {plain(self.activation)[:40]!r}")

    @property
    def phases(self) -> tuple[str, ...]:
        return ("prefill", "decode") if self.decoder else ("encode",)

    @property
    def heads_width(self) -> int:
        """q, the width of Q and of what attention returns: d in most models."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """The width of K and of V, and so of one token in each of the two caches."""
        return self.kv_heads * self.head_dim

    def beyond(self, length: int) -> str:
        """What is to be said where more tokens than the model takes are counted or measured; nothing for fewer."""
        if length <= self.positions:
            return ""
        return f"{self.name} has {self.positions} positions; with more tokens it is taken as if it had as many."

    def parameters(self, embeddings: bool = True) -> int:
        """Number of parameters, exact; a norm has a gain and, with biases, a bias: 2 d.

        layer       2 d q + 2 d kv  Q K V O  +  2 d f, or 3 d f gated,  FFN  +  their biases  +  two norms
        decoder     + the norm behind the last layer
        embeddings  (vocabulary + positions + segments) d; an encoder has their norm and d^2 + d for the pooler
                    besides, an untied LM head vocabulary d more.
        """
        d, f, q, kv = self.width, self.ffn, self.heads_width, self.kv_width
        inward = 1 + self.gated  # matrices from d to f
        norm = d * (1 + self.biases)
        layer = 2 * d * (q + kv) + (inward + 1) * d * f + 2 * norm
        if self.biases:
            layer += q + 2 * kv + d + inward * f + d
        total = self.layers * layer + (norm if self.decoder else 0)
        if embeddings:
            total += (self.vocabulary * (2 - self.tied) + self.segments) * d
            total += 0 if self.rotary else self.positions * d
            total += 0 if self.decoder else norm + d * d + self.biases * d
        return total

    def products(self, length: int, context: int | None = None, phase: str | None = None) -> list[Product]:
        """Every matrix product of one forward pass, in the order of a layer.

        length   tokens that enter together (encode, prefill)
        context  tokens in the KV cache that the one new token attends to, itself included (decode); None: `length`
        phase    one of self.phases; None: the first of them

        Raises ValueError for a phase the model doesn't have and a length beyond its positions.
        """
        phase = self.phases[0] if phase is None else phase
        if phase not in self.phases:
            raise ValueError(f"{self.name} has no phase {phase!r}, only {' and '.join(self.phases)}")
        decode = phase == "decode"
        keys = length if context is None or not decode else context
        for tokens in (length, keys):
            if not 1 <= tokens <= self.positions:
                raise ValueError(f"{self.name} takes 1 to {self.positions} tokens, not {tokens}")

        m = 1 if decode else length
        linear = "gemm" if not decode else "gemv_t" if self.conv1d else "gemv"
        by_keys, by_values = ("gemv", "gemv_t") if decode else ("gemm", "gemm")
        d, f, per_head = self.width, self.ffn, self.layers * self.heads
        q, kv = self.heads_width, self.kv_width

        projections = [("qkv", q + 2 * kv)] if self.fused_qkv else [("q", q), ("k", kv), ("v", kv)]
        products = [Product(linear, m, n, d, True, layer, self.layers) for layer, n in projections]
        products += [
            # both caches are [keys, head_dim], so a decoder's K is W[n, k] of its product and V is W[k, n]
            Product(by_keys, m, keys, self.head_dim, False, "scores", per_head),
            Product(by_values, m, self.head_dim, keys, False, "values", per_head),
            Product(linear, m, d, q, True, "o", self.layers),
            *([Product(linear, m, f, d, True, "ffn_gate", self.layers)] if self.gated else []),
            Product(linear, m, f, d, True, "ffn_up", self.layers),
            Product(linear, m, d, f, True, "ffn_down", self.layers),
        ]
        if self.decoder:  # only the last position is needed, and the tied embedding is W[vocabulary, d]
            products.append(Product("gemv", 1, self.vocabulary, d, True, "lm_head", 1))
        return products

    def pointwise(self, length: int, context: int | None = None, phase: str | None = None) -> list[Product]:
        """What a forward pass does between its products, with the biases fused into it where bench.models does so.

        Arguments and errors as of products(). For models like BERT and GPT-2; others have other norms and gates.
        """
        scores = next(p for p in self.products(length, context, phase) if p.layer == "scores")
        m, d, layers = scores.m, self.width, self.layers

        def rows(operation: str, n: int, layer: str, count: int) -> Product:
            return Product(operation, m, n, 1, False, layer, count)

        softmax = "softmax_causal" if self.decoder else "softmax"
        shared = [
            rows("residual", d, "embedding", 1),
            rows("bias", self.heads_width + 2 * self.kv_width, "bias", layers),
            Product(softmax, m, scores.n, 1, False, "softmax", layers, batch=self.heads),
        ]
        if self.decoder:
            norms = [rows("residual", d, "residual", 2 * layers), rows("layer_norm", d, "norm", 2 * layers + 1)]
        else:
            norms = [rows("residual_norm", d, "norm", 2 * layers), rows("layer_norm", d, "norm", 1)]
        return [*shared, *norms, rows(self.activation, self.ffn, "gelu", layers)]


MODELS = (
    Model("BERT-Base", 12, 768, 12, 3072, 30522, 512, segments=2),
    Model("BERT-Large", 24, 1024, 16, 4096, 30522, 512, segments=2),
    Model("GPT-2", 12, 768, 12, 3072, 50257, 1024, decoder=True, fused_qkv=True, conv1d=True),
)


def distinct_shapes(
    models: Iterable[Model] = MODELS,
    lengths: Sequence[int] = (128,),
    contexts: Sequence[int] | None = None,
    phases: Sequence[str] = PHASES,
    of: Callable[..., list[Product]] = Model.products,
) -> list[Case]:
    """Every shape once, in order of first use, with the layers of all models that use it; of=Model.pointwise: of those.

    A model contributes those of `phases` that it has: encode and prefill at each of `lengths`, decode at each of
    `contexts` (None: `lengths`). Raises ValueError where one of them is beyond a model's positions.
    """
    users: dict[Shape, dict[str, list[str]]] = {}
    for model in models:
        for phase in (phase for phase in model.phases if phase in phases):
            for tokens in contexts if phase == "decode" and contexts is not None else lengths:
                for p in of(model, tokens, phase=phase):
                    layers = users.setdefault(p.shape, {}).setdefault(model.name, [])
                    if p.layer not in layers:
                        layers.append(p.layer)
    return [
        Case(**vars(shape), layers=tuple(f"{name} {','.join(layers)}" for name, layers in by_model.items()))
        for shape, by_model in users.items()
    ]


def from_toml(text: str, source: str) -> Model:
    """A model from TOML whose keys are Model's fields. Raises BadInput, naming `source`, for anything else."""
    try:
        given = tomllib.loads(text)
    except RecursionError as error:
        raise BadInput(f"{source}: brackets are nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{source}: not TOML: {str(error)[:200]}") from error
    except ValueError as error:  # Python's limit on digits
        raise BadInput(f"{source}: a number has too many digits") from error
    known = {field.name: field for field in fields(Model)}
    for key, value in given.items():
        if key not in known:
            raise BadInput(f"{source}: unknown key {key[:40]!r}; a model has {', '.join(known)}")
        wanted = known[key].type
        if type(value) is not wanted:  # a bool is an int, but none that counts layers
            raise BadInput(f"{source}: {key} must be of type {getattr(wanted, '__name__', wanted)}, not {value!r:.40}")
    missing = [name for name, field in known.items() if field.default is MISSING and name not in given]
    if missing:
        raise BadInput(f"{source}: {', '.join(missing)} missing")
    try:
        return Model(**given)
    except ValueError as error:
        raise BadInput(f"{source}: {error}") from error


def shipped() -> tuple[Model, ...]:
    """The models of data/*.toml: they can be asked for by name, but no session measures them unasked."""
    paths = sorted(
        (p for p in files("bench.workloads").joinpath("data").iterdir() if p.name.endswith(".toml")), key=str
    )
    return tuple(from_toml(path.read_text(encoding="utf-8"), path.name) for path in paths)


def find(name: str) -> Model:
    """The model of that name, in any case, or of a file NAME.toml. Raises BadInput for an unknown one."""
    if name.lower().endswith(".toml"):
        return from_toml(read_text(Path(name)), name)
    models = (*MODELS, *shipped())
    for model in models:
        if model.name.lower() == name.lower():
            return model
    raise BadInput(f"no model {name!r}; there are {', '.join(model.name for model in models)}, or a file NAME.toml")
