"""Tokens to judge a model by: a text in its own vocabulary, ids from a file, or random ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import BadInput
from bench.files import check_file, read_text
from bench.quantities import plural
from bench.workloads.model import Model

RANDOM = 512
"""Random tokens."""
AT_MOST = 4096
"""Tokens of a text that count: its first."""


@dataclass(frozen=True)
class Text:
    """given: its tokens aren't random."""

    tokens: np.ndarray
    given: bool


def random_text(model: Model, count: int = RANDOM) -> Text:
    return Text(np.random.default_rng(7).integers(0, model.vocabulary, count), False)


def token_ids(path: Path, model: Model) -> Text:
    """The ids in a file, with white space between them. Raises BadInput, naming it, for what is no id of the model."""
    words = read_text(path).split()
    for i, word in enumerate(words):
        if not (word.isascii() and word.isdigit() and len(word) < 10 and int(word) < model.vocabulary):
            raise BadInput(f"{path}: token {i} is {word!r:.40}; {model.name} has 0 to {model.vocabulary - 1}")
    return _some(path, np.array(words, np.int64))


def tokenised(path: Path, folder: Path, model: Model) -> Text:
    """A text in the vocabulary of a checkpoint, whose tokenizer.json, or vocab.json and merges.txt, are beside it.

    Raises BadInput where the files aren't there, can't be read or are of another vocabulary, and without tokenizers.
    """
    text, tokenizer = read_text(path), _tokenizer(folder)
    ids = np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int64)
    if ids.size and ids.max() >= model.vocabulary:
        raise BadInput(f"{folder}: its tokenizer has token {ids.max()}; {model.name} has 0 to {model.vocabulary - 1}")
    return _some(path, ids)


def _some(path: Path, ids: np.ndarray) -> Text:
    if len(ids) < 2:
        raise BadInput(f"{path}: {plural(len(ids), 'token')}; 2 are needed, for one to follow the other")
    return Text(ids[:AT_MOST], True)


def _tokenizer(folder: Path) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise BadInput("--text needs tokenizers, which isn't installed: pip install tokenizers") from error
    beside = folder if folder.is_dir() else folder.parent
    whole, parts = beside / "tokenizer.json", [beside / "vocab.json", beside / "merges.txt"]
    files = [whole] if whole.exists() else parts
    if not all(file.exists() for file in files):
        raise BadInput(f"--text: neither tokenizer.json nor vocab.json and merges.txt in {beside}")
    for file in files:
        check_file(file)
    try:
        if whole.exists():
            return tokenizers.Tokenizer.from_file(str(whole))
        return tokenizers.ByteLevelBPETokenizer(*map(str, parts))
    except Exception as error:  # tokenizers has no class of its own for them
        raise BadInput(f"{files[0]}: not a tokenizer that can be read: {str(error)[:100]}") from error
