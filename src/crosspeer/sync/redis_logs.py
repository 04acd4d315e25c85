"""The logs of topics in Redis: for each a hash that says where it stands, and a stream of its messages.

Scripts do what has to be done at once: give the offset, keep the message, publish it. All keys of a log, and its
channel, are in the same slot of a cluster.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from crosspeer.sync.port import Page
from crosspeer.wire.logged import MAX_OFFSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crosspeer.sync.port import Append, Ask, LogName

KEEP_HEAD: Final = 24 * 3600
"""Seconds that it is remembered where a log stood, for clients that have missed nothing."""
KEEP_NUMBERS: Final = 3600
"""Seconds after which a message that is sent once more is taken for another one."""

_COMMON: Final = """
if redis.replicate_commands then redis.replicate_commands() end
local function typed(key, wanted)
  local found = redis.call('TYPE', key)['ok']
  if found ~= wanted and found ~= 'none' then redis.call('DEL', key) end
end
typed(KEYS[1], 'hash')
typed(KEYS[2], 'stream')
local head = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'bytes')
local epoch, offset, bytes = head[1], tonumber(head[2]), tonumber(head[3])
local function text(number)
  return string.format('%.0f', number)
end
local function save()
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', text(offset), 'bytes', text(bytes))
  redis.call('PEXPIRE', KEYS[1], KEEP_HEAD)
end
local function begin(fresh)
  epoch, offset, bytes = fresh, 0, 0
  redis.call('DEL', KEYS[2])
  save()
end
local function oldest(milliseconds)
  local now = redis.call('TIME')
  return text(now[1] * 1000 + math.floor(now[2] / 1000) - milliseconds)
end
local is_whole = epoch and string.match(epoch, '^[0-9a-f]+$') and #epoch == 16
if not (is_whole and offset and bytes and offset >= 0 and offset < MAX_OFFSET) then begin(ARGV[1]) end
""".replace("KEEP_HEAD", str(KEEP_HEAD * 1000)).replace("MAX_OFFSET", str(MAX_OFFSET))

# KEYS: head, items, numbers. ARGV: fresh epoch, number, size, milliseconds, bytes, data, command, channel.
_APPEND: Final = (
    _COMMON
    + """
typed(KEYS[3], 'string')
if tonumber(ARGV[2]) <= (tonumber(redis.call('GET', KEYS[3]) or '') or 0) then return 0 end
redis.call('SET', KEYS[3], ARGV[2], 'PX', KEEP_NUMBERS)
offset, bytes = offset + 1, bytes + #ARGV[6]
local place = text(offset)
redis.call('XADD', KEYS[2], '*', 'o', place, 'd', ARGV[6])
local last = oldest(tonumber(ARGV[4]))
local count = redis.call('XLEN', KEYS[2])
while count > 0 do
  local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  local at = tonumber(string.match(first[1], '^%d+'))
  if count <= tonumber(ARGV[3]) and bytes <= tonumber(ARGV[5]) and at >= tonumber(last) then break end
  redis.call('XDEL', KEYS[2], first[1])
  bytes = math.max(0, bytes - #(first[2][4] or ''))
  count = count - 1
end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
save()
local stamp = 'xl' .. epoch .. ':' .. text(offset - 1) .. ':' .. place .. '\\n'
redis.call(ARGV[7], ARGV[8], stamp .. ARGV[6])
return 1
""".replace("KEEP_NUMBERS", str(KEEP_NUMBERS * 1000))
)

# KEYS: head, items. ARGV: fresh epoch, after (or -1), size, milliseconds.
_READ: Final = (
    _COMMON
    + """
redis.call('PEXPIRE', KEYS[1], KEEP_HEAD)
local items, missed = {}, offset - tonumber(ARGV[2])
if tonumber(ARGV[2]) >= 0 and missed > 0 then
  local most = math.min(missed, tonumber(ARGV[3]))
  items = redis.call('XREVRANGE', KEYS[2], '+', oldest(tonumber(ARGV[4])), 'COUNT', text(most))
end
return {epoch, text(offset), items}
""".replace("KEEP_HEAD", str(KEEP_HEAD * 1000))
)

# KEYS: head, items. ARGV: fresh epoch, the epoch that is over, command, channel.
_RENEW: Final = (
    _COMMON
    + """
if epoch == ARGV[2] then begin(ARGV[1]) end
redis.call(ARGV[3], ARGV[4], 'xl' .. epoch .. ':' .. '0:0\\n')
return 1
"""
)


class RedisLogs:
    """The logs behind one connection.

    Args:
        command: PUBLISH or SPUBLISH.
    """

    def __init__(self, client: Any, command: str) -> None:
        self._client = client
        self._command = command
        self._names: list[str] = []

    async def load(self) -> None:
        """Make the scripts known. Redis forgets them when it restarts, and we connect anew then."""
        self._names = [await self._client.script_load(script) for script in (_APPEND, _READ, _RENEW)]

    async def append(self, batch: Sequence[Append]) -> None:
        async with self._client.pipeline(transaction=False) as pipeline:
            for log, sender, number, data in batch:
                keys = [*_keys(log), f"{{{log.channel}}}:from:{sender}"]
                bounds = [log.kept.size, _milliseconds(log.kept.seconds), log.kept.bytes]
                given = [_epoch(), number, *bounds, data, self._command, log.channel]
                pipeline.evalsha(self._names[0], len(keys), *keys, *given)
            await pipeline.execute()

    async def read(self, asks: Sequence[Ask]) -> list[Page | None]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for log, after in asks:
                given = [_epoch(), -1 if after is None else after, log.kept.size, _milliseconds(log.kept.seconds)]
                pipeline.evalsha(self._names[1], 2, *_keys(log), *given)
            answers = await pipeline.execute()
        return [_page(answer) for answer in answers]

    async def renew(self, log: LogName, epoch: str) -> None:
        await self._client.evalsha(self._names[2], 2, *_keys(log), _epoch(), epoch, self._command, log.channel)


def _page(answer: list[Any]) -> Page:
    """What the script has found. Whoever can write to Redis may have put anything into a stream."""
    epoch, head, items = answer[0].decode(), int(answer[1]), answer[2]
    found: dict[int, bytes] = {}
    for _, fields in items:
        pairs = dict(zip(fields[::2], fields[1::2], strict=False))
        place = pairs.get(b"o", b"")
        if place.isdigit() and len(place) <= 16 and b"d" in pairs:
            found.setdefault(int(place), pairs[b"d"])
    floor = head
    while floor in found:
        floor -= 1
    return Page(epoch, head, floor, [(offset, found[offset]) for offset in range(floor + 1, head + 1)])


def _keys(log: LogName) -> list[str]:
    return [f"{{{log.channel}}}:head", f"{{{log.channel}}}:items"]


def _epoch() -> str:
    return secrets.token_hex(8)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
