"""How properties are tried: with the same examples in every run, or with new ones where `make fuzz` explores."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("steady", max_examples=200, derandomize=True, database=None, deadline=None)
settings.register_profile(
    "explore", max_examples=500, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")
