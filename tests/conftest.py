"""For all tests: how long one example of a property takes depends on what else the machine does."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("dsmip", deadline=None)
settings.load_profile("dsmip")
