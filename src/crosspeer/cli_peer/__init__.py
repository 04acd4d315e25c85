"""The commands that make this program a peer: `send` and `receive`, `chat`."""

from __future__ import annotations

from typing import Final

from crosspeer.cli_peer.chat import chat
from crosspeer.cli_peer.files import receive, send

COMMANDS: Final = (send, receive, chat)

__all__ = ["COMMANDS"]
