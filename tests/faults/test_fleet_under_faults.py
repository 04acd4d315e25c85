"""The fault tests of a fleet in small: fewer clients, and one fault after the other in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.__main__ import run
from faults.brokers import BROKERS, missing
from faults.rig import Fleet, Outcome, Plan
from faults.scenarios import SCENARIOS, fits

pytestmark = pytest.mark.timeout(120)

ALL = ("kill-node", "cut-clients", "restart-kept", "partition", "rolling-restart")


async def one_after_the_other(
    backend: str, names: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Outcome:
    if (reason := missing(backend)) is not None:
        pytest.skip(reason)

    async def each(fleet: Fleet) -> None:
        for name in names:
            await SCENARIOS[name](fleet)
            await fleet.whole()

    monkeypatch.setitem(SCENARIOS, "each", each)
    plan = Plan(backend, clients=60, seconds=0.6, topics=4, publishers=12, rate=5.0)
    outcome = await run(plan, "each", folder)
    assert outcome.violations == []
    assert outcome.deliveries > 0
    return outcome


@pytest.mark.parametrize(("backend", "names"), [("redis", ("kill-node", "partition")), ("local", ("kill-node",))])
async def test_a_node_dies_and_another_is_cut_off(
    backend: str, names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = await one_after_the_other(backend, names, tmp_path, monkeypatch)
    if backend == "redis":
        # With the first of local nodes its logs are gone, and that is told.
        assert outcome.recovered > 0
        assert outcome.tellings > 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", list(BROKERS))
async def test_one_fault_after_the_other(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(name for name in ALL if fits(name, backend))
    outcome = await one_after_the_other(backend, names, tmp_path, monkeypatch)
    assert len(outcome.returns) >= 60, "everybody was cut off at least once"
