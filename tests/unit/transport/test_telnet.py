"""The telnet half of rfc2217:// against bytes in any portions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cryofw.transport.telnet import COM_PORT, ComPort, TelnetClient, escape

IAC, DO, DONT, WILL, WONT, SB, SE = 255, 254 - 1, 254, 251, 252, 250, 240
DO_ALL = bytes((IAC, DO, COM_PORT, IAC, DO, 0, IAC, WILL, 0))


def opened() -> TelnetClient:
    client = TelnetClient()
    client.to_send()
    assert client.receive(DO_ALL) == b""
    assert (client.com_port, client.binary) == (True, True)
    return client


def answer(command: int, value: bytes) -> bytes:
    return bytes((IAC, SB, COM_PORT, 100 + command)) + escape(value) + bytes((IAC, SE))


@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=40).map(lambda data: (data, escape(data))),
            st.sampled_from([bytes((IAC, 241)), answer(6, b"\x01"), answer(7, b"\xff\xff")]).map(
                lambda command: (b"", command)
            ),
        ),
        max_size=12,
    ),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_data_comes_out_whole_however_it_is_cut(
    pieces: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    wire = b"".join(coded for _, coded in pieces)
    client, got, at = opened(), b"", 0
    for cut in [*sorted(cut for cut in cuts if cut < len(wire)), len(wire)]:
        got += client.receive(wire[at:cut])
        at = cut
    assert got == b"".join(data for data, _ in pieces)


@given(noise=st.binary(max_size=600), rest=st.binary(max_size=50))
def test_nothing_that_a_server_sends_raises(noise: bytes, rest: bytes) -> None:
    client = TelnetClient()
    for data in (noise, rest):
        assert len(client.receive(data)) <= len(noise) + len(rest)
    client.to_send()


def test_offers_are_answered_once_and_strange_ones_refused() -> None:
    client = TelnetClient()
    asked = client.to_send()
    assert bytes((IAC, WILL, COM_PORT)) in asked
    assert bytes((IAC, WILL, 0, IAC, DO, 0)) in asked

    client.receive(DO_ALL + bytes((IAC, WILL, 1, IAC, DO, 24)))

    assert client.to_send() == bytes((IAC, DONT, 1, IAC, WONT, 24))
    client.receive(DO_ALL)
    assert client.to_send() == b""


def test_a_server_without_com_port_says_so() -> None:
    client = TelnetClient()
    client.receive(bytes((IAC, DONT, COM_PORT, IAC, DO, 0)))
    assert (client.com_port, client.binary) == (False, True)


def test_orders_answers_and_pauses() -> None:
    client = opened()
    client.to_send()
    client.command(ComPort.SET_BAUDRATE, (0xFF00).to_bytes(4, "big"))
    assert client.to_send() == bytes((IAC, SB, COM_PORT, 1, 0, 0, 255, 255, 0, IAC, SE))
    client.receive(answer(1, (0xFF00).to_bytes(4, "big")))
    assert client.answers[ComPort.SET_BAUDRATE] == (0xFF00).to_bytes(4, "big")
    client.receive(answer(8, b""))
    assert client.suspended
    client.receive(answer(9, b""))
    assert not client.suspended


def test_until_both_sides_are_binary_a_carriage_return_comes_with_a_nul() -> None:
    client = TelnetClient()
    assert client.receive(b"a\r") + client.receive(b"\x00b\r\x00c\x00") == b"a\rb\rc\x00"
    assert opened().receive(b"a\r\x00b") == b"a\r\x00b"
