"""The contract suites: one for each port, run over every implementation of it.

A suite is a class of pytest tests. Subclass it, give it a `harness` fixture, and every test runs on your
implementation; what it cannot do is named in its `Capabilities` and asserted too.
"""

from crosspeer.testing.contracts.adapter import AdapterContract
from crosspeer.testing.contracts.harness import Harness

__all__ = ["AdapterContract", "Harness"]
