"""Feast's Redis layout as commands: which key, which hash fields, and the script that writes only what is newer.

Key: serialised entity key, then the project's name. Hash fields: murmur3-32 of "view:feature", four bytes little-endian, for each
value; `_ts:view` for the event time, a google.protobuf.Timestamp. Views of the same entity share one hash.
Source: docs/specs/online_store_format.md of Feast.
"""

import hashlib
import math

import hiredis

from penstock_transformer.store.murmur import murmur3_32
from penstock_transformer.store.port import RowWrite
from penstock_transformer.store.view import Reading, View, event_time_of
from penstock_transformer.store.wire import encode_timestamp

# Compare-and-set on the event time: KEYS[1] the hash; ARGV: time field, seconds, nanos, time as stored, key's time to live, then
# fields and values. The stored time is a protobuf message: a Lua number holds 53 bits, so that a negative second (ten bytes of
# two's complement) is read through its complement.
SCRIPT = b"""
local function number(data, at)
  local value, complement, scale = 0, 0, 1
  for i = at, #data do
    local byte = string.byte(data, i)
    value = value + (byte % 128) * scale
    if i - at < 9 then complement = complement + (127 - byte % 128) * scale end
    scale = scale * 128
    if byte < 128 then
      if i - at == 9 then return -(complement + 1), i + 1 end
      return value, i + 1
    end
  end
  return 0, #data + 1
end
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored then
  local seconds, nanos, at = 0, 0, 1
  while at <= #stored do
    local tag = string.byte(stored, at)
    local value
    value, at = number(stored, at + 1)
    if tag == 8 then seconds = value elseif tag == 16 then nanos = value end
  end
  local new = tonumber(ARGV[2])
  if seconds > new or (seconds == new and nanos >= tonumber(ARGV[3])) then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
for i = 6, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
if tonumber(ARGV[5]) > 0 then redis.call('EXPIRE', KEYS[1], ARGV[5]) end
return 1
"""
SCRIPT_SHA = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()


def field(view: View, feature: str) -> bytes:
    """The hash field of a feature."""
    return murmur3_32(f"{view.name}:{feature}".encode()).to_bytes(4, "little")


def time_field(view: View) -> bytes:
    """The hash field of a view's event time."""
    return f"_ts:{view.name}".encode()


def _argument(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def fetch(reading: Reading, keys: list[bytes]) -> bytes:
    """One HMGET per key: the reading's features in its order, then the event time.

    Everything but the key is the same for every row, and made once.
    """
    if reading.prepared is None:
        fields = [*(field(reading.view, name) for name in reading.names), time_field(reading.view)]
        reading.prepared = (
            b"*%d\r\n" % (len(fields) + 2) + _argument(b"HMGET") + b"$",
            b"\r\n" + b"".join([_argument(one) for one in fields]),
        )
    head, tail = reading.prepared
    return b"".join([b"%b%d\r\n%b%b" % (head, len(key), key, tail) for key in keys])


def instant(event_time: float) -> tuple[int, int]:
    """Seconds and nanoseconds, to the microsecond, which is what Feast's datetimes hold."""
    seconds = math.floor(event_time)
    micros = round((event_time - seconds) * 1_000_000)
    return (seconds + 1, 0) if micros == 1_000_000 else (seconds, micros * 1000)


def store(view: View, key: bytes, row: RowWrite, key_ttl_s: int) -> bytes:
    """The packed command that writes a row if it is newer. Raises InvalidInput naming the feature that is wrong."""
    seconds, nanos = instant(event_time_of(row))
    stamp = encode_timestamp(seconds, nanos)
    arguments = [time_field(view), b"%d" % seconds, b"%d" % nanos, stamp, b"%d" % key_ttl_s]
    for name, data in view.values(row).items():
        arguments += (field(view, name), data)
    return pack(b"EVALSHA", SCRIPT_SHA, b"1", key, *arguments)


def remove(view: View, key: bytes) -> bytes:
    """The packed command that removes a view's fields from a hash; Redis drops a hash that has none left."""
    return pack(b"HDEL", key, *(field(view, name) for name in view.features), time_field(view))


def pack(*arguments: bytes) -> bytes:
    """One command in Redis's protocol."""
    packed: bytes = hiredis.pack_command(arguments)  # type: ignore[arg-type]
    return packed


def glob(prefix: bytes) -> bytes:
    """A pattern that matches what starts with `prefix`."""
    return b"".join([b"\\" + bytes([byte]) if byte in b"*?[]\\" else bytes([byte]) for byte in prefix]) + b"*"
