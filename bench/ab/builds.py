"""The two builds: a folder as it is, or a revision of this checkout, compiled once into the cache."""

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BadInput
from bench.host.git import OWN, git

MODULE = "_native*.so"


@dataclass(frozen=True)
class Build:
    """Kernels to be measured. given: as on the command line; commit: None of a folder; module: its compiled part."""

    given: str
    tree: Path
    commit: str | None
    module: Path
    sha256: str

    @property
    def stale(self) -> str | None:
        """A C source of the folder that is newer than its compiled module; None: there is none."""
        if self.commit:
            return None
        compiled = self.module.stat().st_mtime
        sources = (path for path in (self.tree / "csrc").rglob("*") if path.is_file())
        newer = (path for path in sorted(sources) if path.stat().st_mtime > compiled)
        return next((str(path.relative_to(self.tree)) for path in newer), None)


def find(given: str, say: Callable[[str], None] = lambda text: None) -> Build:
    """The build of a folder or, where there is no such folder, of a revision. Raises BadInput in one line.

    say: is told before something is compiled, which takes a minute or two
    """
    folder = Path(given)
    if folder.is_dir():
        return _build(given, folder.resolve(), None)
    commit = _commit(given)
    return _build(given, _compiled(given, commit, say), commit)


def _build(given: str, tree: Path, commit: str | None) -> Build:
    if not (tree / "kernels" / "__init__.py").exists():
        raise BadInput(f"{given}: no kernels in it")
    modules = sorted((tree / "kernels").glob(MODULE))
    if not modules:
        raise BadInput(f"{given}: kernels/_native, its compiled part, isn't built: run `make build` there")
    return Build(given, tree, commit, modules[0], hashlib.sha256(modules[0].read_bytes()).hexdigest())


def _git(*arguments: str) -> bytes:
    """What git says of this checkout. Raises BadInput without git, CalledProcessError where git fails."""
    try:
        return git(*arguments, folder=OWN)
    except FileNotFoundError as error:
        raise BadInput("no git, which finds revisions: give folders") from error


def _commit(given: str) -> str:
    try:
        return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{given}^{{commit}}").decode().strip()
    except (subprocess.CalledProcessError, ValueError) as error:
        raise BadInput(f"{given}: neither a folder nor a revision of {OWN}") from error


def _compiled(given: str, commit: str, say: Callable[[str], None]) -> Path:
    """The tree of a commit with its module compiled, from the cache if it is there. Raises BadInput.

    It is made beside its place and renamed, so that what is there is complete. Another compiler is another place.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "ridgeline" / "ab"
    place = cache / f"{commit}-{_compiler()}"
    if place.is_dir():
        return place
    try:
        cache.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{commit[:12]}-", dir=cache))
    except OSError as error:
        raise BadInput(f"can't write {cache}: {error.strerror}") from error
    try:
        with tarfile.open(fileobj=io.BytesIO(_git("archive", commit))) as archive:
            archive.extractall(made, filter="data")
        if not (made / "kernels").is_dir() or not (made / "CMakeLists.txt").exists():
            raise BadInput(f"{given}: no kernels in it")
        say(f"compiling {given}, commit {commit[:12]}: a minute or two, the first time")
        _compile(given, made, place.with_suffix(".log"))
        with contextlib.suppress(OSError):  # another process was faster
            made.rename(place)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return place


def _compiler() -> str:
    """What else decides the code: the C compiler and its flags, in eight letters."""
    name = os.environ.get("CC", "cc")
    try:
        version = subprocess.run([*name.split(), "--version"], capture_output=True).stdout
    except OSError:
        version = b""  # CMake may find another
    what = [name.encode(), version, os.environ.get("CFLAGS", "").encode(), sys.version.encode()]
    return hashlib.sha256(b"\0".join(what)).hexdigest()[:8]


def _compile(given: str, tree: Path, log: Path) -> None:
    """Builds as `make build` does, with CMake alone where there is one. Raises BadInput that names the log."""
    build = tree / "build"
    commands = [[sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(build), str(tree)]]
    if shutil.which("cmake"):
        made = ["-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={sys.executable}"]
        jobs = str(len(os.sched_getaffinity(0)))
        commands = [["cmake", "-S", str(tree), "-B", str(build), *made]]
        commands += [["cmake", "--build", str(build), "--parallel", jobs]]
    for command in commands:
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if ran.returncode:
            log.write_bytes(ran.stdout)
            lines = ran.stdout.decode(errors="replace").splitlines()
            errors = [line.strip() for line in lines if "error" in line.lower()] or lines[-1:]
            raise BadInput(f"{given}: the build failed: {errors[0] if errors else 'no output'} (all of it: {log})")
    for module in build.glob(f"kernels/{MODULE}"):  # pip's
        shutil.copy2(module, tree / "kernels")
    shutil.rmtree(build, ignore_errors=True)
    if not list((tree / "kernels").glob(MODULE)):
        raise BadInput(f"{given}: its build made no kernels/_native")
