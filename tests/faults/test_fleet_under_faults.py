"""The fault tests of a fleet in small: fewer clients, and all faults that a backplane knows in one run of each."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from faults.__main__ import run
from faults.brokers import STORES, missing
from faults.rig import Fleet, Plan
from faults.scenarios import SCENARIOS, fits

pytestmark = pytest.mark.timeout(120)

SMALL = ("kill-node", "cut-clients", "restart-kept", "partition", "rolling-restart")


@pytest.mark.parametrize("backend", list(STORES))
async def test_nothing_is_lost_doubled_or_missed_in_silence(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (reason := missing(backend)) is not None:
        pytest.skip(reason)

    async def all_of_them(fleet: Fleet) -> None:
        for name in SMALL:
            if fits(name, backend):
                await SCENARIOS[name](fleet)
                await fleet.whole()

    monkeypatch.setitem(SCENARIOS, "all", all_of_them)
    plan = Plan(backend, clients=60, seconds=0.6, topics=4, publishers=12, rate=5.0)
    outcome = await run(plan, "all", tmp_path)
    assert outcome.violations == []
    assert outcome.deliveries > 0
    assert len(outcome.returns) >= plan.clients, "everybody was cut off at least once"
