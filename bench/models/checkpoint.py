"""A checkpoint as save_pretrained writes it: safetensors in one file or several, and config.json, which says of what.

Format: https://huggingface.co/docs/safetensors. Of several files model.safetensors.index.json has each tensor's file.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import BadInput, plain
from bench.files import check_file, parse_json, read_text
from bench.models.config import from_config
from bench.workloads.model import NAME, Model

WEIGHTS = ("F32", "F16", "BF16", "F64")
"""Types of tensors that are read as weights, all as f32."""
NAMES = re.compile(r"model(\.\w+)?\.safetensors|model\.safetensors\.index(\.\w+)?\.json")
POINTER = b"version https://git-lfs"


class Tensors(Mapping[str, np.ndarray]):
    """The tensors of a checkpoint by name, each read as f32 when it is asked for.

    Raises BadInput, naming the file, where safetensors isn't installed, for files that aren't what they should be, and
    when a tensor is asked for that holds no weights, or values that aren't finite in f32.
    """

    def __init__(self, path: Path) -> None:
        self._files: dict[str, Path] = {}
        self._open: dict[Path, Any] = {}
        self._data: dict[Path, tuple[int, dict[str, Any]]] = {}
        main = weights_file(path)
        if main.suffix != ".json":
            self._files = dict.fromkeys(self._handle(main).keys(), main)
            return
        self._files = _weight_map(main)
        has = {file: {*self._handle(file).keys()} for file in {*self._files.values()}}
        for name, file in self._files.items():
            if name not in has[file]:
                raise BadInput(f"{file}: no {name}, which {main.name} has there")

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __getitem__(self, name: str) -> np.ndarray:
        file = self._files[name]
        about = self._handle(file).get_slice(name)
        kind, shape = about.get_dtype(), tuple(about.get_shape())
        if kind not in WEIGHTS:
            raise BadInput(f"{file}: {name} is {kind}; weights are read from {', '.join(WEIGHTS)}")
        found = self._bf16(file, name, shape) if kind == "BF16" else self._handle(file).get_tensor(name)
        with np.errstate(over="ignore"):
            found = np.asarray(found, np.float32)
        if not np.isfinite(found).all():
            raise BadInput(f"{file}: {name} has values that aren't finite in f32")
        return found

    def _bf16(self, file: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """bfloat16, which NumPy hasn't: the upper half of an f32. Bytes are where the header says, which is checked."""
        if file not in self._data:
            with file.open("rb") as raw:
                length = int.from_bytes(raw.read(8), "little")
                self._data[file] = 8 + length, json.loads(raw.read(length))
        start, header = self._data[file]
        offset = start + header[name]["data_offsets"][0]
        upper = np.fromfile(file, "<u2", int(np.prod(shape, dtype=np.int64)), offset=offset)
        return (upper.astype(np.uint32) << 16).view(np.float32).reshape(shape)

    def _handle(self, file: Path) -> Any:
        """An open file of safetensors, its header checked."""
        if file not in self._open:
            self._open[file] = _opened(file)
        return self._open[file]


def _opened(file: Path) -> Any:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise BadInput("--weights needs safetensors, which isn't installed: pip install safetensors") from error
    check_file(file)
    try:
        with file.open("rb") as raw:
            if raw.read(len(POINTER)) == POINTER:
                raise BadInput(f"{file}: a pointer of Git LFS, not the file: git lfs pull")
        return safe_open(str(file), "numpy")
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{file}: not safetensors that can be read: {error}") from error


def weights_file(path: Path) -> Path:
    """The file that has a checkpoint's tensors, or the index of several. Raises BadInput where there isn't one.

    path  that file, or its folder, where transformers looks in this order; then one with a variant in its name, as
          model.fp16.safetensors, if there is no other
    """
    if not path.is_dir():
        check_file(path)
        return path
    found = sorted(file.name for file in path.iterdir() if NAMES.fullmatch(file.name))
    usual = [name for name in ("model.safetensors", "model.safetensors.index.json") if name in found]
    if len(found) > 1 and not usual:
        raise BadInput(f"{path}: several checkpoints, {' and '.join(found)}: name one of them")
    if not found:
        old = next((file.name for file in sorted(path.glob("*.bin"))), None)
        instead = f"; {old} is read as pickle, so save it as safetensors" if old else ""
        raise BadInput(f"{path}: no model.safetensors and no model.safetensors.index.json in it{instead}")
    return path / (usual or found)[0]


def _weight_map(index: Path) -> dict[str, Path]:
    """Tensor -> its file, beside the index."""
    document = parse_json(read_text(index), index)
    names = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(names, dict) or not names:
        raise BadInput(f"{index}: no weight_map, which an index of safetensors has")
    for name, file in names.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise BadInput(f"{index}: {name[:80]} must be in a file beside it, not {file!r:.80}")
    return {name: index.parent / file for name, file in names.items()}


def model_of(path: Path, named: Model | None) -> Model:
    """The model that a checkpoint is of: what the config.json beside its tensors says.

    named  the model asked for; without config.json it has to be. Raises BadInput where the two differ.
    """
    check_there(path)
    folder = path if path.is_dir() else path.parent
    config = folder / "config.json"
    if not config.exists():
        if named is None:
            raise BadInput(f"--weights {path}: no config.json beside it says of what model; name it with --model")
        return named
    found = from_config(read_text(config), config, _name(folder.absolute()))
    if named is None:
        return found
    for field in fields(Model):
        said, wanted = getattr(found, field.name), getattr(named, field.name)
        if field.name not in ("name", "fused_qkv", "conv1d") and said != wanted:
            raise BadInput(f"{config}: {field.name} is {said}, but {named.name} has {wanted}")
    return named


def check_there(path: Path) -> None:
    """Raises BadInput where there is neither a file nor a folder."""
    try:
        if path.exists():
            return
    except (OSError, ValueError) as error:
        raise BadInput(f"--weights {path}: {getattr(error, 'strerror', error)}") from error
    raise BadInput(f"--weights {path}: no such file or folder")


def _name(folder: Path) -> str:
    """What a model is called: its folder, or in the cache of Hugging Face's hub its repository."""
    repository = folder.parent.parent.name
    cached = folder.parent.name == "snapshots" and repository.startswith("models--")
    name = "/".join(repository.split("--")[1:]) if cached else folder.name
    return plain(name)[:NAME].strip() or "checkpoint"
