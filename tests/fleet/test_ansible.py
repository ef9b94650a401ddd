"""The playbook, on two names of this machine: records are fetched and checked, a broken one takes nobody along.

Skipped by name where ansible-core is not installed.
"""

import sys
from pathlib import Path

from support.needed import needed
from support.process import ROOT, run_python

PLAYBOOK = ROOT / "integrations" / "ansible" / "fleet.yml"
RECORD = ROOT / "tests" / "record" / "record-2.json"

SESSION = """#!/bin/sh
# in place of the hosts' Python: whoever comes first leaves a good record, the other half of one
mkdir -p records/machine
if mkdir {first} 2> /dev/null; then
    cp {record} records/machine/good.json
else
    head -c 9000 {record} > records/machine/cut.json
fi
"""


def test_two_hosts(tmp_path: Path) -> None:
    needed("ansible")
    python = tmp_path / "python"
    python.write_text(SESSION.format(first=tmp_path / "first", record=RECORD))
    python.chmod(0o755)
    home = str(tmp_path / "ansible")
    settings = {
        "ANSIBLE_HOME": home,
        "ANSIBLE_LOCAL_TEMP": home,
        "ANSIBLE_REMOTE_TEMP": home,
        "TMPDIR": str(tmp_path),
        "PWD": str(tmp_path),
    }
    hosts = ("-i", "one,two,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}")
    given = (*hosts, "-e", f"python={python}", "-e", f"here={sys.executable}", "-e", f"lock={tmp_path}")
    ran = run_python(tmp_path, Path(sys.executable).with_name("ansible-playbook"), PLAYBOOK, *given, **settings)
    assert ran.returncode == 2 and "cut.json: not JSON, or cut off" in ran.stdout, ran.stdout + ran.stderr
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("records/*/*.json")}
    assert set(kept) == {"good.json", "cut.json"} and kept["good.json"] == RECORD.read_bytes()
    assert (tmp_path / "report.html").exists()
    assert not list(tmp_path.glob("ridgeline.*"))
