"""Fuzzing: whatever bytes a model or a checkpoint is made of, it is read or refused in one line."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench import layers
from bench.errors import BadInput
from bench.models.checkpoint import Tensors, model_of
from bench.models.config import KEYS, ONLY, from_config
from bench.models.weights import Weights, weights_of
from bench.workloads.counts import count, total
from bench.workloads.model import Model, from_toml
from support.checkpoints import CONFIG, GPT2, KINDS, bytes_of, tensors, write
from support.fuzz import tries
from support.needed import needed


def read(what: Callable[[], object]) -> object:
    """What is read; None where it is refused in one line."""
    try:
        return what()
    except BadInput as error:
        assert str(error).isprintable() and len(str(error)) < 1000
        return None


EDITS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 2), st.binary(max_size=4)), min_size=1, max_size=4)


def edited(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Each edit puts some bytes in the place of as many as it says, somewhere."""
    for at, removed, put in edits:
        at %= len(content) + 1
        content = content[:at] + put + content[at + removed :]
    return content


SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, -1, 2, 4, 8, 2**31, 2**63, 2**64 - 1, 10**400, 1e-5, 1e400, -0.0, 0.5, float("nan")])
    | st.integers(-5, 200)
    | st.text(max_size=6)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


# --- safetensors


GOOD = bytes_of(tensors(GPT2))
HEADER = int.from_bytes(GOOD[:8], "little") + 8
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from([*KINDS.values(), "BF16", "F8_E4M3", "F4", "x"]) | SCALARS,
        "shape": st.lists(st.integers(0, 80) | SCALARS, max_size=3) | SCALARS,
        "data_offsets": st.tuples(st.integers(0, 20_000), st.integers(0, 20_000)) | st.lists(SCALARS, max_size=3),
        "more": SCALARS,
    },
)


@given(edits=EDITS, part=st.sampled_from([8, HEADER, len(GOOD)]), cut=st.integers(0, 100))
@tries(150)
def test_bytes_of_safetensors(edits: list[tuple[int, int, bytes]], part: int, cut: int, tmp_path: Path) -> None:
    """The length of the header, the header, or all of it."""
    content = edited(GOOD[:part], edits) + GOOD[part:]
    good(content[: len(content) * (100 - cut if cut < 10 else 100) // 100], tmp_path)


@given(header=st.dictionaries(st.sampled_from([*tensors(GPT2), "__metadata__", "x"]), ENTRIES | VALUES, max_size=4))
@tries(60)
def test_headers_of_safetensors(header: dict[str, Any], tmp_path: Path) -> None:
    """Any entries in the place of some, with the rest as it was."""
    old = json.loads(GOOD[8:HEADER])
    for new in (header, old | header):
        text = json.dumps(new).encode()
        good(len(text).to_bytes(8, "little") + text + GOOD[HEADER:], tmp_path)


def good(content: bytes, folder: Path) -> None:
    needed("safetensors")
    path = folder / "x.safetensors"
    path.write_bytes(content)
    found = read(lambda: Tensors(path))
    for name in found if isinstance(found, Tensors) else ():
        x = read(lambda name=name: found[name])  # type: ignore[index]
        assert x is None or (isinstance(x, np.ndarray) and x.dtype == np.float32 and np.isfinite(x).all())
    weights = read(lambda: weights_of(GPT2, path))
    assert weights is None or (isinstance(weights, Weights) and weights.tokens.shape == (61, 32))


@given(index=VALUES | st.dictionaries(st.sampled_from(["weight_map", "metadata"]), VALUES), edits=EDITS)
@tries(60)
def test_indices(index: Any, edits: list[tuple[int, int, bytes]], tmp_path: Path) -> None:
    needed("safetensors")
    folder = write(tmp_path / "x", GPT2)
    (folder / "model.safetensors").replace(folder / "part.safetensors")
    full = json.dumps({"weight_map": dict.fromkeys(tensors(GPT2), "part.safetensors")}).encode()
    for content in (json.dumps(index).encode(), edited(full, edits)):
        (folder / "model.safetensors.index.json").write_bytes(content)
        read(lambda: weights_of(GPT2, folder))


# --- config.json


FIELDS = sorted({*ONLY, "model_type", *(key for keys in KEYS.values() for names in keys.values() for key in names)})


@given(of=st.sampled_from(sorted(CONFIG)), changed=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5))
@tries(200)
def test_configs(of: str, changed: dict[str, Any]) -> None:
    counted(read(lambda: from_config(json.dumps(CONFIG[of] | changed), "x", "it")))


@given(edits=EDITS)
@tries(150)
def test_bytes_of_configs(edits: list[tuple[int, int, bytes]], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(edited(json.dumps(CONFIG["gpt2"]).encode(), edits))
    counted(read(lambda: model_of(tmp_path, None)))


# --- TOML


NUMBERS = {"layers": 2, "width": 32, "heads": 4, "ffn": 64, "vocabulary": 61, "positions": 24}
MORE = ["segments", "decoder", "kv_heads", "head_dim", "gated", "biases", "rotary", "tied", "epsilon", "activation"]
RAW = st.sampled_from(
    ["true", "1e400", "nan", "-inf", "0x7f", "1_0", "[]", "{}", '"gelu"', '"\\u001b"', "1979-05-27", "[[", "'", "0.5"]
) | st.integers(-3, 10**12).map(str)


@given(
    name=st.text(max_size=20),
    changed=st.dictionaries(st.sampled_from([*NUMBERS, *MORE, "x"]), RAW, max_size=4),
    edits=st.just([]) | EDITS,
)
@tries(200)
def test_toml(name: str, changed: dict[str, str], edits: list[tuple[int, int, bytes]]) -> None:
    given_ = {"name": json.dumps(name), **{key: str(value) for key, value in NUMBERS.items()}, **changed}
    text = "\n".join(f"{key} = {value}" for key, value in given_.items())
    text = edited(text.encode("utf-8", "replace"), edits).decode("utf-8", "replace")
    counted(read(lambda: from_toml(text, "x")))


@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30))
@tries(20)
def test_names_on_a_terminal(name: str, tmp_path: Path) -> None:
    lines = [f"name = {json.dumps(name)}", *(f"{key} = {value}" for key, value in NUMBERS.items())]
    (tmp_path / "it.toml").write_text("\n".join(lines), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        read(lambda: layers.main(["--model", str(tmp_path / "it.toml"), "--length", "8"]))
    assert all(line.isprintable() for line in out.getvalue().splitlines())


def counted(model: object) -> None:
    """A model is one whose work can be counted."""
    if isinstance(model, Model):
        assert model.name.isprintable()
        for phase in model.phases:
            assert total(count(model, 1, phase)).flops > 0
            assert model.products(1, phase=phase)
        assert model.parameters() > 0


def test_what_fuzzing_begins_with_is_good(tmp_path: Path) -> None:
    needed("safetensors")
    good(GOOD, tmp_path)
    assert weights_of(GPT2, tmp_path / "x.safetensors")
