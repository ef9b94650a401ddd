"""Records that went through other tools: jq, JavaScript and Gson write the same values another way."""

import codecs
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import BadInput
from bench.record import store
from bench.record.folder import records_in
from bench.record.format import canonical, digest
from support import records

NUMBERS = [16.0, 1e15, 4.5, 1e-7, 1.5e-5, 5e-324, -0.0, 0.1 + 0.2, 2**49]
TEXTS = ["é €", "\U0001f600", "<a>&'", "[/b]", '"\\']


@pytest.fixture
def document() -> Any:
    made = records.make([records.product(m, g) for m, g in ((1, 9), (16, 90), (64, 92))]).record
    named = {"numbers": NUMBERS, "texts": TEXTS, "\ufb33": 1, "\U0001f600": 2, "on": True, "none": None}
    changed = json.loads(json.dumps(made | {"options": named}))
    return changed | {"digest": digest(changed)}


def _through(value: Any, number: Callable[[Any], Any]) -> Any:
    """The document with every number as number() has it, keys the other way round."""
    if isinstance(value, dict):
        return {key: _through(value[key], number) for key in reversed(value)}
    if isinstance(value, list):
        return [_through(one, number) for one in value]
    return value if isinstance(value, bool | str) or value is None else number(value)


def _javascript(x: float) -> float:
    return int(x) if float(x).is_integer() and abs(x) < 1e21 else x


TOOLS: dict[str, Callable[[Any], bytes]] = {
    "as written": lambda d: json.dumps(d, indent=1).encode(),
    "JavaScript": lambda d: json.dumps(_through(d, _javascript), ensure_ascii=False, separators=(",", ":")).encode(),
    "jq --sort-keys": lambda d: json.dumps(_through(d, _javascript), sort_keys=True, indent=2).encode(),
    "Gson": lambda d: json.dumps(_through(d, float)).replace("<", "\\u003c").encode(),
    "17 digits": lambda d: json.dumps(_through(d, lambda x: _Long(x))).encode(),
    "a byte order mark": lambda d: codecs.BOM_UTF8 + json.dumps(d).encode(),
    "line ends of Windows": lambda d: json.dumps(d, indent=1).replace("\n", "\r\n").encode(),
}


class _Long(float):
    """Written with all digits that a double may need."""

    def __repr__(self) -> str:
        return f"{float(self):.16e}"

    __str__ = __repr__


@pytest.mark.parametrize("tool", TOOLS)
def test_the_same_values_are_the_same_record(document: Any, tool: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(TOOLS[tool](document))
    loaded = store.load(path)
    assert loaded.record == document
    assert store.problems(loaded) == []
    assert records_in(tmp_path) == [path]


def _spelled_by_python(document: Any) -> str:
    body = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def test_earlier_digests_hold(document: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    earlier = document | {"digest": _spelled_by_python(document)}
    path.write_text(json.dumps(earlier))
    assert earlier["digest"] != document["digest"] == store.load(path).record["digest"]
    path.write_text(json.dumps(earlier | {"complete": not document["complete"]}))
    with pytest.raises(BadInput, match="changed after it was written"):
        store.load(path)


@pytest.mark.parametrize(
    ("old", "new"), [(16.0, 16.000000000000004), (2**49, 2**49 + 1), (1e-7, 1.00000000000000001e-7)]
)
def test_another_value_is_a_change(document: Any, old: float, new: float, tmp_path: Path) -> None:
    """The last of them is the same double."""
    path, at = tmp_path / "r.json", NUMBERS.index(old)
    document["options"]["numbers"][at] = new
    path.write_text(json.dumps(document))
    if old == new:
        store.load(path)
    else:
        with pytest.raises(BadInput, match="changed after it was written"):
            store.load(path)


@pytest.mark.parametrize("spelled", ["1e400", "-1e999", "NaN", "Infinity", "1" + 400 * "0", "1" + 5000 * "0"])
def test_what_no_double_holds_is_refused(document: Any, spelled: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(document).replace("562949953421312", spelled))
    with pytest.raises(BadInput, match=r"r\.json: not JSON"):
        store.load(path)


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1, "1"),
        (True, "true"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (2**53 + 1, "9007199254740992"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (4.50, "4.5"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (333333333.33333329, "333333333.3333333"),
        ([np.float64(0.5), 1, 2.5], "[0.5,1,2.5]"),
        ([0.5, 2.0], "[0.5,2]"),
        ([0.5, 2**53 + 1], "[0.5,9007199254740992]"),
        ([1e-7, True, None], "[1e-7,true,null]"),
        ({"\ufb33": 1, "\U0001f600": [], "\r": "\x0f\n/é"}, '{"\\r":"\\u000f\\n/é","\U0001f600":[],"\ufb33":1}'),
    ],
)
def test_canonical_form(value: Any, spelled: str) -> None:
    """Numbers and order of keys of RFC 8785, appendix B and section 3.2.3."""
    assert canonical(value) == spelled


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**309])
def test_what_is_no_number_has_no_form(value: Any) -> None:
    with pytest.raises(ValueError, match=r"not a number|not JSON"):
        canonical([value])
