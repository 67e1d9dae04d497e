"""The experimental option in which both ends tell what they can do beyond the RFCs."""

from __future__ import annotations

import pytest

from dsmip.wire.constants import BUFlag, OptionType
from dsmip.wire.experimental import ExperimentalOption
from dsmip.wire.extensions import Extensions, extensions_option, read_extensions
from dsmip.wire.messages import BindingUpdate, decode_message, encode_message
from tests.wire.wire_vectors import HA, HOA


def test_the_option_on_the_wire() -> None:
    option = extensions_option(Extensions.DUPLICATION | Extensions.PROBES)
    assert option.type_code == OptionType.EXPERIMENTAL == 18
    assert option.encode_data() == b"dsmip\x01\x03"


@pytest.mark.parametrize("extensions", [Extensions.NONE, Extensions.PROBES, Extensions.DUPLICATION])
def test_what_is_sent_is_read(extensions: Extensions) -> None:
    sent = BindingUpdate(1, BUFlag.A, 1, (extensions_option(extensions),))
    message = decode_message(encode_message(sent, HOA, HA), HOA, HA)
    assert read_extensions(message.options) == extensions


@pytest.mark.parametrize("data", [b"", b"dsmip", b"dsmip\x01", b"dsmip\x02\x03", b"other\x01\x03"])
def test_other_experiments_and_versions_say_nothing(data: bytes) -> None:
    assert read_extensions((ExperimentalOption(data),)) is None
    ours = extensions_option(Extensions.PROBES)
    assert read_extensions((ExperimentalOption(data), ours)) == Extensions.PROBES


def test_bits_from_the_future_are_passed_over() -> None:
    assert read_extensions((ExperimentalOption(b"dsmip\x01\xff and more"),)) == (
        Extensions.DUPLICATION | Extensions.PROBES
    )
