"""What can go wrong with a lab."""

from __future__ import annotations


class LabError(RuntimeError):
    """The lab cannot be built, found or used: the message names the cause and the mend."""
