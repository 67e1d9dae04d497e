"""charon kept in step: loaded, begun, watched, begun anew, and never waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from tests.host.fake_charon import FakeCharon, established

from dsmip.core.types import IPAddress
from dsmip.daemon.conditions import Conditions
from dsmip.daemon.ike.connection import Certificates, Connection, Negotiated, PayloadChild
from dsmip.daemon.ike.key_management import KeyManagement
from dsmip.daemon.ike.words import state_in_words
from dsmip.host.xfrm import Association

HOME, HOME_AGENT = IPv6Address("2001:db8:100::20"), IPv6Address("2001:db8:ffff::1")
OTHER = IPv6Address("2001:db8:100::21")
SECRET = bytes(range(16))
NODE = Connection("dsmip-mn-laptop", HOME, HOME_AGENT, "laptop", "ha", 77, True, SECRET)


def served(home_address: IPv6Address, secret: bytes = SECRET) -> Connection:
    name = f"dsmip-ha-{home_address}"
    return Connection(name, HOME_AGENT, home_address, "ha", str(home_address), 78, False, secret)


class Kernel:
    """What is in it, and what was taken out."""

    def __init__(self) -> None:
        self.present: set[Association] = set()

    def associations(self) -> list[Association]:
        return list(self.present)

    def remove_state(self, destination: IPAddress, spi: int) -> None:
        self.present = {one for one in self.present if (one.destination, one.spi) != (destination, spi)}


class World:
    """A charon that may be there, and what is told of it."""

    def __init__(self, path: Path) -> None:
        self.charon = FakeCharon(path)
        self.kernel = Kernel()
        self.events: list[tuple[str, str]] = []
        self.changes: list[tuple[IPv6Address, bool]] = []
        self.conditions = Conditions(lambda _kind, _fields: None)
        self.management = self.another("dsmip-mn-")

    def another(self, prefix: str, poll: float = 0.01) -> KeyManagement:
        return KeyManagement(
            self.charon.path,
            prefix,
            lambda kind, fields: self.events.append((kind, fields.get("reason", ""))),
            self.conditions,
            self._changed,
            self.kernel,
            poll=poll,
            patience=0.5,
        )

    def _changed(self, home_address: IPv6Address, state: Negotiated) -> None:
        self.changes.append((home_address, state.established))

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.005)

    def is_up(self) -> bool:
        return self.management.state(HOME).established


def run(tmp_path: Path, use: Callable[[World], Coroutine[Any, Any, None]], *, there: bool = True) -> World:
    async def whole() -> World:
        world = World(tmp_path / "charon.vici")
        if there:
            await world.charon.start()
        world.management.start()
        try:
            await use(world)
        finally:
            await world.management.stop()
            await world.charon.stop()
        return world

    return asyncio.run(whole())


def test_a_mobile_node_negotiates_when_it_has_something_to_send(tmp_path: Path) -> None:
    async def use(world: World) -> None:
        world.management.set([NODE])
        await world.until(lambda: NODE.name in world.charon.loaded)
        await asyncio.sleep(0.05)
        assert "initiate" not in world.charon.commands()
        world.management.ask(HOME)
        await world.until(world.is_up)
        state = world.management.state(HOME)
        assert (state.cipher, state.spis) == ("AES-GCM-256", {0xC0000001})
        await asyncio.sleep(0.05)
        assert world.management.initiated == 1

    world = run(tmp_path, use)
    assert world.events == [("keys-negotiated", "")]
    assert world.changes[0] == (HOME, True)
    [description] = [message for name, message in world.charon.asked if name == "load-conn"]
    child = description[NODE.name]["children"]["signalling"]
    assert (child["mode"], child["policies"], child["reqid"]) == ("transport", "no", "77")
    # Solicitations go one way, advertisements the other.
    assert child["local_ts"] == [f"{HOME}/128[135]", f"{HOME}/128[58/146]"]
    assert child["remote_ts"] == [f"{HOME_AGENT}/128[135]", f"{HOME_AGENT}/128[58/147]"]
    assert description[NODE.name]["local_addrs"] == [str(HOME)]
    assert (description[NODE.name]["mobike"], description[NODE.name]["dpd_delay"]) == ("no", "120s")
    # A daemon that stops leaves nothing behind.
    assert world.charon.loaded == {}
    assert world.charon.sas == {}


def test_charon_absent_at_the_start_is_told_and_found_later(tmp_path: Path) -> None:
    async def use(world: World) -> None:
        world.management.set([NODE])
        world.management.ask(HOME)
        await world.until(lambda: bool(world.conditions.sentences))
        assert "strongSwan cannot be reached" in world.conditions.sentences[0]
        assert not world.management.reachable
        await world.charon.start()
        await world.until(world.is_up)
        await world.until(lambda: world.conditions.sentences == [])

    run(tmp_path, use, there=False)


def test_charon_restarted_is_told_everything_again(tmp_path: Path) -> None:
    async def use(world: World) -> None:
        world.management.set([NODE])
        world.management.ask(HOME)
        await world.until(world.is_up)
        await world.charon.stop()
        await world.until(lambda: not world.management.reachable)
        await world.charon.start()
        await world.until(lambda: world.management.initiated == 2 and world.is_up())

    world = run(tmp_path, use)
    assert [kind for kind, _ in world.events] == ["keys-negotiated", "keys-gone", "keys-negotiated"]


@pytest.mark.parametrize("noticed", [True, False], ids=["gone for a while", "there again at once"])
def test_what_a_charon_that_died_left_in_the_kernel_serves_until_there_is_more(
    tmp_path: Path, noticed: bool
) -> None:
    ends = (HOME, HOME_AGENT), (HOME_AGENT, HOME)
    left = {Association(*ends[0], 0xC1, NODE.request), Association(*ends[1], 0xC2, NODE.request)}
    stays = {
        # Known to the charon that is there, of another group, and of another mobile node.
        Association(*ends[1], 0xC0000001, NODE.request),
        Association(*ends[1], 0xC3, NODE.request + 1),
        Association(OTHER, HOME_AGENT, 0xC4, NODE.request),
    }

    async def use(world: World) -> None:
        world.management.set([NODE])
        world.management.ask(HOME)
        await world.until(world.is_up)
        world.kernel.present = left | stays
        # The same charon, whatever it is that it tells of: nothing is left over.
        world.charon.happens("child-updown")
        looks = len(world.charon.asked)
        await world.until(lambda: len(world.charon.asked) > looks + 4)
        assert world.kernel.present == left | stays

        world.charon.initiates = lambda _name: ["retransmit 1 of request"]
        if noticed:
            await world.charon.stop()
            await world.until(lambda: not world.management.reachable)
            await world.charon.start()
        else:
            world.charon.loaded.clear()
            world.charon.sas.clear()
        await world.until(lambda: bool(world.management.state(HOME).problem))
        assert world.kernel.present == left | stays
        world.charon.initiates = lambda _name: established(str(HOME_AGENT))
        world.management.network_changed()
        await world.until(lambda: world.kernel.present == stays)

    run(tmp_path, use)


def test_payload_keeps_what_a_charon_left_until_it_has_keys_of_its_own(tmp_path: Path) -> None:
    payload = PayloadChild(79, (IPv6Network(HOME),), (IPv6Network("::/0"),))
    signalling = Association(HOME, HOME_AGENT, 0xC1, NODE.request)
    of_payload = Association(HOME, HOME_AGENT, 0xC2, payload.request)

    async def use(world: World) -> None:
        world.kernel.present = {signalling, of_payload}
        world.charon.loaded[NODE.name] = {}
        world.charon.sas[NODE.name] = established(str(HOME_AGENT))
        world.management.set([replace(NODE, payload=payload)])
        await world.until(lambda: world.kernel.present == {of_payload})
        await world.until(world.is_up)
        world.management.ask(HOME)
        await world.until(lambda: not world.kernel.present)

    run(tmp_path, use)


def test_another_daemon_finds_the_sa_of_the_one_before(tmp_path: Path) -> None:
    async def use(world: World) -> None:
        world.charon.loaded[NODE.name] = {}
        world.charon.sas[NODE.name] = established(str(HOME_AGENT))
        world.management.set([NODE])
        world.management.ask(HOME)
        await world.until(world.is_up)
        assert world.management.initiated == 0
        assert "unload-conn" not in world.charon.commands()

    run(tmp_path, use)


def test_keys_of_payload_are_a_second_child(tmp_path: Path) -> None:
    async def use(world: World) -> None:
        payload = PayloadChild(79, (IPv6Network(HOME),), (IPv6Network("::/0"), IPv4Network("0.0.0.0/0")))
        world.management.set([replace(NODE, payload=payload)])
        world.management.ask(HOME)
        await world.until(lambda: bool(world.management.state(HOME).payload_spis))
        state = world.management.state(HOME)
        assert (state.spis, state.payload_spis) == ({0xC0000001}, {0xC0000002})
        assert state.payload_cipher == "AES-GCM-256"
        assert world.management.initiated == 1
        del world.charon.sas[NODE.name]["child-sas"]["payload-2"]
        world.charon.happens("child-updown")
        await world.until(lambda: world.charon.commands().count("initiate") == 3)
        await world.until(lambda: bool(world.management.state(HOME).payload_spis))
        assert world.is_up()
        assert world.management.initiated == 1

    world = run(tmp_path, use)
    assert [kind for kind, _ in world.events] == ["keys-negotiated"]
    [description] = [message for name, message in world.charon.asked if name == "load-conn"]
    child = description[NODE.name]["children"]["payload"]
    assert (child["mode"], child["policies"], child["reqid"]) == ("tunnel", "no", "79")
    assert (child["local_ts"], child["remote_ts"]) == ([f"{HOME}/128"], ["::/0", "0.0.0.0/0"])
    assert [message["child"] for name, message in world.charon.asked if name == "initiate"] == [
        "signalling",
        "payload",
        "payload",
    ]


def test_what_happens_at_charon_is_seen_at_once(tmp_path: Path) -> None:
    """Between two looks there would be an hour here."""

    async def use(world: World) -> None:
        patient = world.another("dsmip-mn-", poll=3600.0)
        patient.set([NODE])
        patient.start()
        try:
            await world.until(lambda: NODE.name in world.charon.loaded)
            # That of the world, which has nothing to do, and this one.
            await world.until(lambda: len(world.charon.listeners("child-rekey")) == 2)
            world.charon.sas[NODE.name] = established(str(HOME_AGENT))
            world.charon.happens("child-updown")
            await world.until(lambda: patient.state(HOME).established)
        finally:
            await patient.stop()

    run(tmp_path, use)


def test_strange_words_of_charon_do_no_harm(tmp_path: Path) -> None:
    async def use(world: World) -> None:
        strange = established(str(HOME_AGENT), spi="none")
        strange["established"] = "long ago"
        del strange["child-sas"]["signalling-1"]["encr-alg"]
        world.charon.initiates = lambda _name: strange
        world.management.set([NODE])
        world.management.ask(HOME)
        await world.until(world.is_up)
        assert world.management.state(HOME).spis == frozenset()
        world.charon.sas["somebody"] = {"child-sas": "none"}
        world.charon.sas[NODE.name] = {"child-sas": "none", "state": "ESTABLISHED"}
        await world.until(lambda: world.management.initiated == 2)

    run(tmp_path, use)


def test_kept_connections_stay(tmp_path: Path) -> None:
    async def use(world: World) -> None:
        world.management.set([NODE])
        world.management.ask(HOME)
        await world.until(world.is_up)
        await world.management.stop(keep=True)
        assert NODE.name in world.charon.loaded
        assert NODE.name in world.charon.sas

    run(tmp_path, use)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (["received packet", "received AUTHENTICATION_FAILED notify error"], "another psk or certificate"),
        (["received TS_UNACCEPTABLE notify, no CHILD_SA built"], "does not let this node have"),
        (["no trusted RSA public key found for 'ha'"], "not of the authority in ike.ca"),
        (["sending packet", "retransmit 1 of request with message ID 0"], "does not answer IKE"),
        (["received packet", "something new"], "something new"),
        ([], "does not answer IKE"),
    ],
)
def test_failures_have_words_and_are_tried_again(tmp_path: Path, log: list[str], words: str) -> None:
    async def use(world: World) -> None:
        world.charon.initiates = lambda _name: log
        world.management.set([NODE])
        world.management.ask(HOME)
        await world.until(lambda: words in world.management.state(HOME).problem)
        assert words in state_in_words(world.management.state(HOME), reachable=True)
        world.charon.initiates = lambda _name: established(str(HOME_AGENT))
        world.management.network_changed()
        await world.until(world.is_up)
        assert state_in_words(world.management.state(HOME), reachable=True).startswith("keys negotiated")

    world = run(tmp_path, use)
    assert [kind for kind, _ in world.events] == ["keys-refused", "keys-negotiated"]


def test_keys_that_charon_does_not_take(tmp_path: Path) -> None:
    async def use(world: World) -> None:
        world.charon.answers["load-key"] = lambda _message: {
            "success": "no",
            "errmsg": "parsing any private key failed",
        }
        node = Connection(
            NODE.name, HOME, HOME_AGENT, "laptop", "ha", 1, True, None, Certificates(b"c", b"k", b"a")
        )
        world.management.set([node])
        await world.until(lambda: "see ike.certificate" in world.management.state(HOME).problem)
        world.management.ask(HOME)
        await asyncio.sleep(0.05)
        assert "initiate" not in world.charon.commands()

    run(tmp_path, use)


def test_what_seems_lost_is_negotiated_anew_once(tmp_path: Path) -> None:
    async def use(world: World) -> None:
        world.management.set([NODE])
        world.management.ask(HOME)
        await world.until(world.is_up)
        world.management.renew(HOME)
        await world.until(lambda: world.management.initiated == 2)
        await asyncio.sleep(0.05)
        assert world.management.initiated == 2
        commands = world.charon.commands()
        assert commands.index("terminate", commands.index("initiate")) < len(commands) - 1

    run(tmp_path, use)


def test_a_home_agent_loads_and_unloads_mobile_nodes_and_begins_nothing(tmp_path: Path) -> None:
    async def use(world: World) -> None:
        one, other = served(HOME), served(OTHER)
        world.charon.loaded["somebody-elses"] = {}
        home_agent = world.another("dsmip-ha-")
        home_agent.set([one, other])
        home_agent.start()
        try:
            await world.until(lambda: {one.name, other.name} <= world.charon.loaded.keys())
            world.charon.sas[one.name] = established(str(HOME))
            await world.until(lambda: home_agent.state(HOME).established)
            assert not home_agent.state(OTHER).established
            renewed = served(HOME, bytes(16))
            home_agent.set([renewed])
            await world.until(lambda: other.name not in world.charon.loaded)
            # Another secret ends what was negotiated with the former one.
            await world.until(lambda: one.name not in world.charon.sas)
            await world.until(lambda: not home_agent.state(HOME).established)
        finally:
            await home_agent.stop()
        assert "initiate" not in world.charon.commands()
        assert list(world.charon.loaded) == ["somebody-elses"]

    world = run(tmp_path, use)
    descriptions = [
        one for name, message in world.charon.asked if name == "load-conn" for one in message.values()
    ]
    assert {one["dpd_delay"] for one in descriptions} == {"0s"}
    owners = {
        message["id"]: message["owners"] for name, message in world.charon.asked if name == "load-shared"
    }
    assert owners == {f"dsmip-ha-{HOME}": [str(HOME)], f"dsmip-ha-{OTHER}": [str(OTHER)]}


def test_certificates_are_handed_over(tmp_path: Path) -> None:
    async def use(world: World) -> None:
        files = Certificates(b"certificate", b"private", b"authority")
        world.management.set([Connection(NODE.name, HOME, HOME_AGENT, "l", "ha", 1, True, None, files)])
        await world.until(lambda: NODE.name in world.charon.loaded)
        description = world.charon.loaded[NODE.name]
        assert description["local"] == {"auth": "pubkey", "id": "l", "certs": ["certificate"]}
        assert description["remote"] == {"auth": "pubkey", "id": "ha", "cacerts": ["authority"]}

    world = run(tmp_path, use)
    assert ("load-key", {"type": "any", "data": "private"}) in world.charon.asked


def test_secrets_are_not_shown() -> None:
    files = Certificates(b"c", b"SECRET", b"a")
    connection = Connection("n", HOME, HOME_AGENT, "l", "ha", 1, True, b"SECRET", files)
    assert "SECRET" not in repr(connection)
