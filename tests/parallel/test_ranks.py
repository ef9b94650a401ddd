"""Two MPI ranks with layers of a tiny model; skipped by name without mpi4py, an MPI library or mpirun."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BadInput
from bench.measure.ranks.team import Facts, threads_of
from bench.parallel.figures import found
from bench.parallel.measuring import dealt
from bench.record.probes import LAYERS
from bench.record.store import load, problems
from support.needed import absent
from support.process import mpirun

pytestmark = pytest.mark.xdist_group("parallel")
RANKS = Path(__file__).with_name("ranks.py")
TINY = """
name = "tiny"
layers = 1
width = 48
heads = 4
ffn = 96
vocabulary = 10
positions = 16
decoder = true
fused_qkv = true
conv1d = true
"""


def ran(count: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    every, environment = mpirun(count, *arguments)
    return subprocess.run(every, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """Of ranks.py, on two ranks."""
    done = ran(2, RANKS)
    if "no MPI library" in done.stderr:
        absent("mpi", done.stderr.strip())
    if "no core is left" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_split_layer_is_the_whole_one_on_every_rank(answers: dict[str, Any]) -> None:
    assert len(answers["checks"]) == 3 * 5
    for one in answers["checks"]:
        assert all(over <= 1 for _, over in one)
        assert one[0][0] >= 4 * 48


def test_a_rank_that_adds_nothing_is_seen_on_every_rank(answers: dict[str, Any]) -> None:
    assert len(answers["forged"]) == 3
    for one in answers["forged"]:
        assert all(over > 100 for _, over in one)


def test_one_share_is_rank_0s_alone(answers: dict[str, Any]) -> None:
    for i, spent in enumerate(answers["ways"]):
        assert spent[0] and spent[0][0] > 0
        assert bool(spent[1]) == (i % 5 > 1)  # after the two shares of each phase
    assert all(one and one[0] > 0 for one in answers["ping"])


def test_ranks_have_cores_of_their_own(answers: dict[str, Any]) -> None:
    first, second = answers["dealt"]
    assert len(first) == len(second) and not {*first} & {*second}
    assert answers["where"] == [first[:1], second[:1]]  # the thread that calls is on the first of them
    assert answers["cores"] == [first, second]


@pytest.mark.parametrize(
    ("cores", "found"),
    [
        ([[0, 1, 2, 3], [0, 1, 2, 3]], [[0, 1], [2, 3]]),  # nobody is bound
        ([[0], [1]], [[0], [1]]),
        ([[0, 1], [2, 3]], [[0, 1], [2, 3]]),
        ([[0, 1, 2], [0, 1, 2]], [[0], [1]]),
    ],
)
def test_cores_are_dealt_out(cores: list[list[int]], found: list[list[int]]) -> None:
    assert dealt([Facts("same", "m", one, one) for one in cores]) == found


def test_ranks_of_two_hosts_share_nothing() -> None:
    facts = [Facts(boot, "m", [0, 1], [0, 1]) for boot in "ab"]
    assert threads_of(facts) == 2
    assert dealt(facts) == [[0, 1], [0, 1]]


def test_more_ranks_than_cores_are_refused() -> None:
    with pytest.raises(BadInput, match="rank 2: no core is left of 2; a rank needs 1 of its own"):
        dealt([Facts("same", "m", [0, 1], [0, 1]) for _ in range(3)])


def test_a_whole_session(tmp_path: Path) -> None:
    """Of a model with two phases: its record is whole, and it is shown."""
    (tmp_path / "tiny.toml").write_text(TINY)
    path = tmp_path / "r.json"
    done = ran(
        2, RANKS, "--model", tmp_path / "tiny.toml", "--length", 9, "--record", path, "--picture", tmp_path / "p"
    )
    if "no MPI library" in done.stderr or "no core is left" in done.stderr:
        absent("mpi", done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert "0 wrong" in done.stdout and (tmp_path / "p.svg").exists()
    metrics = load(path)
    assert [layer.name for layer in found(metrics).layers] == ["tiny prefill", "tiny decode"]
    assert [sorted(layer.alone) for layer in found(metrics).layers] == [[1, 2, 4]] * 2
    assert all(len(row["seconds"]) == 4 for row in metrics.rows if row["operation"] in LAYERS)
    overlapping = [problem for problem in problems(metrics) if "overlap" in problem or "after one of" in problem]
    assert not overlapping


def test_bad_input_is_one_line_however_many_ranks() -> None:
    done = ran(2, "-m", "bench.parallel", "--length", "1")
    if "no MPI library" in done.stderr:
        absent("mpi", done.stderr.strip())
    assert done.returncode == 2
    said = (done.stdout + done.stderr).count("bench.parallel: --length 1: GPT-2 takes 2 to 1024 tokens")
    assert said == 1
