"""In place of a session: python stand_in.py FOLDER HOW [--collect-only ...], where HOW is a word of main()."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

SECONDS = {"long": 60.0, "slow": 3.0}  # others take the fewest


def record(complete: bool = True) -> dict[str, Any]:
    """What test_ranks.py made for it."""
    found: dict[str, dict[str, Any]] = json.loads(Path(os.environ["RECORDS"]).read_text(encoding="utf-8"))
    return found["complete" if complete else "partial"]


def interrupted(number: int, frame: Any) -> None:
    """As a session: it keeps what it measured."""
    write(record(complete=False))
    sys.exit(2)


def write(document: Any, text: str | None = None) -> None:
    path = Path(sys.argv[1], "made-up", "2026-03-01-093000.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".part").write_text(text or json.dumps(document), encoding="utf-8")
    path.with_suffix(".part").rename(path)


def _note(what: str) -> None:
    """Adds a line to the file TURNS: this process, the rank's, what, and when."""
    launched = [name for name in os.environ if name.startswith(("OMPI_COMM", "PMIX_", "PMI_"))]
    with Path(os.environ["TURNS"]).open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {os.getppid()} {what} {time.monotonic()} {len(launched)}\n")


def main(how: str) -> None:
    if "--collect-only" in sys.argv:
        if "--sweep=quirk" in sys.argv:
            sys.exit("ERROR: --sweep: invalid choice: 'quirk'")
        return
    signal.signal(signal.SIGTERM, interrupted)
    _note("began")
    print("    1 s   40 %, 0:10 left: gemm ffn_up", file=sys.stderr, flush=True)
    time.sleep(SECONDS.get(how, 0.2))
    _note("ended")
    if how in ("good", "slow"):
        write(record())
    elif how == "tampered":
        document = record()
        document["rows"][0]["seconds"][0] *= 2
        write(document)
    elif how == "future":
        write(record() | {"version": 99})
    elif how == "cut":
        write(None, json.dumps(record())[:1000])
    elif how == "fails":
        sys.exit("MemoryError: \x1b[2Jno room for weights")
    elif how == "wrong":  # a test failed, the record is good
        write(record())
        print("1 failed, 231 passed")
        sys.exit(1)
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        assert how == "nothing"


if __name__ == "__main__":
    main(sys.argv[2])
