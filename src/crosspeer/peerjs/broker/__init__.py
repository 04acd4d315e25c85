"""The PeerJS broker, as hooks on a hub and an ASGI application for its few HTTP routes."""

from crosspeer.peerjs.broker.limits import BrokerLimits
from crosspeer.peerjs.broker.registry import Client
from crosspeer.peerjs.broker.server import PeerServer
from crosspeer.peerjs.broker.turn import Turn

__all__ = ["BrokerLimits", "Client", "PeerServer", "Turn"]
