"""Which engine runs: the one that was asked for, else the fastest that is installed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from crosspeer.core.errors import MissingExtra

if TYPE_CHECKING:
    from crosspeer.peerjs.rtc.port import Engine

_ENGINES: Final = {"wrtc": ("webrtc", "webrtc"), "aiortc": ("aiortc", "aiortc")}
"""The engines by their packages' names, the preferred first: the module that is imported, and the extra for it."""

NAMES: Final = tuple(_ENGINES)


def choose_engine(wanted: str | Engine | None = None) -> Engine:
    """The engine with this name, an engine itself, or the first of `wrtc` and `aiortc` that is installed.

    Raises:
        MissingExtra: it is not installed.
        ValueError: there is none with this name.
    """
    if wanted is not None and not isinstance(wanted, str):
        return wanted
    if wanted is not None:
        if wanted not in _ENGINES:
            raise ValueError(f"the engine is one of {', '.join(NAMES)}, not {wanted!r}")
        return _load(wanted)
    for name in NAMES:
        try:
            return _load(name)
        except MissingExtra:
            continue
    raise MissingExtra(*_missing(NAMES[0]))


def _load(name: str) -> Engine:
    module, _ = _ENGINES[name]
    try:
        found = import_module(f"crosspeer.peerjs.rtc.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in (module, name):
            raise
        raise MissingExtra(*_missing(name)) from None
    return cast("Engine", found.ENGINE)


def _missing(name: str) -> tuple[str, str]:
    return name, _ENGINES[name][1]
