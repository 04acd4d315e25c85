"""What every asyncio adapter shares: owned tasks, the pump that empties a queue, the handshake's deadline."""
