"""What goes wrong between peers, with the types that PeerJS gives it."""

from __future__ import annotations

from enum import StrEnum

from crosspeer.core.errors import CrosspeerError


class ErrorType(StrEnum):
    """The `type` of a `PeerError`. Each equals its text, such as "peer-unavailable"."""

    # Of a peer.
    BROWSER_INCOMPATIBLE = "browser-incompatible"
    """PeerJS's, where there is no WebRTC. Here that is a `MissingExtra`, raised when the peer is made."""
    DISCONNECTED = "disconnected"
    INVALID_ID = "invalid-id"
    INVALID_KEY = "invalid-key"
    NETWORK = "network"
    PEER_UNAVAILABLE = "peer-unavailable"
    SSL_UNAVAILABLE = "ssl-unavailable"
    """Of PeerJS 0.3 and the documents; nothing raises it any more."""
    SERVER_ERROR = "server-error"
    SOCKET_ERROR = "socket-error"
    SOCKET_CLOSED = "socket-closed"
    """Of PeerJS 0.3 and the documents: it is `network` today."""
    UNAVAILABLE_ID = "unavailable-id"
    WEBRTC = "webrtc"

    # Of a connection.
    NEGOTIATION_FAILED = "negotiation-failed"
    CONNECTION_CLOSED = "connection-closed"
    NOT_OPEN_YET = "not-open-yet"
    MESSAGE_TOO_BIG = "message-too-big"
    # These two are not PeerJS's.
    INVALID_MESSAGE = "invalid-message"
    """The other side sent bytes that are no message. They are left out; the connection goes on."""
    BUFFER_FULL = "buffer-full"
    """More waits to be sent, or to be read, than the limits allow."""


class PeerError(CrosspeerError):
    """An error of a peer or of one of its connections; `type` says which, its text is meant for people."""

    def __init__(self, type: str, message: str = "") -> None:
        super().__init__(message)
        self.type = ErrorType(type)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.type.value!r}, {str(self)!r})"


class PeerTimeout(PeerError, TimeoutError):
    """It took too long: a `PeerError` and a `TimeoutError` both."""
