from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from peers import Peers, own_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    async with own_broker() as broker:
        peers = Peers(broker)
        try:
            yield peers
        finally:
            await peers.destroy()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """The folder that files go to."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder
