"""Why Binding Updates are refused, in plain words, and what to do about it.

Keys are the names of statuses (RFC 6275 section 6.1.8 and later documents) and the reasons of `dsmip stats`.
"""

from __future__ import annotations

from typing import NamedTuple


class Cause(NamedTuple):
    """`what` goes on from "because"; `mend` is a sentence, "" when nothing is to be done."""

    what: str
    mend: str = ""


_KEYS = Cause(
    "its authenticator is wrong",
    "The keys at the two ends differ: compare `key` and `spi` in both configuration files."
    " If that address is not the mobile node's, somebody else is trying.",
)

STATUSES: dict[str, Cause] = {
    "REASON_UNSPECIFIED": Cause("the home agent gave no reason", "Look into the home agent's log."),
    "ADMINISTRATIVELY_PROHIBITED": Cause(
        "the home agent's configuration does not allow it",
        'Compare `home_address` at both ends; if the home agent has `udp_encapsulation = "refuse"`,'
        ' the mobile node must not have `udp = "always"`.',
    ),
    "INSUFFICIENT_RESOURCES": Cause(
        "the home agent has as many bindings as it is allowed, or its kernel has no room for more",
        "Raise `max_bindings` on the home agent; `dsmip status` there names a map that is full.",
    ),
    "HOME_REGISTRATION_NOT_SUPPORTED": Cause(
        "that machine is no home agent", "Correct `home_agent` in the mobile node's configuration."
    ),
    "NOT_HOME_SUBNET": Cause(
        "the home address is in none of the home agent's prefixes",
        "Compare `home_address` with `home_prefixes`; with a home link, also look whether a router still"
        " advertises the prefix there.",
    ),
    "NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE": Cause(
        "there was no binding to end", "Nothing: it wanted to end a binding that had ended already."
    ),
    "DUPLICATE_ADDRESS_DETECTION_FAILED": Cause(
        "another host on the home link uses the home address",
        "Find that host (`ip -6 neigh` on the home agent) and give one of the two another address.",
    ),
    "SEQUENCE_NUMBER_OUT_OF_WINDOW": Cause(
        "its sequence number was not newer than the last one",
        "Nothing: the mobile node corrects this by itself with the next Binding Update.",
    ),
    "REGISTRATION_TYPE_CHANGE_DISALLOWED": Cause(
        "it was registered as a mobile router before and is none now, or the other way round",
        "Nothing: the mobile node ends the old binding and registers again.",
    ),
    "MOBILE_ROUTER_OPERATION_NOT_PERMITTED": Cause(
        "it may not register as a mobile router",
        'Use `role = "mobile-node"`, or allow it on the home agent.',
    ),
    "INVALID_PREFIX": Cause(
        "it asks for a mobile network prefix that the home agent does not know",
        "Compare `mobile_network_prefixes` at both ends.",
    ),
    "NOT_AUTHORIZED_FOR_PREFIX": Cause(
        "it asks for a mobile network prefix that is not its own",
        "Compare `mobile_network_prefixes` at both ends.",
    ),
    "FORWARDING_SETUP_FAILED": Cause(
        "no mobile network prefix is configured for it on the home agent",
        "Add `mobile_network_prefixes` to its entry on the home agent.",
    ),
    "MIPV6_ID_MISMATCH": Cause(
        "its timestamp is too far from the home agent's clock, or is not newer than the last one",
        "Set the clocks: run an NTP client at both ends. The mobile node corrects itself meanwhile.",
    ),
    "MIPV6_MESG_ID_REQD": Cause(
        "it carries no timestamp", "The mobile node must send RFC 4285 timestamps: update its software."
    ),
    "MIPV6_AUTH_FAIL": _KEYS,
    "INVALID_CARE_OF_ADDRESS": Cause(
        "its care-of address cannot be used",
        "It is in the mobile node's own network, or no address packets can be sent to: look at the uplink.",
    ),
    "MCOA_MALFORMED": Cause(
        "one of its binding identifiers is not written as RFC 5648 says", "Update the mobile node's software."
    ),
    "MCOA_NON_MCOA_BINDING_EXISTS": Cause(
        "it has a binding without identifiers already",
        "Nothing: the mobile node replaces that with its next Binding Update.",
    ),
    "MCOA_PROHIBITED": Cause(
        "the home agent does not allow several care-of addresses",
        "Set `multiple_care_of_addresses = true` on the home agent, or go on with one.",
    ),
    "MCOA_UNKNOWN_COA": Cause(
        "it names a binding identifier that is not bound",
        "Nothing: the mobile node registers that care-of address again.",
    ),
    "MCOA_BULK_REGISTRATION_PROHIBITED": Cause(
        "it registers care-of addresses together that have to come one by one",
        "Nothing: it sends them one by one; or set `bulk_registration = true` on the home agent.",
    ),
    "MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED": Cause(
        "it is at home, and elsewhere at the same time, which the home agent does not allow",
        "It takes a home agent with `home_link` and `simultaneous_home = true`.",
    ),
}

REASONS: dict[str, Cause] = {
    "authentication-failed": _KEYS,
    "replay": STATUSES["MIPV6_ID_MISMATCH"],
    "timestamp-missing": STATUSES["MIPV6_MESG_ID_REQD"],
    "authentication-missing": Cause(
        "it is not authenticated",
        'Set `authentication = "mn-ha"` and the key in the mobile node\'s configuration.',
    ),
    "authentication-misplaced": Cause(
        "its authentication option is not the last one",
        "The mobile node's software does not follow RFC 4285.",
    ),
    "unknown-spi": Cause("its SPI is not the configured one", "Compare `spi` in both configuration files."),
    "identifier-mismatch": Cause(
        "its identifier is not the configured one",
        "Compare `identifier` (or `name`, where there is none) in both configuration files.",
    ),
    "not-a-correspondent": Cause(
        "it asks for route optimisation, which this home agent does not offer as a correspondent"
    ),
    "dad-unanswered": Cause(
        "duplicate address detection on the home link came to no end", "Look whether the home link is up."
    ),
    "source-not-routable": Cause("it comes from an address nobody can answer to"),
    "outer-source-not-routable": Cause("it comes from an address nobody can answer to"),
    "care-of-address-not-routable": Cause("its care-of address is one nobody can send to"),
    "home-address-option-missing": Cause("it has no home address option"),
    "too-many-binding-identifiers": Cause("it has more binding identifiers than anybody needs"),
    "too-many-ipv4-home-addresses": Cause("it asks for more IPv4 addresses than anybody needs"),
    "flow-administratively-prohibited": Cause(
        "a flow is not allowed, or is not the mobile node's own",
        "Look at the addresses of its `[[flow]]` rules, and at `flow_bindings` on the home agent.",
    ),
    "flow-reason-unspecified": Cause(
        "a flow has the priority or the number of another one, or there are too many",
        "Give every flow a priority of its own.",
    ),
    "flow-option-malformed": Cause(
        "a flow is not written as RFC 6089 says", "Update the mobile node's software."
    ),
    "flow-bid-not-found": Cause("a flow names a care-of address that is not bound"),
    "flow-fid-not-found": Cause("a flow is to be kept that the home agent does not have"),
    "flow-traffic-selector-format-not-supported": Cause(
        "a flow is described in a way that RFC 6088 does not have", "Update the mobile node's software."
    ),
    # What a mobile node refuses of its home agent.
    "authenticator": Cause(
        "the home agent's authenticator is wrong",
        "The keys at the two ends differ: compare `key` and `spi` in both configuration files.",
    ),
    "unauthenticated": Cause(
        "the home agent's answer is not authenticated",
        'Set `authentication = "mn-ha"` and the key for this mobile node on the home agent.',
    ),
    "timestamp": Cause("the answer's timestamp belongs to none of our Binding Updates"),
    "not-outstanding": Cause("it answers nothing that was asked"),
    "unknown-sender": Cause("it is not from our home agent"),
    "binding-error": Cause("the home agent told of an error"),
}


def status(name: str) -> Cause:
    """The cause that a status stands for."""
    return STATUSES.get(name) or Cause(f"of status {name.lower().replace('_', ' ')}")


def reason(slug: str) -> Cause:
    """The cause that a reason in the counters stands for."""
    return REASONS.get(slug) or Cause(f'of "{slug.replace("-", " ")}"')
