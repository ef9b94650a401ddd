"""A model as a TOML file: whatever is in it, a model or one line; and what it is called obeys nobody."""

import os
from pathlib import Path
from typing import Any

import pytest

from bench import layers
from bench.errors import BadInput
from bench.ladder import __main__ as ladder
from bench.memory import __main__ as memory
from bench.record.schema import schema
from bench.transformer import __main__ as transformer
from bench.workloads.model import MOST, NAME, find

NUMBERS = {"layers": 2, "width": 32, "heads": 4, "ffn": 64, "vocabulary": 61, "positions": 24}


def toml(folder: Path, name: str = '"it"', **changed: object) -> Path:
    path = folder / "it.toml"
    lines = [f"name = {name}", *(f"{key} = {value}" for key, value in (NUMBERS | changed).items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"name": "[" * 3000}, "brackets are nested too deeply"),
    ({"name": "{a=" * 3000}, "brackets are nested too deeply"),
    ({"layers": "9" * 5000}, "a number has too many digits"),
    ({"layers": "1" + "0" * 400}, "layers can be 100000 at most"),
    ({"layers": "9" * 4200}, "layers can be 100000 at most"),
    ({"layers": "1e400"}, "layers must be of type int, not inf"),
    ({"layers": "0x" + "f" * 5000}, "layers can be 100000 at most"),
    ({"epsilon": "nan"}, "epsilon must be between 0 and 1, not nan"),
    ({"epsilon": "1e400"}, "epsilon must be between 0 and 1, not inf"),
    ({"epsilon": "-0.1"}, "epsilon must be between 0 and 1, not -0.1"),
    ({"epsilon": "1"}, "epsilon must be of type float, not 1"),
    ({"activation": '"relu"'}, "activation must be gelu or gelu_tanh, not 'relu'"),
    ({"activation": r'"\u001b[31m"'}, "activation must be gelu or gelu_tanh"),
    ({"name": r'"x\u001b[31m"'}, "name must be one printable line"),
    ({"name": r'"two\nlines"'}, "name must be one printable line"),
    ({"name": r'"\u202egood"'}, "name must be one printable line"),
    ({"name": '""'}, "name must be one printable line"),
    ({"name": f'"{"x" * (NAME + 1)}"'}, "name must be one printable line"),
    ({r'"a\u001b[2J"': "1"}, "unknown key 'a\\x1b[2J'"),
    ({"k" * 3000: "1"}, "unknown key"),
    ({"layers": "[" + "1, " * 9000 + "]"}, "layers must be of type int, not [1, 1"),
    *(({field: str(most + 1)}, f"{field} can be {most} at most") for field, most in MOST.items()),
]


@pytest.mark.parametrize(("changed", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_faults(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        find(str(toml(tmp_path, **changed)))
    line = str(caught.value)
    assert message in line
    assert line.isprintable() and len(line) < 500


def test_the_largest_model_is_one_that_a_record_takes() -> None:
    of = schema()["$defs"]["run"]["properties"]["model"]["properties"]
    assert {name: of[name]["maximum"] for name in of if name != "name"} == {
        name: MOST[name] for name in of if name != "name"
    }


@pytest.mark.parametrize("name", ["[/b]", "[red]x[/red]", "$\\\\frac{$", "<b>|=1+1", ":boom:", "ё" * NAME])
def test_a_name_is_text(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In every command that shows it; and the largest numbers are counted."""
    for path in (toml(tmp_path, f'"{name}"'), toml(tmp_path, f'"{name}"', **MOST | {"heads": 1, "kv_heads": 1})):
        model = ["--model", str(path), "--length", "8"]
        assert layers.main(model) == 0
        assert transformer.main(["--counts", *model]) == 0
        assert memory.main(["--rounds", "0", *model]) == 0
        shown = capsys.readouterr().out
        assert name[:6].replace("\\\\", "\\") in shown


def test_a_mark_of_the_byte_order(tmp_path: Path) -> None:
    """As Windows' editors put it before TOML."""
    path = toml(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert find(str(path)).name == "it"
    path.rename(tmp_path / "IT.TOML")
    assert find(str(tmp_path / "IT.TOML")).name == "it"


def test_what_is_no_file(tmp_path: Path) -> None:
    """Nothing waits for a FIFO's writer, or reads a device to its end."""
    os.mkfifo(tmp_path / "fifo.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xfc"')
    (tmp_path / "utf16.toml").write_bytes('name = "x"'.encode("utf-16"))
    for name, message in (
        ("fifo", "a FIFO"),
        ("folder", "a folder"),
        ("zero", "a device"),
        ("latin", "not UTF-8 text: save it as UTF-8"),
        ("utf16", "it is UTF-16"),
        ("gone", "No such file"),
    ):
        with pytest.raises(BadInput, match=message):
            find(str(tmp_path / f"{name}.toml"))


def test_a_ladder_of_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="name must be one printable line"):
        ladder.main(["--model", str(toml(tmp_path, r'"\u001b[2J"'))])
