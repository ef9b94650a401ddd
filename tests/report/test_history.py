"""One machine over time: its own noise band, and what leaves it."""

from pathlib import Path
from typing import Any

import pytest

from bench.report.page.columns import report
from bench.report.page.history import histories, moved
from support.machines import machine

WOBBLE = (1.0, 1.01, 0.99, 1.005, 0.995, 1.0, 1.01, 0.99)


def sessions(where: Path, last: float = 1.0, read: float = 20e9) -> Path:
    """Eight of one machine that differ by 1 %; the kernels of the latest are so many times as fast."""
    for i, wobble in enumerate(WOBBLE):
        own = last if i == len(WOBBLE) - 1 else 1.0
        machine(where / f"{i}.json", day=f"2026-03-{i + 1:02}", own=wobble * own, read=read * wobble)
    return where


def test_noise_is_no_change(tmp_path: Path) -> None:
    (line,) = histories(report([sessions(tmp_path)]))
    assert [one.started[:10] for one in line.sessions] == [f"2026-03-{i + 1:02}" for i in range(8)]
    for series in line.series:
        assert series.low < series.middle < series.high
        assert all(series.low < value < series.high for value in series.values), series.name
    assert "no figure differs by more than noise from that of 7 sessions before" in moved([line])[0]


def test_a_change_leaves_the_band(tmp_path: Path) -> None:
    """Kernels at half of their speed, roofs as before."""
    (line,) = histories(report([sessions(tmp_path, last=0.5)]))
    out = {one.name.split(",")[0] for one in line.series if one.values[-1] < one.low}
    assert "c f32" in out
    assert not {"FMA peak", "memory read", "ridge"} & out
    (said,) = moved([line])
    assert "differ by more than noise" in said
    assert "-5" in said  # 50 % slower, about


def test_other_makings_are_no_replicates(tmp_path: Path) -> None:
    """A step between two commits isn't noise: the band is as narrow as each commit's sessions are alike."""
    for i in range(8):
        wobble = WOBBLE[i]
        machine(
            tmp_path / f"{i}.json",
            day=f"2026-03-{i + 1:02}",
            commit="0000" if i < 5 else "1111",
            own=wobble * (1.0 if i < 5 else 0.6),
            read=20e9 * wobble,
        )
    (line,) = histories(report([tmp_path]))
    family = next(one for one in line.series if one.name.startswith("c f32"))
    assert [value < family.low for value in family.values] == [False] * 5 + [True] * 3


def test_one_session_has_no_line(tmp_path: Path) -> None:
    machine(tmp_path / "a.json")
    assert histories(report([tmp_path])) == []


@pytest.mark.parametrize(
    ("topology", "quota", "said"),
    [
        ({"cores": [[0]], "logical_cpus": [0]}, None, "1 CPU"),
        ({"cores": [[0, 2], [1, 3]], "logical_cpus": [0, 1, 2, 3]}, None, "4 CPUs on 2 cores"),
        ({"cores": [[0], [1]], "logical_cpus": [0, 1]}, 1.5, "2 CPUs, a quota of 1.5"),
    ],
)
def test_sessions_on_other_cpus_are_of_another_making(
    tmp_path: Path, topology: dict[str, Any], quota: float | None, said: str
) -> None:
    """Neither a line over time has both, nor are they replicates; what tells them apart is in names."""
    for i in range(4):
        facts = {"topology": topology, "cpu_quota": quota} if i % 2 else None
        machine(tmp_path / f"{i}.json", day=f"2026-03-0{i + 1}", facts=facts)
    of = report([tmp_path])
    lines = histories(of)
    assert [line.name.split(", ", 2)[2].rpartition(", ")[0] for line in lines] == ["2 CPUs", said]
    assert [[one.started[8:10] for one in line.sessions] for line in lines] == [["01", "03"], ["02", "04"]]
    assert [len(group) for group in of.groups] == [2, 2]
    for line, text in zip(lines, moved(lines), strict=True):
        assert text.startswith(f"{line.name}, the latest session: ")
    assert len({one.name for one in of.machines}) == 4
    assert {one.facts["CPUs"] for one in of.sessions} == {"2 CPUs", said}
