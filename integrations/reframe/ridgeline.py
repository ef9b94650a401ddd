"""A ReFrame check (4.10): Ridgeline's session as one job on each node, checked there, its record brought back.

    reframe -C settings.py --system ridgeline:local -c ridgeline.py -r --performance-report
    reframe -C settings.py --system ridgeline:slurm -c ridgeline.py -r --distribute    # a job on every idle node

What a user may set: -S python=/opt/ridgeline/bin/python -S sweep=quick -S threads=1,all -S keyword=ffn_up. Several of
one, each a job of its own: -P sweep=quick,full. `bench.report` takes the output folder. All figures are of the JSON
that Ridgeline's commands print on the node: ReFrame's own Python needs no Ridgeline.
"""

import json
import shlex
from pathlib import Path
from typing import Any, ClassVar

import reframe as rfm
import reframe.utility.sanity as sn
from reframe.core.builtins import run_before, sanity_function, variable

RECORDS, CHECK, FIGURES = "records", "check.json", "figures.json"
UNITS = {"peak": "GFLOP/s", "read_bandwidth": "GB/s", "ridge": "FLOP/byte"}


@rfm.simple_test
class Ridgeline(rfm.RunOnlyRegressionTest):  # type: ignore[misc]
    """bench.check decides whether it passes. Nothing is held against a reference unless a user sets one."""

    descr = "the memory wall of a node: FMA peak, read bandwidth, ridge, % of roof"
    valid_systems: ClassVar = ["*"]
    valid_prog_environs: ClassVar = ["*"]
    sourcesdir = None
    num_tasks = 1
    exclusive_access = True
    time_limit = "1h"
    keep_files: ClassVar = [RECORDS, CHECK, FIGURES]

    python = variable(str, value="python3")  # on the nodes, of the environment that has Ridgeline
    sweep = variable(str, value="default")  # quick, default, full
    threads = variable(str, value="1,all")
    keyword = variable(str, value="")  # pytest's -k: which layers
    lock = variable(str, value="/tmp")  # a file or folder of the machine itself, whose lock is a session's turn

    @run_before("run")
    def session(self) -> None:
        """Jobs of one machine would time each other: by the lock they take turns, whoever started them."""
        self.prerun_cmds = [f"exec 9< {shlex.quote(self.lock)} && flock 9 || exit 1"]
        command = shlex.join([self.python, "-m", "ridgeline"])
        options = ["--sweep", self.sweep, "--threads", self.threads, "--results", RECORDS]
        if self.keyword:
            options += ["-k", self.keyword]
        self.executable = f"{command} bench"
        self.executable_opts = [shlex.join(options)]
        self.postrun_cmds = [
            f"set -- {RECORDS}/*/*.json",
            'test -e "$1" || exit 1',  # no record: what the session said stays the last that was said
            f'{command} check --json "$1" > {CHECK}',
            f'{command} roofline --json --picture roofline "$1" > {FIGURES}',
        ]

    @sanity_function
    def record_is_good(self) -> bool:
        """What bench.check says; where it said nothing, the session's own reason."""
        checked = self.said(CHECK)
        if checked is None:
            return bool(sn.assert_true(False, f"no record that could be checked: {self.reason()}"))
        problems = [problem for result in checked for problem in result["problems"]]
        return bool(sn.assert_false(problems, "; ".join(problems)))

    @run_before("performance")
    def figures(self) -> None:
        """Of the most threads: roofs, their ridge, and of each contestant the geometric mean of % of roof."""
        said = self.said(FIGURES)
        short = (said and said["headlines"][0]) or {}
        found = {name: (short[name], unit) for name, unit in UNITS.items() if short.get(name)}
        for contestant, share in short.get("percent_of_roof", {}).items():
            found[f"percent_of_roof_{contestant.replace(' ', '_')}"] = share, "%"
        self.perf_variables = {
            name: sn.make_performance_function(sn.getitem(figure, "value"), unit)
            for name, (figure, unit) in found.items()
        }

    def said(self, name: str) -> Any:
        """A command's JSON; None where there is none."""
        try:
            return json.loads(Path(self.stagedir, name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def reason(self) -> str:
        """The last line of the job's stderr and stdout that names an error, else the last of all."""
        lines: list[str] = []
        for name in (self.stdout, self.stderr):
            lines += Path(self.stagedir, str(name)).read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip()]
        return next((line for line in reversed(said) if "error" in line.lower()), said[-1] if said else "no output")
