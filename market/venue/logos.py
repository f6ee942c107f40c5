"""GET /v1beta1/logos: a placeholder picture. No company's logo is in here."""

from __future__ import annotations

import struct
import zlib

_SIDE = 64


def placeholder(symbol: str) -> bytes:
    """A PNG of one colour, the same for a symbol in every run."""
    digest = zlib.crc32(symbol.encode())
    row = b"\x00" + bytes((64 + (digest & 127), 64 + (digest >> 8 & 127), 64 + (digest >> 16 & 127))) * _SIDE

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(row * _SIDE, 9))
        + chunk(b"IEND", b"")
    )
