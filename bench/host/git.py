"""git, asked about the checkout that this package lies in, whatever it is doing elsewhere."""

import os
import subprocess
from pathlib import Path

OWN = Path(__file__).resolve().parents[2]


def git(*arguments: str, folder: Path = OWN, timeout: float | None = None) -> bytes:
    """What git says of a checkout. Raises as subprocess.run(check=True): FileNotFoundError, CalledProcessError.

    GIT_DIR and its like, which git sets for its hooks, would answer for another repository, or for another index of
    this one. Whose checkout it is doesn't matter: its code runs already.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-c", f"safe.directory={folder}", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=timeout, env=environment).stdout
