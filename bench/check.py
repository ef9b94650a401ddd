"""python -m bench.check FILE...: derives every figure again from raw seconds, refuses what breaks the rules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from bench.cli import Parser, print_json, run
from bench.errors import BadInput, plain
from bench.record.format import Grade
from bench.record.store import derived_from, load, problems

GRADES = get_args(Grade)


def checked(path: Path, least: str | None) -> dict[str, Any]:
    """What is to be said of a file; least: the lowest grade that will do."""
    try:
        metrics = load(path)
        with derived_from(path):
            found = problems(metrics)
    except BadInput as error:
        return {"file": str(path), "rows": 0, "trust": None, "problems": [str(error).removeprefix(f"{path}: ")]}
    grade = metrics.trust["grade"]
    if least and (grade is None or grade > least):
        found.append(f"trust {grade or 'without a grade'}, where at least {least} is asked for")
    return {"file": str(path), "rows": len(metrics.rows), "trust": metrics.trust, "problems": found}


def lines(result: dict[str, Any]) -> list[str]:
    """The same for a terminal: good or every problem, then the trust grade with its reasons."""
    name, trust = plain(result["file"]), result["trust"]
    found = [f"{name}: {problem}" for problem in result["problems"]] or [f"{name}: good, {result['rows']} rows"]
    if trust:
        found.append(f"  trust {trust['grade'] or 'without a grade'}")
        found += [f"  - {plain(reason)}" for reason in trust["reasons"]]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        "check", "Derive every figure of a record again from its raw seconds; exit 1 where a record breaks the rules."
    )
    parser.add_argument("record", nargs="+", type=Path, help="record to check")
    parser.add_argument("--least", choices=GRADES, help="exit 1 also for a trust grade below this, or none")
    options = parser.parse_args(arguments)
    results = [checked(path, options.least) for path in options.record]
    if options.json:
        print_json(results)
    else:
        print(*(line for result in results for line in lines(result)), sep="\n")
    return 1 if any(result["problems"] for result in results) else 0


if __name__ == "__main__":
    run(main)
