"""One machine over time: its own noise band, and what leaves it."""

from pathlib import Path

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
