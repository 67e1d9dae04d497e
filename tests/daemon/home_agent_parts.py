"""A home agent's questions without a kernel: real engine, real event log, data plane in memory."""

from __future__ import annotations

import time
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from dsmip.core.binding_record import encode_binding
from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.types import (
    Binding,
    CareOfBinding,
    FlowBinding,
    Instant,
    IPAddress,
    Nat,
    ReplayState,
    TunnelFormat,
    UdpEndpoint,
)
from dsmip.daemon.conditions import Conditions
from dsmip.daemon.config.loading import parse
from dsmip.daemon.config.schema import HomeAgentFile
from dsmip.daemon.events import EventLog
from dsmip.daemon.frozen_tables import FrozenTables, TablesByAddress
from dsmip.daemon.home_agent.plan import engine_config
from dsmip.daemon.home_agent.questions import HomeAgentQuestions
from dsmip.daemon.runtime import Runtime
from dsmip.dataplane.api import Traffic
from dsmip.dataplane.fake import FakeDataPlane

KEY = "6d6f62696c652d697076362d6b657921"
HOME = IPv6Network("2001:db8:100::/64")


def home_address(number: int) -> IPv6Address:
    return HOME[number]


class HomeAgentParts:
    """A home agent with the mobile nodes bus-1, bus-2 and so on."""

    def __init__(self, directory: Path, nodes: int = 3, tables: str = "") -> None:
        text = (
            'role = "home-agent"\nname = "ha"\naddress = "2001:db8:100::ffff"\nipv4_address = "192.0.2.1"\n'
            f'uplinks = ["eth0"]\nhome_prefixes = ["{HOME}"]\n'
        )
        for number in range(1, nodes + 1):
            text += f'[[mobile_node]]\nname = "bus-{number}"\nkey = "{KEY}"\n'
            text += f'home_address = "{home_address(number)}"\n'
        config = parse(text + tables, directory / "ha.toml")
        assert isinstance(config, HomeAgentFile)
        self.config = config
        self.engine = HomeAgent(engine_config(config))
        self.events = EventLog()
        self.dataplane = FakeDataPlane()
        runtime = SimpleNamespace(
            events=self.events,
            conditions=Conditions(self.events.event),
            dataplane=self.dataplane,
            started=time.time() - 60,
            retired=Traffic(),
            state_directory=directory,
            payload=None,
            _protection=None,
        )
        runtime.refused = partial(Runtime.refused, runtime)
        self.runtime = cast(Runtime, runtime)
        by_address = TablesByAddress(FrozenTables.of(config.mobile_node), self.engine.record_of)
        self.questions = HomeAgentQuestions(
            self.engine, self.runtime, lambda: self.config, lambda: by_address
        )

    def bind(
        self,
        number: int,
        *care_ofs: tuple[str, TunnelFormat],
        traffic: Traffic | None = None,
        flows: tuple[FlowBinding, ...] = (),
    ) -> None:
        """Register bus-NUMBER there, from one or several care-of addresses."""
        now = Instant(time.monotonic(), time.time())
        several = len(care_ofs) > 1
        entries = tuple(
            _care_of(address, format, now.unix, bid if several else 0)
            for bid, (address, format) in enumerate(care_ofs, start=1)
        )
        binding = Binding(
            home_address=home_address(number),
            index=number,
            care_ofs=entries,
            sequence=7,
            created=now.unix - 100,
            identifier=f"bus-{number}",
            flows=flows,
        )
        self.engine.resume(
            [encode_binding(binding)], [ReplayState(home_address(number), 7, index=number)], now
        )
        self.engine.actions()
        if traffic is not None:
            self.dataplane.counters[number, 0] = traffic
        self.events.event(
            "registered",
            {
                "name": f"bus-{number}",
                "home_address": str(home_address(number)),
                "care_of": care_ofs[0][0],
                "format": care_ofs[0][1].value,
                "nat": "none",
            },
        )


def _care_of(text: str, format: TunnelFormat, unix: float, bid: int) -> CareOfBinding:
    address: IPAddress = IPv6Address(text) if ":" in text else IPv4Address(text)
    in_udp = isinstance(address, IPv4Address)
    return CareOfBinding(
        bid=bid,
        care_of=address,
        format=format,
        lifetime=600.0,
        updated=unix - 40,
        expires=unix + 560,
        nat_source=UdpEndpoint(address, 40000) if isinstance(address, IPv4Address) else None,
        nat=(Nat.DETECTED if format is TunnelFormat.UDP4 else Nat.NONE) if in_udp else Nat.UNKNOWN,
    )
