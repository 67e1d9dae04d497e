"""Whatever binding identifiers and flows an update carries: no exception, and a binding that makes sense."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from ha_multihomed import INSIDE4, LTE, LTE4, OUTSIDE4, WIFI, Multihomed
from ha_scenario import AH, HA, HOME, HOME4, KEY, MNP1, Outcome
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmip.core.actions import InstallBinding, RemoveBinding, SendDatagram, SendPacket, StoreBinding
from dsmip.core.binding_record import decode_binding, encode_binding
from dsmip.core.flow_bindings import FlowRegistrar
from dsmip.core.types import Binding, FlowBinding, TunnelFormat
from dsmip.wire.constants import BUFlag
from dsmip.wire.flows import FlowIdentification, FlowSummary
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.option import MalformedOption, MobilityOption
from dsmip.wire.options import IPv4HomeAddress, MobileNetworkPrefix
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector, UnknownTrafficSelector

#: Few of each, so that they meet again.
BIDS = st.integers(0, 12)
FIDS = st.integers(0, 6)
IPV6 = st.sampled_from([WIFI, LTE, HOME, HA, MNP1[1], IPv6Address("ff02::1"), IPv6Address("::")])
IPV4 = st.sampled_from([LTE4, INSIDE4, OUTSIDE4, HOME4, IPv4Address("0.0.0.0"), IPv4Address("224.0.0.1")])
PORTS = st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9))
SELECTORS = st.one_of(
    st.none(),
    st.builds(IPv6TrafficSelector, destination=st.none() | st.tuples(IPV6, IPV6), source_port=PORTS),
    st.builds(IPv4TrafficSelector, destination=st.none() | st.tuples(IPV4, IPV4), source_port=PORTS),
    st.builds(UnknownTrafficSelector, st.integers(3, 255), st.binary(max_size=8)),
)
MCOA: st.SearchStrategy[MobilityOption] = st.one_of(
    st.builds(
        BindingIdentifier,
        BIDS,
        st.integers(0, 255),
        st.booleans(),
        st.integers(0, 127),
        st.none() | IPV6 | IPV4,
    ),
    st.builds(
        FlowIdentification,
        FIDS,
        st.integers(0, 6),
        st.integers(0, 255),
        st.lists(BIDS, max_size=4).map(tuple),
        SELECTORS,
        st.lists(st.tuples(st.integers(4, 255), st.binary(max_size=40)), max_size=2).map(tuple),
    ),
    st.builds(FlowSummary, st.lists(FIDS, min_size=1, max_size=8).map(tuple)),
    st.builds(MalformedOption, st.sampled_from([35, 45]), st.binary(max_size=24)),
    st.just(IPv4HomeAddress(HOME4)),
    st.just(MobileNetworkPrefix.of(MNP1)),
)
FLAGS = st.sampled_from([AH, AH | BUFlag.O, AH | BUFlag.R, AH | BUFlag.F | BUFlag.O, BUFlag.A])


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, object]]:
    """Updates over IPv6 and in UDP, and time that passes."""
    update = st.tuples(
        st.lists(MCOA, max_size=6), FLAGS, st.sampled_from([0, 1, 20, 100]), st.sampled_from([WIFI, HOME])
    )
    udp = st.tuples(
        st.lists(MCOA, max_size=6),
        FLAGS,
        st.sampled_from([0, 1, 20, 100]),
        st.sampled_from([LTE4, OUTSIDE4]),
        st.integers(4190, 4192),
    )
    return draw(
        st.lists(
            st.one_of(
                st.tuples(st.just("ipv6"), update),
                st.tuples(st.just("udp"), udp),
                st.tuples(st.just("time"), st.integers(1, 300)),
            ),
            max_size=12,
        )
    )


def play(node: Multihomed, step: tuple[str, object]) -> Outcome:
    match step:
        case ("ipv6", (options, flags, lifetime, source)):
            hao = source != HOME
            return node.send(*options, flags=flags, lifetime=lifetime, source=source, hao=hao)
        case ("udp", (options, flags, lifetime, outer, port)):
            return node.send_in_udp(*options, flags=flags, lifetime=lifetime, outer=outer, port=port)
        case ("time", seconds):
            assert isinstance(seconds, int)
            return node.agent.after(seconds)
    raise AssertionError(step)


def check(binding: Binding, now: float) -> None:
    bids = [entry.bid for entry in binding.care_ofs]
    assert 1 <= len(set(bids)) == len(bids) <= 8
    assert bids == [0] or 0 not in bids
    assert list(binding.care_ofs) == sorted(binding.care_ofs, key=lambda entry: entry.preference)
    assert sum(entry.at_home for entry in binding.care_ofs) <= 1
    for entry in binding.care_ofs:
        assert entry.ends > now
        assert entry.at_home == (entry.format is TunnelFormat.LINK) == (entry.care_of == HOME)
        assert (entry.nat_source is not None) == isinstance(entry.care_of, IPv4Address)
    priorities = [flow.priority for flow in binding.flows]
    assert priorities == sorted(set(priorities))
    assert len({flow.fid for flow in binding.flows}) == len(binding.flows) <= 64
    assert all(flow.fid and flow.priority and flow.bids for flow in binding.flows)
    assert decode_binding(encode_binding(binding)) == binding


@settings(max_examples=150, deadline=None)
@given(st.booleans(), steps())
def test_any_sequence_of_options_leaves_a_binding_that_makes_sense(
    home_link: bool, script: list[tuple[str, object]]
) -> None:
    node = Multihomed(home_link=home_link, dad=False)
    for step in script:
        outcome = play(node, step)
        if node.agent.bound:
            check(node.agent.binding, node.agent.now.monotonic)
        for action in outcome.actions:
            # What is in the data plane is what is in the store, and what the engine says it has.
            if isinstance(action, InstallBinding | StoreBinding):
                assert action.binding == node.agent.binding
            assert not isinstance(action, RemoveBinding) or not node.agent.bound
            if isinstance(action, SendPacket | SendDatagram):
                assert step[0] != "time"
    node.agent.after(1000)
    assert not node.agent.bound


@settings(max_examples=60, deadline=None)
@given(steps())
def test_no_option_changes_anything_without_the_key(script: list[tuple[str, object]]) -> None:
    node = Multihomed(home_link=True, dad=False)
    node.send(BindingIdentifier(1, care_of=WIFI), flags=AH | BUFlag.O, lifetime=0xFFFF)
    before = node.agent.binding
    node.mobile.key = KEY[::-1]
    for step in script:
        assert not play(node, step).changed
        assert node.agent.binding == before


#: Most of them fine, so that there are flows to be in conflict with.
FLOW_OPTIONS = st.builds(
    FlowIdentification,
    FIDS,
    st.integers(0, 5),
    st.just(0),
    st.sampled_from([(1,), (2,), (1, 2), (2, 3), ()]),
    st.sampled_from([IPv6TrafficSelector(), None, IPv6TrafficSelector(source_port=(2, 1))]),
)
UPDATES = st.tuples(
    st.lists(FLOW_OPTIONS, min_size=1, max_size=5, unique_by=lambda option: option.fid)
    | st.lists(FLOW_OPTIONS, max_size=3),
    st.lists(FIDS, max_size=5),
    st.sampled_from([frozenset({1, 2, 3}), frozenset({1, 2}), frozenset({2})]),
)


@settings(max_examples=200)
@given(st.lists(UPDATES, max_size=6), st.integers(1, 5))
def test_any_sequence_of_flows_leaves_a_list_that_makes_sense(
    script: list[tuple[list[FlowIdentification], list[int], frozenset[int]]], limit: int
) -> None:
    held: tuple[FlowBinding, ...] = ()
    for asked, kept, bids in script:
        flows, answers = FlowRegistrar(bids, (), limit).update(asked, kept, held)
        priorities = [flow.priority for flow in flows]
        assert priorities == sorted(set(priorities))
        assert len({flow.fid for flow in flows}) == len(flows) <= limit
        # Nothing that was neither named nor asked for, and an answer to each that was asked for.
        assert {flow.fid for flow in flows} <= {*kept, *(option.fid for option in asked)}
        assert [answer.fid for answer in answers[: len(asked)]] == [option.fid for option in asked]
        before, after = ({flow.fid: flow for flow in one} for one in (held, flows))
        for option, answer in zip(asked, answers, strict=False):
            if answer.status:
                assert after.get(option.fid) == before.get(option.fid)
            else:
                assert after[option.fid].priority == option.priority
                assert not option.bids or set(after[option.fid].bids) == set(option.bids)
        held = flows
