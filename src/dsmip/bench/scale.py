"""What many bindings cost: memory, time to serve again after a crash, and work per packet."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path as FilePath

from dsmip.bench import fleet, frames, network, throughput, waves
from dsmip.bench.daemon import FleetEnd, HomeAgentProcess, fleet_end
from dsmip.bench.figures import Collect, Figure, Say, Spread, compared
from dsmip.bench.network import Network
from dsmip.core.types import DSMIP_PORT, Path, TunnelFormat
from dsmip.dataplane import libbpf
from dsmip.dataplane.api import DataPlane
from dsmip.dataplane.bpf import MAPS
from dsmip.lab import daemons
from dsmip.lab.errors import LabError

#: Octets of RAM a binding may take, daemon and maps together, and seconds a restart may take.
MEMORY_BAR = 2048.0
RESTART_BAR = 5.0
#: Destinations a flood is spread over, as far as there are bindings.
_SPREAD = 4096
_WINDOW = 256
_PATIENCE = 5.0
#: Seconds the data plane goes on being watched after the first Binding Update was served.
_AFTERWARDS = 0.2
#: Seconds between two data packets, and between two Binding Updates, while a restart is watched.
_DATA_EVERY = 0.001
_UPDATE_EVERY = 0.02
_TOO_LONG = 120.0


def measure(collect: Collect, say: Say, *, repeat: int, sizes: Sequence[int], seconds: float) -> None:
    """Memory and restarts for each number of bindings, then the data plane with one binding and with each."""
    for size in sizes:
        _daemon(collect, say, repeat, size)
    _data_plane(collect, say, repeat, (1, *sizes), seconds)


# The daemon ------------------------------------------------------------------------------------------------


def _daemon(collect: Collect, say: Say, repeat: int, size: int) -> None:
    vehicles = fleet.vehicles(size, multihomed=True)
    with Network() as net, tempfile.TemporaryDirectory() as directory, fleet_end(net) as end:
        place = FilePath(directory)
        empty, empty_maps = empty_memory(net, place / "none", size)
        with HomeAgentProcess(net, place, vehicles) as home_agent:
            say(f"{size} bindings: starting a home agent")
            home_agent.start()
            home_agent.await_answer()
            say(f"{size} bindings: registering")
            packets = fleet.updates(vehicles, 1, time.time())
            _, _, unanswered = end.exchange(packets, _WINDOW, _PATIENCE)
            bound = home_agent.bindings()
            if bound < size:
                raise LabError(f"{bound} bindings after {size} Binding Updates, {unanswered} unanswered")
            collect(memory_figure(home_agent, vehicles, empty, empty_maps, bar=MEMORY_BAR))
            served, lost = [], []
            for number in range(repeat):
                say(f"{size} bindings: killed and started again, {number + 1} of {repeat}")
                packets = fleet.updates(vehicles[:256], number + 2, time.time())
                seconds, gone = restart(home_agent, net, end, vehicles, packets)
                served.append(seconds)
                lost.append(float(gone))
            collect(
                Figure(
                    f"scale/kill -9 to Binding Updates served, {size:,} bindings",
                    Spread.of(served),
                    "s",
                    bar=RESTART_BAR,
                    at_least=False,
                )
            )
            collect(
                Figure(
                    f"scale/data packets lost meanwhile, {size:,} bindings",
                    Spread.of(lost),
                    "packets",
                    bar=0.0,
                    at_least=False,
                )
            )
            home_agent.await_rest()
            what = "memory per binding after a restart"
            collect(memory_figure(home_agent, vehicles, empty, empty_maps, bar=MEMORY_BAR, what=what))
            waves.measure(collect, say, home_agent, end, vehicles, repeat + 2)


def empty_memory(net: Network, directory: FilePath, capacity: int) -> tuple[int, int]:
    """Octets of RAM of a home agent that serves nobody, and of its maps. `directory` is made for it."""
    directory.mkdir()
    with HomeAgentProcess(net, directory, [], capacity=capacity) as nobody:
        nobody.start()
        nobody.await_answer()
        return nobody.memory(), maps_memory(nobody.name)


def memory_figure(
    home_agent: HomeAgentProcess,
    vehicles: Sequence[fleet.Vehicle],
    empty: int,
    empty_maps: int,
    *,
    bar: float | None,
    what: str = "memory per binding",
) -> Figure:
    """What a home agent takes for each vehicle now, beyond `empty` octets without any."""
    used, maps, size = home_agent.memory(), maps_memory(home_agent.name), len(vehicles)
    return Figure(
        f"scale/{what}, {size:,} bindings",
        Spread.of([(used - empty + maps) / size]),
        "octets",
        bar=bar,
        at_least=False,
        detail={
            "care_of_addresses": fleet.care_of_addresses(vehicles),
            "daemon_bytes": round((used - empty) / size),
            "map_bytes": round(maps / size),
            "maps_when_empty": empty_maps,
            "daemon_when_empty": empty,
        },
    )


def restart(
    home_agent: HomeAgentProcess,
    net: Network,
    end: FleetEnd,
    vehicles: Sequence[fleet.Vehicle],
    packets: Sequence[bytes],
) -> tuple[float, int]:
    """Seconds from SIGKILL until a Binding Update is acknowledged, and the data packets lost until then.

    Data goes to a vehicle in an IPv6 network all the time; updates come again and again until one is served.
    """
    reached = next(vehicle for vehicle in vehicles if not vehicle.behind_nat)
    data = frames.packet(network.CORRESPONDENT, reached.home_address)
    octets = [frames.frame(network.mac("ha", "c0"), network.mac("cn", "c0"), data)]
    with closing(frames.Sender(net.namespace("cn"), "c0", octets)) as stream:
        watch = end.watch(packets)
        with closing(watch):
            began = time.monotonic()
            home_agent.end(signal.SIGKILL)
            home_agent.start()
            sent = 0
            served: float | None = None
            due = updates_due = began
            while served is None or time.monotonic() < served + _AFTERWARDS:
                now = time.monotonic()
                if now > began + _TOO_LONG:
                    raise LabError(f"no Binding Update is served {_TOO_LONG:g} s after a restart")
                if served is None and now >= updates_due:
                    updates_due = now + _UPDATE_EVERY
                    watch.send_update()
                if now >= due:
                    due += _DATA_EVERY
                    sent += stream.send(1)
                watch.drain()
                if served is None and watch.acknowledged:
                    served = time.monotonic()
                time.sleep(_DATA_EVERY / 4)
            watch.drain()
            home_agent.await_answer()
            return served - began, max(0, sent - watch.tunnelled)


def maps_memory(name: str) -> int:
    """Octets of RAM the pinned maps of a home agent take, as the kernel accounts for them."""
    total = 0
    for table in MAPS:
        descriptor = libbpf.pinned(daemons.PIN_ROOT / name / table)
        try:
            text = FilePath(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
        finally:
            os.close(descriptor)
        total += int(next(line.split()[1] for line in text.splitlines() if line.startswith("memlock:")))
    return total


# The data plane --------------------------------------------------------------------------------------------


def _data_plane(collect: Collect, say: Say, repeat: int, sizes: Sequence[int], seconds: float) -> None:
    """64-octet packets spread over the bindings, into the tunnel; what stands beside is plain forwarding."""
    with Network() as net:
        gateways = [throughput.network_gateway(ipv6=True), throughput.network_gateway(ipv6=False)]
        plane = net.plane("ha", max(sizes))
        net.sink("ha", network.UPLINK, gateways)
        plane.add_local(fleet.HOME_AGENT)
        plane.add_local(fleet.HOME_AGENT_IPV4)
        present = 0
        to, at = network.mac("ha", "c0"), network.mac("cn", "c0")
        for size in sizes:
            vehicles = fleet.vehicles(size)
            say(f"data plane: {size} bindings")
            for vehicle in vehicles[present:]:
                bind(plane, vehicle)
            present = size
            step = max(1, size // _SPREAD)
            homes = [vehicle.home_address for vehicle in vehicles[::step]]
            # As many destinations for plain forwarding: the generator reads as many frames from memory.
            others = [network.PLAIN_HOST + number for number in range(len(homes))]
            octets, plain_octets = (
                [frames.frame(to, at, frames.packet(network.CORRESPONDENT, address)) for address in addresses]
                * max(1, 64 // len(addresses))
                for addresses in (homes, others)
            )
            with (
                closing(throughput.Flood(net, ("cn", "c0"), octets, ("net", "h0"))) as flood,
                closing(throughput.Flood(net, ("cn", "c0"), plain_octets, ("net", "h0"))) as plain,
            ):
                pairs = [(flood.rate(seconds), plain.rate(seconds)) for _ in range(repeat)]
            in_kpps = [(rate / 1000, base / 1000) for rate, base in pairs]
            name = f"scale/64 B packets, {size:,} binding{'s' if size > 1 else ''}"
            collect(compared(name, "1000 packets/s", in_kpps, "plain forwarding over the same nodes"))


def bind(plane: DataPlane, vehicle: fleet.Vehicle) -> None:
    """What the home agent puts into its maps for a registration of this vehicle."""
    care_of = vehicle.care_of(0)
    if isinstance(care_of, IPv4Address):
        source, port = vehicle.nat_source(0)
        path = Path(TunnelFormat.UDP4, fleet.HOME_AGENT_IPV4, source, DSMIP_PORT, port)
        plane.allow_source(vehicle.number, source, port, None)
    else:
        path = Path(TunnelFormat.IPV6, fleet.HOME_AGENT, care_of)
        plane.allow_source(vehicle.number, care_of, 0, None)
    plane.set_path(vehicle.number, path)
    plane.set_networks(vehicle.number, [IPv6Network((int(vehicle.home_address), 128)), vehicle.prefix])
