"""When a certificate ends, read from its file without a library for certificates: six steps into its DER.

    Certificate { tbsCertificate { [0] version?, serialNumber, signature, issuer, validity { notBefore, notAfter }, … } … }

Source: RFC 5280, section 4.1; times as in its section 4.1.2.5.
"""

import ssl
from datetime import UTC, datetime

_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0
_END = "-----END CERTIFICATE-----"


def expiry_s(pem: str) -> float:
    """Seconds since the epoch at which the first certificate of a PEM file ends. Raises ValueError for what is none."""
    start = pem.find("-----BEGIN CERTIFICATE-----")
    stop = pem.find(_END, start)
    if start < 0 or stop < 0:
        raise ValueError("no PEM certificate")
    der = ssl.PEM_cert_to_DER_cert(pem[start : stop + len(_END)] + "\n")
    try:
        return _time(der, _not_after(der))
    except IndexError:
        raise ValueError("cut short") from None


def _not_after(der: bytes) -> int:
    at, _ = _inside(der, 0, _SEQUENCE)
    at, _ = _inside(der, at, _SEQUENCE)
    if der[at] == _VERSION:
        at = _after(der, at)
    for _ in range(3):  # serialNumber, signature, issuer
        at = _after(der, at)
    at, _ = _inside(der, at, _SEQUENCE)
    return _after(der, at)


def _time(der: bytes, at: int) -> float:
    start, stop = _bounds(der, at)
    text = der[start:stop].decode("ascii")
    if der[at] == _UTC_TIME:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif der[at] != _GENERALIZED_TIME:
        raise ValueError("not a time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _inside(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the contents of the value at `at` begin and end. Raises ValueError if it has another tag."""
    if der[at] != tag:
        raise ValueError("not a certificate")
    return _bounds(der, at)


def _after(der: bytes, at: int) -> int:
    return _bounds(der, at)[1]


def _bounds(der: bytes, at: int) -> tuple[int, int]:
    """Length in DER (X.690, 8.1.3): one byte, or how many bytes it takes."""
    length, start = der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[start : start + size], "big"), start + size
    if start + length > len(der):
        raise ValueError("cut short")
    return start, start + length
