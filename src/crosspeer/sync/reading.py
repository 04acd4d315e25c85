"""The questions of one node to the logs of its topics: many at once, and one at a time for each topic."""

from __future__ import annotations

import asyncio
import logging
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

from crosspeer.sync.link import heed_cancellation
from crosspeer.sync.port import Ask

if TYPE_CHECKING:
    from crosspeer.sync.follower import Follower
    from crosspeer.sync.link import Link
    from crosspeer.sync.port import Logs, Page

logger = logging.getLogger("crosspeer")

ANSWER_WITHIN: Final = 5.0
PAGES: Final = 256
"""Logs that are read at once."""


class Asker(Protocol):
    """Whose questions they are."""

    def follows(self, follower: Follower) -> bool:
        """Whether its topic still has subscribers here."""
        ...

    def stored(self, follower: Follower) -> list[int]:
        """The numbers of our messages that its log has, and that have not come back."""
        ...

    def settle(self, follower: Follower, stored: list[int]) -> None:
        """A page was read that has these if they are to come at all."""
        ...

    def unreadable(self, follower: Follower) -> None: ...


class Reading:
    """What is to be read, and how.

    Args:
        logs: what is asked.
    """

    def __init__(self, logs: Logs, asker: Asker) -> None:
        self._logs = logs
        self._asker = asker
        self._to_read: dict[Follower, None] = {}
        self._to_renew: dict[Follower, str] = {}
        self._has_questions = asyncio.Event()

    def add(self, follower: Follower) -> None:
        """Read its log soon."""
        self._to_read[follower] = None
        self._has_questions.set()

    def __contains__(self, follower: Follower) -> bool:
        """Whether its log will be read."""
        return follower in self._to_read

    def renew(self, follower: Follower, epoch: str) -> None:
        """Begin its log anew, if this is its epoch, and read it then."""
        self._to_renew[follower] = epoch
        self.add(follower)

    def forget(self, follower: Follower) -> None:
        self._to_read.pop(follower, None)
        self._to_renew.pop(follower, None)

    async def serve(self, link: Link) -> None:
        """Read for as long as the connection stands."""
        self._has_questions = asyncio.Event()
        self._has_questions.set()
        while True:
            heed_cancellation()
            await self._has_questions.wait()
            self._has_questions.clear()
            while self._to_read:
                followers = list(islice(self._to_read, PAGES))
                async with asyncio.timeout(ANSWER_WITHIN):
                    await self._read(link, followers)

    async def _read(self, link: Link, followers: list[Follower]) -> None:
        for follower in followers:
            if (epoch := self._to_renew.pop(follower, None)) is not None:
                logger.warning("the log of %r has lost messages that were delivered; it begins anew", follower.topic)
                await self._logs.renew(follower.name, epoch)
        # What is published from now on is received, so that nothing is between that and the page.
        await link.subscribed([follower.name.channel for follower in followers])
        for follower in followers:
            self._to_read.pop(follower, None)
        asked = [(follower, Ask(follower.name, follower.wanted()), follower.offset) for follower in followers]
        stored = [self._asker.stored(follower) for follower in followers]
        pages = await self._logs.read([ask for _, ask, _ in asked])
        for (follower, ask, offset), page, known in zip(asked, pages, stored, strict=True):
            if not self._asker.follows(follower):
                continue
            if page is None:
                self._asker.unreadable(follower)
            elif await self._hand_over(follower, page, ask.after, offset) and follower not in self._to_renew:
                self._asker.settle(follower, known)

    async def _hand_over(self, follower: Follower, page: Page, after: int | None, asked_at: int | None) -> bool:
        """Let a follower take a page. False: it has no subscribers any more, or has failed."""
        try:
            for _ in follower.take_page(page, after, asked_at):
                await asyncio.sleep(0)
                if not self._asker.follows(follower):
                    return False
        except Exception as error:
            # It is one topic's trouble, and not the connection's.
            logger.error("a page of the log of %r was not delivered", follower.topic, exc_info=error)
            return False
        return True
