"""bench.check and detached signatures: whose they are, and what doesn't hold."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bench import check
from bench.host.facts import sources_sha256
from bench.record import store
from support import records
from support.process import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen, of OpenSSH, isn't installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a good record r.json, two keys, and ada's in the file of allowed signers."""
    store.save(records.make([records.product(8, 60)]).record, tmp_path / "r.json")
    for name in ("ada", "eve"):
        _keygen("-q", "-t", "ed25519", "-N", "", "-C", name, "-f", tmp_path / name)
    (tmp_path / "allowed").write_text(f"ada@example.org {(tmp_path / 'ada.pub').read_text()}")
    return tmp_path


def _keygen(*arguments: object) -> None:
    subprocess.run(["ssh-keygen", *map(str, arguments)], check=True, capture_output=True)


def sign(folder: Path, key: str, namespace: str = check.NAMESPACE) -> Path:
    record = folder / "r.json"
    record.with_name("r.json.sig").unlink(missing_ok=True)
    _keygen("-Y", "sign", "-n", namespace, "-f", folder / key, record)
    return record


def test_a_signature_tells_whose_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = sign(folder, "ada")
    assert check.main([str(path)]) == 0
    assert "  signed by ED25519 key SHA256:" in capsys.readouterr().out
    assert check.main([str(path), "--allowed-signers", str(folder / "allowed")]) == 0
    assert "  signed by ada@example.org with ED25519 key SHA256:" in capsys.readouterr().out


def test_without_a_signature_nothing_is_said_but_where_signers_are_asked_for(folder: Path) -> None:
    assert check.checked(folder / "r.json")["signed_by"] is None
    assert check.checked(folder / "r.json")["problems"] == []
    assert check.checked(folder / "r.json", signers=folder / "allowed")["problems"] == ["not signed"]


def test_a_strangers_signature_is_a_problem(folder: Path) -> None:
    path = sign(folder, "eve")
    assert check.checked(path)["problems"] == []
    (problem,) = check.checked(path, signers=folder / "allowed")["problems"]
    assert problem.startswith("its signature doesn't hold: ")


@pytest.mark.parametrize("how", ["another record", "another purpose", "no signature", "empty"])
def test_what_does_not_hold_is_a_problem(how: str, folder: Path) -> None:
    path = sign(folder, "ada", namespace="file" if how == "another purpose" else check.NAMESPACE)
    if how == "another record":
        store.save(records.make([records.product(8, 61)]).record, path)
    if how in ("no signature", "empty"):
        path.with_name("r.json.sig").write_text("\x1b[31mno" if how == "no signature" else "")
    for signers in (None, folder / "allowed"):
        (problem,) = check.checked(path, signers=signers)["problems"]
        assert problem.startswith("its signature doesn't hold: ")
        assert problem.isprintable()


def test_a_missing_ssh_keygen_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sign(folder, "ada")
    monkeypatch.setenv("PATH", str(folder))
    (problem,) = check.checked(path)["problems"]
    assert "ssh-keygen, of OpenSSH, isn't installed" in problem


def test_sources_have_a_hash(tmp_path: Path) -> None:
    """Of kernels and timing, in whatever folder they lie: a changed constant shows, a picture doesn't."""
    for name in ("kernels", "csrc", "bench/measure"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    before = sources_sha256(ROOT)
    assert sources_sha256(tmp_path) == before
    (tmp_path / "kernels" / "notes.txt").write_text("x")
    assert sources_sha256(tmp_path) == before
    timing = tmp_path / "bench" / "measure" / "timing.py"
    timing.write_text(timing.read_text().replace("TICKS = 20", "TICKS = 21"))
    assert sources_sha256(tmp_path) != before
