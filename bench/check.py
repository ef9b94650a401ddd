"""python -m bench.check FILE|FOLDER...: derives every figure again from raw seconds, refuses what breaks the rules.

A record may be signed, which keeps it as it is: ssh-keygen -Y sign -n ridgeline -f KEY FILE writes FILE.sig beside it.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from bench.cli import Parser, print_json, run
from bench.errors import BadInput, plain
from bench.quantities import plural
from bench.record.folder import files_of
from bench.record.format import Grade
from bench.record.store import derived_from, load, problems

GRADES = get_args(Grade)
NAMESPACE = "ridgeline"
KEYGEN_SECONDS = 20


def checked(path: Path, least: str | None = None, signers: Path | None = None) -> dict[str, Any]:
    """What is to be said of a file.

    least    the lowest grade that will do
    signers  ssh-keygen's file of allowed signers: a record has to be signed by one of them
    """
    try:
        metrics, signed_by = load(path), signer(path, signers)
        with derived_from(path):
            found = problems(metrics)
    except BadInput as error:
        return {
            "file": str(path),
            "rows": 0,
            "trust": None,
            "signed_by": None,
            "remarks": [],
            "problems": [str(error).removeprefix(f"{path}: ")],
        }
    grade = metrics.trust["grade"]
    if least and (grade is None or grade > least):
        found.append(f"trust {grade or 'without a grade'}, where at least {least} is asked for")
    return {
        "file": str(path),
        "rows": len(metrics.rows),
        "trust": metrics.trust,
        "signed_by": signed_by,
        "remarks": metrics.stand_ins,
        "problems": found,
    }


def signer(path: Path, signers: Path | None = None) -> str | None:
    """Who signed a file, in FILE.sig: the name that `signers` gives the key, without them the key's fingerprint.

    None where there is no signature. Raises BadInput for one that isn't this file's, for one by nobody of the signers
    and, where there are signers, for none; and where ssh-keygen is missing.
    """
    signature = path.with_name(f"{path.name}.sig")
    if not signature.is_file():
        if signers:
            raise BadInput(f"{path}: not signed")
        return None
    if signers is None:
        return _keygen(path, "check-novalidate", "-n", NAMESPACE, "-s", signature).rpartition(" with ")[2]
    name = _keygen(path, "find-principals", "-s", signature, "-f", signers).splitlines()[0]
    said = _keygen(path, "verify", "-n", NAMESPACE, "-s", signature, "-f", signers, "-I", name)
    return f"{name} with {said.rpartition(' with ')[2]}"


def _keygen(path: Path, *arguments: object) -> str:
    """What ssh-keygen -Y says of a file. Raises BadInput with its last line where it objects."""
    command = ["ssh-keygen", "-Y", *map(str, arguments)]
    try:
        with path.open("rb") as file:
            ran = subprocess.run(
                command,
                stdin=file,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=KEYGEN_SECONDS,
            )
    except FileNotFoundError as error:
        raise BadInput(f"{path}: its signature can't be checked: ssh-keygen, of OpenSSH, isn't installed") from error
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"{path}: its signature can't be checked: ssh-keygen took {KEYGEN_SECONDS} s") from error
    if ran.returncode:
        reason = (ran.stderr.strip() or ran.stdout.strip() or "no principal matched").splitlines()[-1]
        raise BadInput(f"{path}: its signature doesn't hold: {reason}")
    return ran.stdout.strip()


def lines(result: dict[str, Any]) -> list[str]:
    """The same for a terminal: good or every problem, then the trust grade with its reasons."""
    name, trust = plain(result["file"]), result["trust"]
    found = [f"{name}: {problem}" for problem in result["problems"]] or [
        f"{name}: good, {plural(result['rows'], 'row')}"
    ]
    if result["signed_by"]:
        found.append(f"  signed by {plain(result['signed_by'])}")
    if trust:
        found.append(f"  trust {trust['grade'] or 'without a grade'}")
        found += [f"  - {plain(reason)}" for reason in trust["reasons"]]
    found += [f"  {plain(remark)}" for remark in result["remarks"]]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        "check", "Derive every figure of a record again from its raw seconds; exit 1 where a record breaks the rules."
    )
    parser.add_argument("record", nargs="+", type=Path, help="records to check, or folders of them")
    parser.add_argument("--least", choices=GRADES, help="exit 1 also for a trust grade below this, or none")
    parser.add_argument(
        "--allowed-signers", type=Path, metavar="FILE", help="exit 1 also for a record that nobody in this file signed"
    )
    options = parser.parse_args(arguments)
    results = [checked(path, options.least, options.allowed_signers) for path in files_of(options.record)]
    if options.json:
        print_json(results)
    else:
        print(*(line for result in results for line in lines(result)), sep="\n")
    return 1 if any(result["problems"] for result in results) else 0


if __name__ == "__main__":
    run(main)
