"""The logs of topics in JetStream: a stream for each `History`, with a subject for each topic.

The offset of a message is its number in the stream, so that a topic's offsets have holes. JetStream publishes what it
has stored once more, with that number and the one of the subject's message before: nothing is missed unnoticed. The
epoch is in the stream's description.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from typing import TYPE_CHECKING, Any, Final

from nats.js import api
from nats.js.errors import BadRequestError, NotFoundError, ServiceUnavailableError

from crosspeer.sync.port import LOG_MARK, Page
from crosspeer.wire.logged import stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crosspeer.sync.port import Append, Ask, LogName

DUPLICATES: Final = 120.0
"""Seconds within which JetStream knows a message that is sent once more. Not longer than it keeps them."""
IN_FLIGHT: Final = 256
"""Messages that are sent before the first of them is acknowledged."""
READ_WITHIN: Final = 5.0

_EPOCH: Final = re.compile(r"[0-9a-f]{16}\Z")


class NatsLogs:
    """The logs behind one connection. What it knows of streams is forgotten with it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._stream = client.jetstream(timeout=READ_WITHIN)
        self._epochs: dict[str, str] = {}
        """By streams that are there, and are as we want them."""

    async def append(self, batch: Sequence[Append]) -> None:
        for start in range(0, len(batch), IN_FLIGHT):
            answers = [await self._send(new) for new in batch[start : start + IN_FLIGHT]]
            await asyncio.gather(*answers)

    async def read(self, asks: Sequence[Ask]) -> list[Page | None]:
        if not asks:
            await self._require_jetstream()
        for log in {_stream_of(ask.log): ask.log for ask in asks}.values():
            await self._make(log)
        return list(await asyncio.gather(*(self._page(ask) for ask in asks)))

    async def renew(self, log: LogName, epoch: str) -> None:
        await self._make(log)
        info = await self._stream.stream_info(_stream_of(log))
        if info.config.description == epoch:
            await self._stream.update_stream(_config(log, _fresh()))
        self._epochs.clear()

    def stamped(self, message: Any) -> bytes | None:
        """What JetStream has published once more, with its stamp. None: it did not come from there."""
        headers = message.headers or {}
        epoch = self._epochs.get(headers.get("Nats-Stream", ""))
        number, before = headers.get("Nats-Sequence", ""), headers.get("Nats-Last-Sequence", "0")
        if epoch is None or not (number.isdecimal() and before.isdecimal()):
            return None
        return stamp(epoch, int(before), int(number), message.data)

    # Inside.

    async def _send(self, new: Append) -> asyncio.Future[Any]:
        await self._make(new.log)
        once = {"Nats-Msg-Id": f"{new.log.channel}.{new.sender}.{new.number}"}
        # To await this is to hand it over, in order; what it returns is the acknowledgement.
        sent: asyncio.Future[Any] = await self._stream.publish_async(_subject(new.log), new.data, headers=once)
        return sent

    async def _require_jetstream(self) -> None:
        try:
            await self._stream.account_info()
        except ServiceUnavailableError as error:
            raise ConnectionError(
                "this NATS server has no JetStream, which history needs: start it with -js"
            ) from error

    async def _make(self, log: LogName) -> None:
        """Make the stream of a log, if it is not there, and bring its bounds up to date."""
        name = _stream_of(log)
        if name in self._epochs:
            return
        try:
            info = await self._stream.stream_info(name)
        except NotFoundError:
            info = await self._add(log)
        epoch = info.config.description or ""
        if not _EPOCH.match(epoch) or not _is_same(info.config, _config(log, epoch)):
            epoch = epoch if _EPOCH.match(epoch) else _fresh()
            await self._stream.update_stream(_config(log, epoch))
        self._epochs[name] = epoch

    async def _add(self, log: LogName) -> api.StreamInfo:
        try:
            made: api.StreamInfo = await self._stream.add_stream(_config(log, _fresh()))
        except BadRequestError:
            # Another node was first, with an epoch of its own.
            made = await self._stream.stream_info(_stream_of(log))
        return made

    async def _page(self, ask: Ask) -> Page | None:
        name, subject = _stream_of(ask.log), _subject(ask.log)
        info = await self._stream.stream_info(name)
        epoch = info.config.description or ""
        if not _EPOCH.match(epoch):
            return None
        self._epochs[name] = epoch
        # Up to here nothing of the topic is missing, wherever its own last message is.
        last = info.state.last_seq
        if ask.after is None or ask.after >= last:
            return Page(epoch, last, last, [])
        entries = await self._entries(name, subject, ask.after + 1)
        head = max([last, *(offset for offset, _ in entries[-1:])])
        is_whole = info.state.first_seq <= ask.after + 1 and len(entries) <= ask.log.kept.size
        floor = ask.after if is_whole else next((offset for offset, _ in entries), head)
        return Page(epoch, head, floor, [entry for entry in entries if entry[0] > floor])

    async def _entries(self, name: str, subject: str, first: int) -> list[tuple[int, bytes]]:
        """The messages of a topic from a number on, by a consumer that lives as long as it takes."""
        try:
            await self._stream.get_msg(name, seq=first, subject=subject, next=True)
        except NotFoundError:
            return []
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox)
        try:
            config = api.ConsumerConfig(
                deliver_subject=inbox,
                deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=first,
                filter_subject=subject,
                ack_policy=api.AckPolicy.NONE,
                mem_storage=True,
                num_replicas=1,
                inactive_threshold=READ_WITHIN,
            )
            consumer = await self._stream.add_consumer(name, config)
            entries = []
            async with asyncio.timeout(READ_WITHIN):
                for _ in range(consumer.num_pending or 0):
                    message = await subscription.next_msg(timeout=READ_WITHIN)
                    entries.append((message.metadata.sequence.stream, message.data))
            await self._stream.delete_consumer(name, consumer.name)
        finally:
            await subscription.unsubscribe()
        return entries


def subject_of(channel: str) -> str:
    """Where JetStream publishes what it has stored of a log: a wildcard has to be a part of its own."""
    return channel.replace(":", ".")


def channel_of(subject: str) -> str:
    return subject.replace(".", ":")


def _stream_of(log: LogName) -> str:
    """By the pattern: when its bounds are changed, it stays."""
    prefix = log.channel.partition(LOG_MARK)[0]
    return f"{prefix}-history-{hashlib.blake2b(log.pattern.encode(), digest_size=8).hexdigest()}"


def _subject(log: LogName) -> str:
    return f"{_stream_of(log)}.{log.channel.partition(LOG_MARK)[2]}"


def _config(log: LogName, epoch: str) -> api.StreamConfig:
    name, prefix = _stream_of(log), log.channel.partition(LOG_MARK)[0]
    return api.StreamConfig(
        name=name,
        description=epoch,
        subjects=[f"{name}.*"],
        retention=api.RetentionPolicy.LIMITS,
        discard=api.DiscardPolicy.OLD,
        storage=api.StorageType.FILE,
        max_age=log.kept.seconds,
        # One more, so that who has missed just as many as are kept can be told from who has missed more.
        max_msgs_per_subject=log.kept.size + 1,
        duplicate_window=min(DUPLICATES, log.kept.seconds),
        republish=api.RePublish(src=f"{name}.*", dest=f"{prefix}{LOG_MARK.replace(':', '.')}{{{{wildcard(1)}}}}"),
    )


def _is_same(there: api.StreamConfig, wanted: api.StreamConfig) -> bool:
    return (there.max_age, there.max_msgs_per_subject) == (wanted.max_age, wanted.max_msgs_per_subject)


def _fresh() -> str:
    return secrets.token_hex(8)
