"""From samples to sentences."""

from __future__ import annotations

import hashlib

from dsmip.bench import profile

SCRIPT = """
	ffffffff81 pskb_expand_head
	ffffffff82 bpf_skb_adjust_room
	ffffffffc0 bpf_prog_579e0f329fe543d7_tunnel_egress
	ffffffff83 cls_bpf_classify
	ffffffff84 __dev_queue_xmit

	ffffffffc0 bpf_prog_579e0f329fe543d7_tunnel_egress
	ffffffff83 cls_bpf_classify

	ffffffff85 fib6_table_lookup
	ffffffff86 ipv6_rcv
	ffffffff87 packet_sendmsg

	ffffffff88 memset
	ffffffff87 packet_sendmsg
"""


def test_samples_are_told_apart_by_the_innermost_known_function() -> None:
    stacks = list(profile.parse(SCRIPT.splitlines()))
    assert len(stacks) == 4
    assert profile.phases(stacks, "tunnel_egress") == {
        "the eBPF program: moving the packet to where there is room in front": 0.25,
        "the eBPF program: its own instructions": 0.25,
        "routing and forwarding": 0.25,
        "the generator": 0.25,
    }
    assert profile.phases([["futex_wait"]], "tunnel_egress") == {}
    assert profile.busiest([["a", "b"], ["a"], ["pv_native_safe_halt"], ["c"]]) == "a 67%, c 33%"


def test_the_time_of_a_daemon_by_system_call() -> None:
    call = profile._SYSTEM_CALL
    stacks = [
        ["tun_do_read", f"{call}read", "entry"],
        ["_PyEval_EvalFrameDefault"],
        ["x", f"{call}bpf"],
        ["y"],
    ]
    assert profile.system_calls(stacks) == (
        "Time by system call, from samples: the program itself 50%, read 25%, bpf 25%."
    )


def test_what_a_packet_costs_beyond_plain_forwarding() -> None:
    text = profile.beyond({"x": 0.5, "y": 0.5}, {"y": 1.0}, 1000.0, 400.0)
    assert text == "1000 ns a packet, 400 ns when plainly forwarded. Of the difference: x 500 ns; y 100 ns."


def test_the_profile_of_a_call_names_modules() -> None:
    def work() -> None:
        for _ in range(200):
            hashlib.sha1(bytes(100_000)).digest()

    assert "hash" in profile.python(work)
