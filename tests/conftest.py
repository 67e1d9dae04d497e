"""For all tests: how long one example of a property takes, and which tests run at the same time.

`make test` has two workers (pytest-xdist). One does what needs nothing of the machine, then boots the guest
and waits for it; the other runs everything else, in the order of the files, because control sockets and
namespaces have fixed names.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("dsmip", deadline=None)
settings.load_profile("dsmip")

#: Tests that need nothing of the machine but a core, and those for which another machine boots.
_LANES = {
    "nothing": ("tests/core/", "tests/oracles/", "tests/simulation/", "tests/wire/"),
    "guest": ("tests/guest/",),
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """What is one scope goes to one worker."""
    from xdist.scheduler import LoadScopeScheduling

    class Lanes(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            found = (lane for lane, beginnings in _LANES.items() if nodeid.startswith(beginnings))
            return next(found, "everything else")

    return Lanes(config, log)
