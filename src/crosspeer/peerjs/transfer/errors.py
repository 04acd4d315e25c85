"""What goes wrong with files under way. The texts are meant for people, on both sides."""

from __future__ import annotations

from crosspeer.core.errors import CrosspeerError


class TransferError(CrosspeerError):
    """This connection carries no more files."""


class ProtocolError(TransferError):
    """The other side said something that makes no sense, or not now."""


class Refused(TransferError):
    """One file is not sent, or not taken. The next one may be."""
