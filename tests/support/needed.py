"""Libraries that some tests need and this project doesn't: a test is skipped by name without them, or fails in CI."""

import importlib
import os
from typing import Any, NoReturn

import pytest

REQUIRED = {name for name in os.environ.get("REQUIRE_LIBRARIES", "").split(",") if name}


def needed(name: str) -> Any:
    """The module. Without it the test is skipped, or fails where REQUIRE_LIBRARIES has its name."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        absent(name.partition(".")[0], f"{name} is not installed: {error}")


def absent(name: str, reason: str) -> NoReturn:
    """Skips the test, or fails where REQUIRE_LIBRARIES has the library's name."""
    if name in REQUIRED:
        pytest.fail(f"REQUIRE_LIBRARIES: {reason}")
    pytest.skip(reason)
