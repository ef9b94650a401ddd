"""Two network namespaces joined by a veth pair: the probe reads the limit that tc set, and the delay that netem adds.

Skipped by name where this process may not make namespaces, or something is missing.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.needed import absent, needed
from support.process import ROOT, TESTS

SCRIPT = ROOT / "integrations/netns/two-hosts"
RANKS = Path(__file__).with_name("ranks.py")
LIMIT = 500e6  # bit/s
DELAY = 50e-3  # seconds
WITHIN, DELAY_WITHIN = 0.05, 0.10
Link = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.xdist_group("two-hosts")


def _script(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)])}
    every = [SCRIPT, *map(str, arguments)]
    return subprocess.run(every, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def link() -> Iterator[Link]:
    """link(rate, delay): what ranks.py finds between the two hosts, which are taken down afterwards."""
    needed("mpi4py")
    for program in ("ip", "tc", "mpirun"):
        if not shutil.which(program):
            absent(program, f"{program} is not in PATH")
    if "Open MPI" not in subprocess.run(["mpirun", "--version"], capture_output=True, text=True).stdout:
        absent("openmpi", "mpirun is not Open MPI's")
    made = False

    def between(*limits: str) -> dict[str, Any]:
        nonlocal made
        if made:
            _script("down")
        begun = _script("up", *limits)
        made = begun.returncode == 0 or "File exists" not in begun.stderr
        if begun.returncode:
            reason = begun.stderr.strip().splitlines()[-1]
            absent("netns", f"two hosts can't be made here: {reason}")
        done = _script("mpirun", sys.executable, RANKS, "link")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    yield between
    if made:
        _script("down")


def test_the_limit_is_read(link: Link) -> None:
    """What tbf lets through has Ethernet's, IP's and TCP's headers: 0.7 % of frames of 9000 bytes."""
    found = link(f"{LIMIT:.0f}bit")
    assert found["link"]["kind"] == "virtual network" and found["link"]["interface"] == "veth-a"
    assert 8 * found["rate"] == pytest.approx(LIMIT, rel=WITHIN)


def test_the_delay_is_read(link: Link) -> None:
    """What it adds to the latency: an emulated machine has milliseconds of its own."""
    late, soon = (link("1gbit", *delay)["latency"] for delay in ([f"{1e3 * DELAY:.0f}ms"], []))
    assert late - soon == pytest.approx(DELAY, rel=DELAY_WITHIN)


def test_nothing_is_left(link: Link) -> None:
    """down works where there is nothing, and takes away all that up made."""
    link("1gbit")
    assert _script("down").returncode == _script("down").returncode == 0
    named = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    assert "ridgeline" not in named and not Path("/etc/netns/ridgeline-a").exists()


@pytest.mark.parametrize("arguments", [[], ["sideways"]])
def test_how_it_is_called(arguments: list[str]) -> None:
    ran = _script(*arguments)
    assert (ran.returncode, ran.stderr) == (2, "two-hosts up [RATE] [DELAY] | mpirun ARGUMENTS... | down\n")


@pytest.mark.parametrize("arguments", [[], ["--emulated"]])
def test_how_a_machine_with_netem_is_called(arguments: list[str]) -> None:
    ran = subprocess.run([SCRIPT.with_name("in-qemu"), *arguments], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (2, "in-qemu [--emulated] COMMAND...\n")
