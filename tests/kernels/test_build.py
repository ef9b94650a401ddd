"""What CMake makes of the compiler, the flags and the Python that it is given. It configures; little is compiled."""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.process import ROOT

CROSS = "aarch64-linux-gnu-gcc"
X86 = platform.machine() == "x86_64"

pytestmark = pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("make")), reason="needs cmake and make")


def configure(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """CMake's configuration of this tree in a folder; an environment without flags but those given."""
    outer = {name: value for name, value in os.environ.items() if name not in ("CC", "CFLAGS", "LDFLAGS")}
    options = (f"-DPython_EXECUTABLE={sys.executable}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", *options)
    return subprocess.run(
        ["cmake", "-S", ROOT, "-B", folder, "-G", "Unix Makefiles", *options],
        env=outer | environment,
        capture_output=True,
        text=True,
    )


def commands(folder: Path, source: str) -> list[list[str]]:
    """How each object of a source is compiled, less what is compiled and where to."""
    entries = json.loads((folder / "compile_commands.json").read_text())
    found = [shlex.split(entry["command"]) for entry in entries if entry["file"].endswith(source)]
    return [command[: command.index("-o")] for command in found]


def defined(command: list[str], name: str) -> str:
    (value,) = (word.removeprefix(f"-D{name}=") for word in command if word.startswith(f"-D{name}="))
    return value


def macros(command: list[str]) -> dict[str, str]:
    listed = subprocess.run([*command, "-dM", "-E", "-x", "c", os.devnull], capture_output=True, text=True, check=True)
    return dict([*line.split(" ", 2), ""][1:3] for line in listed.stdout.splitlines())


def flags_of(folder: Path) -> str:
    """The flags that a module built there says it was built with."""
    (command,) = commands(folder, "dispatch.c")
    program = folder / "say.c"
    program.write_text('#include <stdio.h>\n#include "built.h"\nint main(void) { return puts(FLAGS) < 0; }\n')
    subprocess.run([*command, "-Wall", "-Werror", program, "-o", folder / "say"], check=True)
    return subprocess.run([folder / "say"], capture_output=True, text=True, check=True).stdout.strip()


def refusal(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode != 0
    (said,) = (part for part in ran.stderr.split("CMake Error at ")[1:])
    return said.split("\n\n")[0].split("\n", 1)[1].strip()


# ISA -> (features of x86-64 that its code may use, some that it may not)
FEATURES = {
    "generic": ({"__SSE2_MATH__"}, {"__SSE3__", "__AVX__", "__FMA__", "__POPCNT__", "__BMI2__", "__LZCNT__"}),
    "avx2": ({"__AVX2__", "__FMA__"}, {"__AVX512F__", "__BMI2__", "__LZCNT__"}),
    "avx2_vnni": ({"__AVX2__", "__AVXVNNI__"}, {"__AVX512F__", "__BMI2__", "__LZCNT__"}),
    "avx512": (
        {"__AVX512F__", "__AVX512VL__", "__FMA__"},
        {"__AVX512VNNI__", "__AVX512VBMI__", "__BMI2__", "__LZCNT__"},
    ),
    "avx512_vnni": ({"__AVX512F__", "__AVX512VNNI__"}, {"__AVX512BF16__", "__AVX512VBMI__", "__BMI2__", "__LZCNT__"}),
    "avx512_bf16": ({"__AVX512VNNI__", "__AVX512BF16__"}, {"__AVX512VBMI__", "__BMI2__", "__LZCNT__"}),
}
UNKNOWN = {"avx2_vnni"}  # to older compilers' __builtin_cpu_supports
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


@pytest.mark.skipif(not X86, reason="x86-64's features")
@pytest.mark.parametrize("compiler", COMPILERS)
def test_isas_are_their_own_whatever_the_flags(tmp_path: Path, compiler: str) -> None:
    """Flags for this machine, features by name, fast arithmetic, link-time optimisation: no kernel has any of it. And
    the module's own account of its flags is a C string of exactly those, whatever quotes they have."""
    flags = "-march=native -mavx512vbmi -mavx2 -mbmi2 -mlzcnt -flto -Ofast -ffp-contract=off "
    flags += "-mfpmath=387 " if compiler == "gcc" else ""  # Clang refuses that itself
    flags += r'-DX="a b" -DY=\"quoted\" -DZ="back\\slash"'
    ran = configure(tmp_path, CC=compiler, CFLAGS=flags)
    if "Could NOT find OpenMP" in ran.stderr:
        pytest.skip(f"{compiler} has no OpenMP here")
    assert ran.returncode == 0, ran.stderr
    compiled = commands(tmp_path, "kernel.c")
    found = {(defined(command, "ISA"), defined(command, "TYPE")) for command in compiled}
    of_isas = {tuple(word for word in command if not word.startswith("-DTYPE=")) for command in compiled}
    assert len(of_isas) == len({isa for isa, _ in found}), "types of an ISA are compiled alike"
    for command in map(list, of_isas):
        known = macros(command)
        has, lacks = FEATURES[known["ISA"]]
        assert has <= known.keys() and not lacks & known.keys(), command
        assert "__FAST_MATH__" not in known and "-fno-lto" in command[command.index("-flto") :]
        assert command.index("-ffp-contract=off") < command.index("-ffp-contract=fast")
    assert FEATURES.keys() - {isa for isa, _ in found} <= UNKNOWN
    assert ("avx512_vnni", "f32") not in found  # avx512 has it
    rows = (tmp_path / "built.def").read_text()
    (avx2,) = (row for row in rows.splitlines() if row.startswith("ISA_ROW(avx2,"))
    assert {"avx2", "fma", "popcnt"} <= set(re.findall(r'__builtin_cpu_supports\("(\w+)"\)', avx2))
    assert flags_of(tmp_path).removesuffix("-O3").strip() == flags


@pytest.mark.skipif(not X86, reason="gcc -m32")
def test_32_bits_are_refused(tmp_path: Path) -> None:
    """Whatever the kernel's uname says. A library is enough of a test program: 32-bit start-up code may be missing."""
    ran = configure(tmp_path, "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY", CC="gcc -m32")
    assert refusal(ran) == "The compiler makes 32-bit code: Ridgeline needs a 64-bit one"


def test_free_threaded_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sysconfig\nsysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1\n")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    ran = configure(tmp_path / "build", f"-DPython_EXECUTABLE={python}", "-DRIDGELINE_ISAS=generic")
    assert refusal(ran) == "Free-threaded Python has no limited API: use one that has the GIL"


@pytest.mark.skipif(not X86 or not shutil.which(CROSS), reason=f"needs {CROSS}")
def test_cross_builds_keep_off_the_sources(tmp_path: Path) -> None:
    """With nothing but CC: the ISAs are the target's, and its module doesn't take the place of this machine's."""
    assert configure(tmp_path, CC=CROSS, CFLAGS="-mcpu=neoverse-n1").returncode == 0
    assert "ISA_ROW(neon, , 1)" in (tmp_path / "built.def").read_text()
    link = shlex.split((tmp_path / "CMakeFiles/_native.dir/link.txt").read_text())
    assert not Path(link[link.index("-o") + 1]).is_absolute()
    assert not {"__ARM_FEATURE_DOTPROD", "__ARM_FEATURE_ATOMICS"} & macros(commands(tmp_path, "kernel.c")[0]).keys()
    ran = configure(tmp_path / "editable", "-DSKBUILD_STATE=editable", CC=CROSS)
    assert refusal(ran) == "The compiler is for another machine, whose code can't be imported here"
