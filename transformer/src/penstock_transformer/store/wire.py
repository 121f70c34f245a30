"""The protobuf wire format, as much of it as stored values use: varints, fixed widths, length-delimited fields.

    bytes -> fields() -> (field number, wire type, int or bytes)        varint() / tagged() -> bytes

Written by hand because the store's messages are small and read by the million: the messages' own classes would bring Feast, and
cost microseconds a value. Malformed bytes raise `ValueError`; whoever knows which feature it was names it.

Source: Protocol Buffers documentation, "Encoding".
"""

import struct
from collections.abc import Iterator

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5

_U64 = (1 << 64) - 1
_MAX_VARINT_BYTES = 10


def varint(value: int) -> bytes:
    """An integer in -2**63 … 2**64-1; negative ones as their 64-bit two's complement, ten bytes long."""
    value &= _U64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, wire_type: int) -> bytes:
    """The key that precedes a field."""
    return varint(number << 3 | wire_type)


def delimited(number: int, payload: bytes) -> bytes:
    """A length-delimited field: a string, bytes, a message or packed numbers."""
    return tag(number, DELIMITED) + varint(len(payload)) + payload


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The unsigned integer at `position` and the position behind it."""
    result = shift = 0
    for place in range(position, min(len(data), position + _MAX_VARINT_BYTES)):
        byte = data[place]
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & _U64, place + 1
        shift += 7
    raise ValueError("a number that is cut off")


def signed(value: int) -> int:
    """A 64-bit varint as a two's complement integer."""
    return value - (1 << 64) if value >> 63 else value


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Every field of a message in order: number, wire type, and an unsigned integer (varint) or the field's bytes."""
    position = 0
    while position < len(data):
        key, position = read_varint(data, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, position = read_varint(data, position)
            yield number, wire_type, value
            continue
        if wire_type == DELIMITED:
            length, position = read_varint(data, position)
        elif wire_type in (FIXED64, FIXED32):
            length = 8 if wire_type == FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire_type} is not known")
        if position + length > len(data):
            raise ValueError("a field that is cut off")
        yield number, wire_type, data[position : position + length]
        position += length


def packed_varints(data: bytes) -> list[int]:
    """The unsigned integers of a packed repeated field."""
    out, position = [], 0
    while position < len(data):
        value, position = read_varint(data, position)
        out.append(value)
    return out


def encode_timestamp(seconds: int, nanos: int) -> bytes:
    """A google.protobuf.Timestamp; zero fields are left out, as protobuf does."""
    return (b"\x08" + varint(seconds) if seconds else b"") + (b"\x10" + varint(nanos) if nanos else b"")


def decode_timestamp(data: bytes) -> float:
    """Seconds since the epoch of a google.protobuf.Timestamp."""
    seconds = nanos = 0
    for number, _, value in fields(data):
        if isinstance(value, int):
            if number == 1:
                seconds = signed(value)
            elif number == 2:
                nanos = signed(value)
    return seconds + nanos / 1e9


def float32_of(data: int | bytes) -> float:
    """The number in a fixed32 field."""
    if isinstance(data, int) or len(data) != 4:
        raise ValueError("expected four bytes of a float")
    return float(struct.unpack("<f", data)[0])


def float64_of(data: int | bytes) -> float:
    """The number in a fixed64 field."""
    if isinstance(data, int) or len(data) != 8:
        raise ValueError("expected eight bytes of a double")
    return float(struct.unpack("<d", data)[0])
