"""What all tests share: contract tests of foreign servers run in the server's process, and properties are tried with
the same examples in every run, but where `make fuzz` explores."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from hosted.process import run_in_process

settings.register_profile("steady", max_examples=200, derandomize=True, database=None, deadline=None)
settings.register_profile(
    "explore", max_examples=500, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    return run_in_process(pyfuncitem) or None
