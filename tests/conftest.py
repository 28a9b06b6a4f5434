"""How all tests search: the same examples every time, without a clock; a long search when it is asked for.

`GREENROOM_TEST_EXAMPLES=3000 pytest tests/core` looks further, with new examples each time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow]  # Other processes may have the machine; that is no fault of a test.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile(
    "search",
    deadline=None,
    max_examples=int(os.environ.get("GREENROOM_TEST_EXAMPLES", "100")),
    suppress_health_check=_SLOW,
    print_blob=True,
)
settings.load_profile("search" if "GREENROOM_TEST_EXAMPLES" in os.environ else "steady")
