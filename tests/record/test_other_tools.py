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
from hypothesis import example, given
from hypothesis import strategies as st

from bench.errors import BadInput
from bench.files import parse_json, parse_plain, whole
from bench.record import store
from bench.record.folder import records_in
from bench.record.format import canonical, digest
from support import records
from support.fuzz import tries
from support.machines import machine

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


# --- the quick way to read a record takes what the careful one takes, with the same values, and nothing else

ODD = [0.0, -0.0, 2.0, 1e-5, 1e-6, 9.999999e-7, 1e-7, 1e15, 1e16, 1.5e16, 1e21, 1e22, 5e-324, 2**53, -(2**53), 2**64]
ANY_NUMBER = st.one_of(
    st.sampled_from(ODD),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.floats(1e-7, 1e-4),
    st.integers(-5, 5).map(float),
)
LEAVES = st.one_of(ANY_NUMBER, st.booleans(), st.none(), st.text(st.characters(exclude_categories=["Cs"])))
DOCUMENTS = st.recursive(
    st.one_of(LEAVES, st.lists(ANY_NUMBER)),
    lambda part: st.one_of(st.lists(part), st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), part)),
)


def _part_by_part(value: Any) -> str:
    """The same form, with orjson given nothing: numbers and texts alone are spelled by test_other_tools.py's table."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(key)}:{_part_by_part(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_part_by_part, value)) + "]"
    return canonical(value)


@tries(50)
@given(DOCUMENTS)
@example([*ODD])
@example({"a": {"b": -0.0, "c": "1e5"}, "\ue000": 1, "\U00010000": 2, "d": '\x7f\x80\u2028/\\"\b\x1f'})
def test_the_canonical_form_of_a_whole_is_that_of_its_parts(document: Any) -> None:
    assert canonical(document) == _part_by_part(document)


@tries(50)
@given(DOCUMENTS, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_no_number_is_found_anywhere(document: Any, bad: float) -> None:
    for of in ([document, bad], {"a": {"b": document, "c": bad}}, [[1.5, bad]], {"a": [0.5, bad], "b": None}):
        with pytest.raises(ValueError, match="is not a number"):
            canonical(of)


# --- documents as text: keys that stand twice, written in any way, and values that JSON has or hasn't

SPACE = st.sampled_from(["", "", " ", "\n ", "\t", "\r\n"])
KEYS = st.sampled_from(['"a"', '"b"', '"\\u0061"', '"a:"', '"\\":"', '"\\u0022:"', '"a\\u003a"', '"é"', '"\\u00e9"'])
VALUES = ["1", "16.0", "1e2", "-0", '":"', '"\\u003a"', "null", "true", "[]", "1e-7", "0.1", "18446744073709551616"]
BROKEN = ["NaN", "Infinity", "1e400", '"\\ud800"', "01", "1.", "'a'", '"\t"', "[1,]", "tru", "1" + 400 * "0"]


def _object(pairs: list[tuple[str, str]], space: tuple[str, str]) -> str:
    before, behind = space
    return "{" + ",".join(f"{before}{key}{behind}:{before}{value}{behind}" for key, value in pairs) + "}"


WRITTEN = st.recursive(
    st.one_of(st.sampled_from(VALUES), st.sampled_from(VALUES + BROKEN)),
    lambda part: st.one_of(
        st.builds(_object, st.lists(st.tuples(KEYS, part), max_size=4), st.tuples(SPACE, SPACE)),
        st.lists(part, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
    ),
    max_leaves=8,
)


@tries(50)
@given(WRITTEN)
@example('{"a":1,"a":1}')
@example('{"a":{":":1},"a" :"\\u0022:\\u003a\\u003a"}')
@example('{"a":1,"\\u0061":"\\u003a"}')
@example('{"a":1,"b":{"a":1,"c":[{"d":1,"d":2}]}}')
@example(400 * "[" + 400 * "]")
@example(3000 * "[" + 3000 * "]")
@example('\ufeff{"a":1}')
@example('{"a":1} x')
@example("")
def test_the_quick_parser_takes_no_more_and_finds_the_same(text: str) -> None:
    found = parse_plain(text.encode())
    if found is None:
        return
    careful = parse_json(text, "it")
    assert canonical(found) == canonical(careful)
    assert _kinds(whole(found)) == _kinds(careful)


def _kinds(value: Any) -> Any:
    """Which numbers are whole; beyond 64 bits the quick parser has doubles."""
    if isinstance(value, dict):
        return {key: _kinds(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_kinds(one) for one in value]
    return type(value) if not isinstance(value, int) or abs(value) < 1 << 53 else float


def test_keys_are_counted_where_they_stand_twice() -> None:
    assert parse_plain(b'{"a": 1, "b": {"a": 1}}') == {"a": 1, "b": {"a": 1}}
    for text in ('{"a": 1, "a": 1}', '{"a": 1, "\\u0061": "\\u003a"}', '[{"a":{":":":"},"a":{"b":1}}]'):
        assert parse_plain(text.encode()) is None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"complete": true', '"complete": true, "complete": true', "stands twice"),
        ('"complete": true', '"complete": 1', r"\$\.complete"),
        ('"complete": true', '"complete": NaN', "NaN is not a finite number"),
        ('"version": 2', '"version": 3', "version 3; this reads"),
        ('"calls": 1,', '"calls": 2,', "the digest doesn't match"),
    ],
)
def test_what_is_refused_is_refused_in_the_careful_words(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = machine(tmp_path / "a.json")
    text = json.dumps(json.loads(path.read_text(encoding="utf-8")))
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadInput, match=reason):
        store.load(path)


def test_a_whole_number_is_whole_in_options_however_it_is_written(tmp_path: Path) -> None:
    """A record that JavaScript wrote and one that Python wrote are of one making."""
    path = machine(tmp_path / "a.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    spelled = []
    for seconds in (2, 2.0):
        document["options"] = {"seconds": seconds}
        path.write_text(json.dumps(document | {"digest": digest(document)}), encoding="utf-8")
        spelled.append(str(store.load(path).record["options"]))
    assert spelled == ["{'seconds': 2}"] * 2
