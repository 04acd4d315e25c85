"""What the engine allows a peer: the same as every adapter (`runtime.budget`)."""

from crosspeer.runtime.budget import BURST, EXCESS_BURST, EXCESS_RATE, RATE, Budget

__all__ = ["BURST", "EXCESS_BURST", "EXCESS_RATE", "RATE", "Budget"]
