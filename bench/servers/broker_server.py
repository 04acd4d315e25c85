"""crosspeer's PeerJS broker, on the engine that CROSSPEER_ENGINE names, with room for many clients."""

from __future__ import annotations

import logging
import os

from crosspeer import serve
from crosspeer.peerjs import BrokerLimits, PeerServer

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)  # as quiet as the others
    # More than honest clients do is what is measured: the bounds are kept, and out of reach.
    limits = BrokerLimits(relay_rate=1_000_000, relay_burst=1_000_000_000)
    serve(PeerServer(alive_timeout=12, concurrent_limit=20_000, limits=limits), port=int(os.environ["PORT"]))
