"""Time spans and amounts the way people say them."""

from __future__ import annotations

#: How payload is protected that is not.
CLEAR = "clear"


def duration(seconds: float) -> str:
    """A time span: 42 s, 3 min 10 s, 2 h 5 min, 4 d 3 h."""
    whole = max(0, round(seconds))
    for unit, size, smaller, smaller_size in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def octets(count: float) -> str:
    """A number of octets with a decimal unit."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def counted(count: int, thing: str) -> str:
    """ "1 packet", "2 packets"."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
