"""How long a fuzzing test runs: RIDGELINE_FUZZ=100 tries a hundred times as many inputs, other ones in each run.

It also tries every bad record of support.battery, of which there is a part otherwise.
"""

import os

from hypothesis import HealthCheck, settings

LONGER = int(os.environ.get("RIDGELINE_FUZZ") or 0)


def tries(count: int) -> settings:
    """So many inputs, the same in every run, unless it is a longer one."""
    calm = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=count * max(1, LONGER), deadline=None, derandomize=not LONGER, suppress_health_check=calm
    )


def thinned(part: int) -> int:
    """One in so many is tried; in a longer run, every one."""
    return 1 if LONGER else part
