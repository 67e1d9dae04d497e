"""Another configuration for a daemon that runs: checked whole first, then the difference is applied.

A file with a mistake, or with a change that needs a restart, changes nothing; the answer says why. What is
the same in both configurations is not touched.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from dsmip.daemon import provisioned
from dsmip.daemon.conditions import Conditions
from dsmip.daemon.config.loading import exposed_keys, load
from dsmip.daemon.config.problems import ConfigError, Problem, locate
from dsmip.daemon.config.schema import ConfigFile, HomeAgentFile, MobileNodeFile
from dsmip.daemon.config.uplinks import is_multihomed
from dsmip.daemon.control_server import Handler, Refusal, plain
from dsmip.daemon.frozen_tables import FrozenTables
from dsmip.daemon.provisioning import NODES_CHANGED
from dsmip.daemon.records import Told
from dsmip.daemon.service import notify

_File = TypeVar("_File", bound=ConfigFile)

#: Keys of a home agent's file that are taken over while it runs.
HOME_AGENT_LIVE = frozenset(
    {
        "mobile_node",
        "public_name",
        "pools",
        "mobile_prefixes",
        "ipv4_mobile_prefixes",
        "duplicate_address_detection",
        "max_lifetime",
        "udp_encapsulation",
        "nat_keepalive",
        "multiple_care_of_addresses",
        "bulk_registration",
        "simultaneous_home",
        "flow_bindings",
        "mobile_prefix_advertisements",
        "error_rate",
        "grace",
        "timestamp_tolerance",
        "allow_unauthenticated",
        "metrics",
        "web",
    }
)

#: The same of a mobile node's file.
MOBILE_NODE_LIVE = frozenset({"key", "spi", "lifetime", "interface", "flow", "multihoming", "metrics"})

log = logging.getLogger(__name__)


def differences(before: ConfigFile, after: ConfigFile) -> list[str]:
    """The keys whose values differ, `role` if that does, in the order of the schema."""
    if type(before) is not type(after) or before.role != after.role:
        return ["role"]
    return [name for name in before.__struct_fields__ if getattr(before, name) != getattr(after, name)]


def check_live(before: ConfigFile, after: ConfigFile, live: frozenset[str], path: Path) -> list[str]:
    """The keys that differ. Raises ConfigError when one of them needs a restart."""
    changed = differences(before, after)
    fixed = [key for key in changed if key not in live]
    if fixed:
        try:
            lines = locate(path.read_text(encoding="utf-8"))
        except OSError:
            lines = {}
        text = (
            "cannot change while the daemon runs: restart it ('dsmip run --keep-forwarding' loses no packet)"
        )
        raise ConfigError(path, [Problem(key, lines.get(key), text) for key in fixed])
    return changed


def check_uplinks_live(before: MobileNodeFile, after: MobileNodeFile, path: Path) -> None:
    """Raises ConfigError when it differs whether several interfaces are used together."""
    together = [is_multihomed(file.multihoming, file.interface) for file in (before, after)]
    if together[0] != together[1]:
        text = (
            "differs, or follows from another number of interfaces, which needs a restart:"
            " 'dsmip run --keep-forwarding' loses no packet"
        )
        raise ConfigError(path, [Problem("multihoming.enabled", None, text)])


class Reload(Generic[_File]):
    """Reads the configuration file of a running daemon again, upon SIGHUP or when it is asked to."""

    def __init__(
        self,
        config: _File,
        path: Path | None,
        live: frozenset[str],
        apply: Callable[[_File], Awaitable[None]],
    ) -> None:
        """`apply` takes over a configuration that differs in `live` keys only. It may raise ConfigError, if
        nothing is changed then."""
        self.config = config
        self.path = path
        self._live = live
        self._apply = apply
        self._busy = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._event: Callable[[str, Told], None] = lambda _kind, _fields: None
        self._conditions: Conditions | None = None

    def handlers(self, event: Callable[[str, Told], None], conditions: Conditions) -> dict[str, Handler]:
        """Questions for the control socket; SIGHUP is taken from now on. For the event loop's thread."""
        self._event, self._conditions = event, conditions
        self._look_for_exposed_keys()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up)
        return {"reload": plain(self.reload)}

    async def reload(self) -> dict[str, Any]:
        """Read the file again. Raises Refusal when it cannot be used, and nothing has changed."""
        async with self._busy:
            path = self._file()
            try:
                after = await asyncio.to_thread(load, path)
                changed = check_live(self.config, after, self._live, path)
                await self._take(after)  # type: ignore[arg-type]
                self._look_for_exposed_keys()
            except ConfigError as error:
                raise self._refused(error) from error
        self._event("reloaded", {"file": str(path), "changed": " ".join(changed)})
        return {"file": str(path), "changed": changed}

    async def _take(self, after: _File) -> None:
        """Apply a configuration that passed. Raises ConfigError."""
        if after != self.config:
            await self._apply(after)
            self.config = after

    def _look_for_exposed_keys(self) -> None:
        exposed = exposed_keys(self.config, self.path) if self.path is not None else None
        if self._conditions is None:
            return
        if exposed is not None:
            self._conditions.stand("file", exposed)
        else:
            self._conditions.end("file")

    def _file(self) -> Path:
        if self.path is None:
            raise Refusal("this daemon was started without a configuration file")
        return self.path

    def _refused(self, error: ConfigError) -> Refusal:
        for problem in error.problems:
            self._event("reload-refused", {"file": str(error.path), "problem": str(problem)})
        return Refusal(f"nothing was changed:\n{error}")

    def _hang_up(self) -> None:
        task = asyncio.get_running_loop().create_task(self._upon_signal())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _upon_signal(self) -> None:
        notify("RELOADING=1")
        try:
            await self.reload()
        except Refusal as error:
            log.debug("%s", error)  # told as an event already
        notify("READY=1")


class HomeAgentReload(Reload[HomeAgentFile]):
    """As `Reload`, with the provisioned mobile nodes; `complete` is the configuration in force."""

    def __init__(
        self, config: HomeAgentFile, path: Path | None, apply: Callable[[HomeAgentFile], Awaitable[None]]
    ) -> None:
        """Raises ConfigError when what was provisioned does not fit the configuration."""
        super().__init__(config, path, HOME_AGENT_LIVE, apply)
        self.complete = config if path is None else provisioned.complete(config, path)

    def handlers(self, event: Callable[[str, Told], None], conditions: Conditions) -> dict[str, Handler]:
        """See `Reload.handlers`."""
        return {**super().handlers(event, conditions), NODES_CHANGED: plain(self.nodes_changed)}

    async def nodes_changed(self) -> dict[str, Any]:
        """Serve the mobile nodes that are provisioned now, under the configuration in force."""
        async with self._busy:
            self._file()
            try:
                await self._take(self.config)
            except ConfigError as error:
                raise Refusal(", ".join(map(str, error.problems))) from error
        return {"mobile_nodes": len(self.complete.mobile_node)}

    async def _take(self, after: HomeAgentFile) -> None:
        complete = await asyncio.to_thread(provisioned.complete, after, self._file())
        before = self.complete
        if complete != before:
            await self._apply(complete)
            self.complete = complete
            self._tell(before, complete)
        self.config = after

    def _tell(self, before: HomeAgentFile, after: HomeAgentFile) -> None:
        """One event for each mobile node that is not served as before."""
        former, present = FrozenTables.of(before.mobile_node), FrozenTables.of(after.mobile_node)
        old, new = former.besides(present), present.besides(former)
        for name in old.keys() - new.keys():
            self._event("mobile-node", {"name": name, "change": "removed"})
        for name, node in new.items():
            if name not in old:
                fields: dict[str, str] = {"name": name, "change": "added"}
                self._event("mobile-node", {**fields, "home_address": str(node.home_address)})
            elif old[name] != node:
                changed = [
                    key
                    for key in msgspec.structs.asdict(node)
                    if getattr(old[name], key) != getattr(node, key)
                ]
                self._event("mobile-node", {"name": name, "change": f"other {', '.join(changed)}"})
