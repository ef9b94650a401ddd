"""bench.host.conditions on fake /proc trees that change under it, and its judgement of what it saw."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.host.conditions import TICKS_PER_SECOND, Conditions
from bench.host.sysfs import Host
from bench.record.trust import LIMITS, judge

V2 = {
    "proc/self/cgroup": "0::/a/b",
    "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate",
}
V1 = {
    "proc/self/cgroup": "9:cpu,cpuacct:/x\n0::/ignored",
    "proc/self/mountinfo": "36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct",
}


def lay(root: Path, files: Mapping[str, str]) -> Host:
    """Writes `files`, given by their paths under `root`; a Host that reads them."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return Host(root, [0])


def stat(user: int = 0, idle: int = 0, iowait: int = 0, steal: int = 0) -> dict[str, str]:
    return {"proc/stat": f"cpu  {user} 0 0 {idle} {iowait} 0 0 {steal} 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0"}


def test_conditions_are_differences(tmp_path: Path) -> None:
    group, parent = "sys/fs/cgroup/a/b/cpu.stat", "sys/fs/cgroup/a/cpu.stat"
    busy = 1000 * TICKS_PER_SECOND  # dwarfs this process's own CPU time
    throttled = {group: "nr_throttled 7\nthrottled_usec 100", parent: "usage_usec 1"}
    host = lay(tmp_path, {**V2, **stat(user=5, idle=5, steal=5), **throttled})
    with Conditions(host) as conditions:
        lay(tmp_path, stat(user=5 + 3 * busy, idle=5 + 5 * busy, iowait=busy, steal=5 + busy))
        lay(tmp_path, {group: "nr_throttled 9\nthrottled_usec 500100", parent: "nr_throttled 1\nthrottled_usec 250000"})
    figures = conditions.figures
    assert figures is not None
    assert figures["steal_share"] == pytest.approx(0.1)
    assert figures["other_share"] == pytest.approx(0.3, rel=1e-3)
    assert figures["throttled_seconds"] == pytest.approx(0.75)
    assert figures["throttled_periods"] == 3
    assert 0 < figures["wall_seconds"] < 10
    assert figures["involuntary_switches"] >= 0


def test_throttling_of_cgroup_v1_counts_nanoseconds(tmp_path: Path) -> None:
    file = "sys/fs/cgroup/cpu/x/cpu.stat"
    host = lay(tmp_path, {**V1, **stat(), file: "nr_periods 5\nnr_throttled 1\nthrottled_time 1000"})
    conditions = Conditions(host).start()
    lay(tmp_path, {file: "nr_periods 9\nnr_throttled 3\nthrottled_time 2000001000"})
    assert conditions.stop()["throttled_seconds"] == pytest.approx(2.0)


def test_own_cpu_time_is_not_others(tmp_path: Path) -> None:
    conditions = Conditions(lay(tmp_path, {**V2, **stat()})).start()
    begin = time.process_time()
    while time.process_time() - begin < 0.1:
        pass
    lay(tmp_path, stat(user=int(0.1 * TICKS_PER_SECOND), idle=TICKS_PER_SECOND))
    assert conditions.stop()["other_share"] == 0.0


def test_unknown_conditions_are_none_and_reasons(tmp_path: Path) -> None:
    figures = Conditions(Host(tmp_path, [0])).start().stop()
    assert (figures["steal_share"], figures["other_share"], figures["throttled_seconds"]) == (None, None, None)
    quiet = {**figures, "involuntary_switches": 0}
    assert judge([quiet]) == ["steal share unknown", "other share unknown", "throttled share unknown"]
    assert judge([]) == ["its causes are unknown: no conditions were sampled"]
    with pytest.raises(RuntimeError, match="before start"):
        Conditions(Host(tmp_path, [0])).stop()


def test_a_sample_is_cheap() -> None:
    conditions = Conditions()
    best = min(
        conditions.start().stop()["wall_seconds"] for _ in range(20)
    )  # from the end of one sample to the end of the next
    assert best < 1e-3


def sample(**figures: Any) -> dict[str, Any]:
    quiet = {"wall_seconds": 1.0, "steal_share": 0.0, "other_share": 0.0, "throttled_seconds": 0.0,
             "throttled_periods": 0, "involuntary_switches": 0}  # fmt: skip
    return {**quiet, **figures}


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([sample()], None),
        ([sample(steal_share=0.031)], "the hypervisor took 3.1 % of the CPU time"),
        ([sample(steal_share=0.031), sample(wall_seconds=9.0)], None),  # 0.3 % of ten seconds
        ([sample(steal_share=None), sample(steal_share=0.02)], "the hypervisor took 2.0 % of the CPU time"),
        ([sample(other_share=0.5)], "other processes used 50 % of all CPUs"),
        ([sample(throttled_seconds=0.05), sample()], "the cgroup was throttled for 2.5 % of the time"),
    ],
)
def test_judge(samples: list[dict[str, Any]], reason: str | None) -> None:
    """A cause, and what to do about it."""
    assert [text.split(": ")[0] for text in judge(samples)] == ([reason] if reason else [])
    assert all(len(text.split(": ")) == 2 for text in judge(samples))


def test_every_threshold_is_reached_by_excess_only() -> None:
    figure = {"throttled_share": "throttled_seconds"}
    for limit in LIMITS:
        name = figure.get(limit.figure, limit.figure)
        assert judge([sample(**{name: limit.most})]) == []
        assert len(judge([sample(**{name: 1.01 * limit.most + 1e-9})])) == 1
