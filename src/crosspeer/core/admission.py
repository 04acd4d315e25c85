"""An accepted handshake before there is a connection: what the hub found out, and a place that is kept for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crosspeer.core.hooks import HookTable
    from crosspeer.core.hub import Hub
    from crosspeer.core.request import Request
    from crosspeer.core.upgrade import Upgrade


@dataclass(frozen=True, slots=True)
class Admission:
    """What an adapter or an engine makes a peer of. If nothing comes of it, it MUST be released."""

    hub: Hub
    request: Request
    hooks: HookTable
    accepted: Upgrade
    namespace: str

    def release(self) -> None:
        """The handshake came to nothing: its place is free again."""
        self.hub.gate.release()
