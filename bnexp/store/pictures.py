"""Whether a picture is whole: a PNG file says so itself, whoever wrote it."""

from zlib import crc32

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def whole_png(content: bytes) -> bool:
    """Tell whether a PNG file is as it was written: every chunk has a length in front and a checksum behind it."""
    if not content.startswith(SIGNATURE):
        return False
    at, kind = len(SIGNATURE), b""
    while at < len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        kind = content[at + 4 : at + 8]
        if crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return False
        at = end + 4
    return kind == b"IEND" and at == len(content)
