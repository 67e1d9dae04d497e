"""The two ways a codec can fail: the peer sent something wrong, or we asked for something impossible."""

from __future__ import annotations


class DecodeError(ValueError):
    """Received octets are not a packet, message or option that may be processed.

    `reason` is a short slug to count by: "truncated", "checksum", "payload-proto", "header-length",
    "option-length", "home-address", "routing-header", "fragment", "inner-version", "malformed" and so on.
    `detail` is for the log. `pointer` is set for "payload-proto" and "header-length" only: the offset inside
    the mobility header of the field that an ICMPv6 Parameter Problem has to point at (RFC 6275 section 9.2).
    """

    def __init__(self, reason: str, detail: str = "", pointer: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.pointer = pointer


class EncodeError(ValueError):
    """The message handed in has no wire format: a field out of range, or an option too long."""
