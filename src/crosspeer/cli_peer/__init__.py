"""The commands that make this program a peer: `send` and `receive`, `chat`, `call`."""

from __future__ import annotations

from typing import Final

from crosspeer.cli_peer.call import call
from crosspeer.cli_peer.chat import chat
from crosspeer.cli_peer.files import receive, send

COMMANDS: Final = (send, receive, chat, call)

__all__ = ["COMMANDS"]
