"""MurmurHash3, 32 bits, seed 0: how Feast names the fields of its Redis hashes.

Computed once per feature when a layout is opened, so plain Python does. Source: Austin Appleby's public MurmurHash3_x86_32.
"""

_C1, _C2, _U32 = 0xCC9E2D51, 0x1B873593, 0xFFFFFFFF


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & _U32


def murmur3_32(data: bytes) -> int:
    """The unsigned hash of `data`."""
    state = 0
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        state ^= _mixed(int.from_bytes(data[start : start + 4], "little"))
        state = (_rotated(state, 13) * 5 + 0xE6546B64) & _U32
    if data[whole:]:
        state ^= _mixed(int.from_bytes(data[whole:], "little"))
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & _U32
    state = (state ^ state >> 13) * 0xC2B2AE35 & _U32
    return state ^ state >> 16


def _mixed(block: int) -> int:
    return _rotated(block * _C1 & _U32, 15) * _C2 & _U32
