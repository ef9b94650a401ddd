"""python -m bench.check FILE...: derives every figure again from raw seconds, refuses what breaks the rules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cli import Parser, print_json, run
from bench.errors import BadInput
from bench.record.store import problems, read


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        "check", "Derive every figure of a record again from its raw seconds; exit 1 where a record breaks the rules."
    )
    parser.add_argument("record", nargs="+", type=Path, help="record to check")
    options = parser.parse_args(arguments)
    results: list[dict[str, Any]] = []
    for path in options.record:
        try:
            record = read(path)
            results.append({"file": str(path), "rows": len(record["rows"]), "problems": problems(record)})
        except BadInput as error:
            results.append({"file": str(path), "rows": 0, "problems": [str(error)]})
    if options.json:
        print_json(results)
    for result in results if not options.json else []:
        if not result["problems"]:
            print(f"{result['file']}: good, {result['rows']} rows")
        for problem in result["problems"]:
            print(problem if problem.startswith(result["file"]) else f"{result['file']}: {problem}")
    return 1 if any(result["problems"] for result in results) else 0


if __name__ == "__main__":
    run(main)
