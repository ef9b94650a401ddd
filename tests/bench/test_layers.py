"""bench.layers against published parameter counts and against shapes, FLOPs and bytes worked out by hand."""

import json

import pytest

from bench import layers
from bench.errors import BadInput
from bench.workloads.model import MODELS, Model, distinct_shapes, find
from bench.workloads.shapes import Case, Product, Shape

BERT_BASE, BERT_LARGE, GPT2 = (find(name) for name in ("BERT-Base", "BERT-Large", "GPT-2"))


def by_layer(products: list[Product]) -> dict[str, Product]:
    return {product.layer: product for product in products}


def phases() -> list[tuple[Model, str]]:
    return [(model, phase) for model in MODELS for phase in model.phases]


@pytest.mark.parametrize(
    ("model", "embeddings", "published"),
    [
        (GPT2, True, 124_439_808),
        (GPT2, False, 85_054_464 + 2 * 768),  # 12 layers and the LayerNorm behind them
        (BERT_BASE, False, 85_054_464),
        (BERT_BASE, True, 109_482_240),
        (BERT_LARGE, False, 302_309_376),
        (BERT_LARGE, True, 335_141_888),
    ],
)
def test_parameters_are_those_of_the_released_models(model: Model, embeddings: bool, published: int) -> None:
    assert model.parameters(embeddings) == published


@pytest.mark.parametrize(("model", "phase"), phases())
def test_products_use_every_weight_matrix_of_the_layers_once(model: Model, phase: str) -> None:
    weights = sum(p.count * p.n * p.k for p in model.products(128, phase=phase) if p.weight and p.layer != "lm_head")
    d, f = model.width, model.ffn
    vectors = model.layers * (3 * d + d + f + d + 4 * d) + (2 * d if model.decoder else 0)  # biases, LayerNorms
    assert weights == model.parameters(embeddings=False) - vectors


def test_encoder_shapes() -> None:
    found = by_layer(BERT_BASE.products(128))
    assert list(found) == ["q", "k", "v", "scores", "values", "o", "ffn_up", "ffn_down"]
    assert {p.operation for p in found.values()} == {"gemm"}
    assert {name: (p.m, p.n, p.k, p.count) for name, p in found.items()} == {
        **dict.fromkeys(("q", "k", "v", "o"), (128, 768, 768, 12)),
        "scores": (128, 128, 64, 144),
        "values": (128, 64, 128, 144),
        "ffn_up": (128, 3072, 768, 12),
        "ffn_down": (128, 768, 3072, 12),
    }
    assert {name for name, p in found.items() if not p.weight} == {"scores", "values"}


def test_decode_shapes_follow_the_storage_of_each_operand() -> None:
    found = by_layer(GPT2.products(128, context=300, phase="decode"))
    assert {name: (p.operation, p.m, p.n, p.k, p.count) for name, p in found.items()} == {
        "qkv": ("gemv_t", 1, 2304, 768, 12),
        "scores": ("gemv", 1, 300, 64, 144),
        "values": ("gemv_t", 1, 64, 300, 144),
        "o": ("gemv_t", 1, 768, 768, 12),
        "ffn_up": ("gemv_t", 1, 3072, 768, 12),
        "ffn_down": ("gemv_t", 1, 768, 3072, 12),
        "lm_head": ("gemv", 1, 50257, 768, 1),
    }


def test_prefill_needs_the_lm_head_at_the_last_position_only() -> None:
    found = by_layer(GPT2.products(128, phase="prefill"))
    assert (found["lm_head"].operation, found["lm_head"].m) == ("gemv", 1)
    assert found["qkv"] == Product("gemm", 128, 2304, 768, True, "qkv", 12)


def test_nn_linear_decoder_reads_its_weights_row_by_row() -> None:
    model = Model("linear", 2, 64, 2, 256, 100, 32, decoder=True)
    found = by_layer(model.products(8, phase="decode"))
    assert {p.operation for p in found.values() if p.weight} == {"gemv"}
    assert found["values"].operation == "gemv_t"


def test_flops_bytes_and_intensity_of_known_products() -> None:
    square = Shape("gemm", 128, 768, 768, True)
    assert square.flops == 150_994_944
    assert square.bytes("f32") == 3_145_728
    assert square.intensity("f32") == 48.0
    head = Shape("gemv", 1, 50257, 768, True)
    assert head.flops == 77_194_752
    assert head.bytes("f32") == 4 * (768 + 50257 * 768 + 50257)
    assert head.bytes("f64") == 2 * head.bytes("f32")
    assert head.intensity("f32") < 0.5  # one multiply-add per weight of 4 bytes, and the vectors on top


@pytest.mark.parametrize(("model", "length"), [(BERT_BASE, 128), (BERT_BASE, 512), (BERT_LARGE, 128)])
def test_encoder_flops_are_the_closed_form(model: Model, length: int) -> None:
    d, f = model.width, model.ffn
    per_layer = 8 * d * d * length + 4 * d * f * length + 4 * length * length * d  # Q K V O, FFN, attention
    assert sum(p.count * p.flops for p in model.products(length)) == model.layers * per_layer


def test_distinct_shapes_name_every_user_once() -> None:
    cases = distinct_shapes()
    assert cases[0] == Case("gemm", 128, 768, 768, True, ("BERT-Base q,k,v,o", "GPT-2 o"))
    assert cases[0].label == "gemm 128x768x768 (BERT-Base q,k,v,o; GPT-2 o)"
    shapes = [(case.operation, case.m, case.n, case.k, case.weight) for case in cases]
    assert len(set(shapes)) == len(shapes)
    wanted = {(p.operation, p.m, p.n, p.k, p.weight) for m, phase in phases() for p in m.products(128, phase=phase)}
    assert set(shapes) == wanted


def test_decode_weights_are_the_same_at_every_context() -> None:
    one = distinct_shapes([GPT2], phases=["decode"], contexts=[128])
    two = distinct_shapes([GPT2], phases=["decode"], contexts=[128, 1024])
    assert [case for case in two if case not in one] == [
        Case("gemv", 1, 1024, 64, False, ("GPT-2 scores",)),
        Case("gemv_t", 1, 64, 1024, False, ("GPT-2 values",)),
    ]


@pytest.mark.parametrize(
    ("model", "arguments", "reason"),
    [
        (BERT_BASE, {"length": 128, "phase": "decode"}, "no phase 'decode', only encode"),
        (GPT2, {"length": 128, "phase": "encode"}, "only prefill and decode"),
        (BERT_BASE, {"length": 513}, "1 to 512 tokens, not 513"),
        (GPT2, {"length": 0}, "not 0"),
        (GPT2, {"length": 1, "context": 1025, "phase": "decode"}, "not 1025"),
    ],
)
def test_impossible_passes_are_refused(model: Model, arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        model.products(**arguments)  # type: ignore[arg-type]


def test_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert layers.main(["--model", "gpt-2", "--phase", "decode", "--length", "64", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["layer"] for row in rows] == ["qkv", "scores", "values", "o", "ffn_up", "ffn_down", "lm_head"]
    assert rows[1] == {
        "model": "GPT-2", "phase": "decode", "layer": "scores", "operation": "gemv", "m": 1, "n": 64, "k": 64,
        "weight": False, "batch": 1, "count": 144, "flops": 8192, "bytes_f32": 4 * (64 + 64 * 64 + 64),
        "intensity_f32": 8192 / 16896,
    }  # fmt: skip


def test_command_prints_a_table_per_model_and_phase(capsys: pytest.CaptureFixture[str]) -> None:
    assert layers.main([]) == 0
    out = capsys.readouterr().out
    for model, phase in phases():
        assert f"{model.name}, {phase}, 128 tokens" in out
    assert "150.995" in out  # MFLOP of BERT-Base's projections


@pytest.mark.parametrize(
    "arguments", [["--model", "GPT-5"], ["--length", "600"], ["--model", "BERT-Base", "--phase", "decode"]]
)
def test_command_refuses_bad_input(arguments: list[str]) -> None:
    with pytest.raises(BadInput):
        layers.main(arguments)


@pytest.mark.parametrize(("name", "published"), [("GPT-2-XL", 1_557_611_200), ("llama-3-8b", 8_030_261_248)])
def test_parameters_of_models_given_by_their_numbers(name: str, published: int) -> None:
    assert find(name).parameters() == published


def test_gated_ffn_and_shared_kv_heads() -> None:
    found = by_layer(find("Llama-3-8B").products(16, phase="decode"))
    assert list(found) == ["q", "k", "v", "scores", "values", "o", "ffn_gate", "ffn_up", "ffn_down", "lm_head"]
    assert [found[name].n for name in ("q", "k", "v", "o", "ffn_gate", "ffn_down")] == [
        4096,
        1024,
        1024,
        4096,
        14336,
        4096,
    ]
    own = by_layer(Model("wide heads", 1, 64, 2, 128, 100, 32, kv_heads=1, head_dim=48, fused_qkv=True).products(8))
    assert [(own[name].n, own[name].k) for name in ("qkv", "scores", "o")] == [(96 + 2 * 48, 64), (8, 48), (64, 96)]
