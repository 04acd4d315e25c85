"""The native engine: crosspeer's own, in Rust, where the package `crosspeer-engine` is installed."""

from crosspeer.server.native.engine import NativeEngine

__all__ = ["NativeEngine"]
