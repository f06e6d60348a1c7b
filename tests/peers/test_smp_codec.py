"""Our codec against the `smp` package: the same bytes, both ways."""

from __future__ import annotations

from typing import Any

import pytest
from smp import header as peer_header
from smp import image_management as peer_image
from smp import os_management as peer_os
from smp import packet as peer_packet
from smp import settings_management as peer_settings

from cryofw.smp import (
    ClientConnection,
    Frame,
    FrameDecoder,
    Group,
    Header,
    Message,
    Request,
    RequestReceived,
    Response,
    ServerConnection,
    SettingsCode,
    UploadPlan,
    encode_frame,
    messages,
)

pytestmark = pytest.mark.peer

HASH = bytes(range(32))
DATA = bytes(i * 31 & 0xFF for i in range(2000))


def peer_decode(wire: bytes) -> bytes:
    """Decode one packet as the peer does, line by line."""
    decoder = peer_packet.decode()
    next(decoder)
    for line in wire.splitlines(keepends=True):
        try:
            decoder.send(line)
        except StopIteration as end:
            return bytes(end.value)
    pytest.fail("the peer wants more lines")


@pytest.mark.parametrize("size", [8, 9, 88, 89, 90, 91, 92, 380, 1020, 4092])
def test_packets_are_the_same_bytes(size: int) -> None:
    message = bytes(i * 17 & 0xFF for i in range(size))
    theirs = b"".join(peer_packet.encode(message))
    assert FrameDecoder().feed(theirs) == [Frame(message)]
    assert peer_decode(encode_frame(message)) == message
    # The peer breaks its lines at 120 base64 characters; the text in them is the same.
    assert encode_frame(message).replace(b"\n\x04\x14", b"") == theirs.replace(b"\n\x04\x14", b"")


@pytest.mark.parametrize("line_length", [8, 64, 127])
def test_packets_in_shorter_lines_decode(line_length: int) -> None:
    theirs = b"".join(peer_packet.encode(DATA[:500], line_length=line_length))
    assert FrameDecoder().feed(theirs) == [Frame(DATA[:500])]


@pytest.mark.parametrize("op", list(peer_header.OP))
@pytest.mark.parametrize("version", list(peer_header.Version))
def test_headers_are_the_same_bytes(op: Any, version: Any) -> None:
    theirs = peer_header.Header(op, version, peer_header.Flag(0), 513, 64, 254, 9)
    ours = Header(int(op), int(version) + 1, 0, 513, Group.CRYO, 254, 9)
    assert ours.encode() == bytes(theirs)
    assert Header.decode(bytes(theirs)) == ours
    assert peer_header.Header.loads(ours.encode()) == theirs


REQUESTS = [
    (messages.echo("hello"), peer_os.EchoWriteRequest(d="hello", sequence=7)),
    (messages.reset(), peer_os.ResetWriteRequest(sequence=7)),
    (messages.reset(force=True), peer_os.ResetWriteRequest(force=1, sequence=7)),
    (messages.read_parameters(), peer_os.MCUMgrParametersReadRequest(sequence=7)),
    (messages.read_app_info("a"), peer_os.OSApplicationInfoReadRequest(format="a", sequence=7)),
    (
        messages.read_bootloader_info("mode"),
        peer_os.BootloaderInformationReadRequest(query="mode", sequence=7),
    ),
    (messages.read_image_state(), peer_image.ImageStatesReadRequest(sequence=7)),
    (
        messages.mark_for_test(HASH),
        peer_image.ImageStatesWriteRequest(hash=HASH, confirm=False, sequence=7),
    ),
    (messages.confirm_image(), peer_image.ImageStatesWriteRequest(confirm=True, sequence=7)),
    (messages.erase_slot(1), peer_image.ImageEraseRequest(slot=1, sequence=7)),
    (
        messages.read_setting("cal/gain"),
        peer_settings.ReadSettingRequest(name="cal/gain", sequence=7),
    ),
    (
        messages.write_setting("cal/gain", HASH[:8]),
        peer_settings.WriteSettingRequest(name="cal/gain", val=HASH[:8], sequence=7),
    ),
    (
        messages.delete_setting("cal/gain"),
        peer_settings.DeleteSettingRequest(name="cal/gain", sequence=7),
    ),
    (messages.commit_settings(), peer_settings.CommitSettingsRequest(sequence=7)),
    (messages.load_settings(), peer_settings.LoadSettingsRequest(sequence=7)),
    (messages.save_settings(), peer_settings.SaveSettingsRequest(sequence=7)),
    (
        UploadPlan.of(DATA, max_packet=380).chunk_at(300),
        peer_image.ImageUploadWriteRequest(
            off=300,
            data=UploadPlan.of(DATA, max_packet=380).chunk_at(300).body["data"],
            sequence=7,
        ),
    ),
]


@pytest.mark.parametrize(("ours", "theirs"), REQUESTS, ids=lambda value: type(value).__name__)
def test_requests_mean_the_same(ours: Request, theirs: Any) -> None:
    _, wire = ClientConnection(first_seq=7).send(ours)
    mine = Message.decode(peer_decode(wire))
    other = Message.decode(bytes(theirs))
    assert mine.header == other.header
    assert mine.body == other.body
    # and the peer reads ours as the request it would have made
    assert type(theirs).loads(mine.encode()).header == theirs.header


def test_the_peer_reads_our_replies_and_we_its_requests() -> None:
    server = ServerConnection()
    asked = peer_image.ImageStatesReadRequest(sequence=200)
    (request,) = server.receive_data(b"".join(peer_packet.encode(bytes(asked))))
    assert isinstance(request, RequestReceived)
    slot = {"slot": 0, "version": "1.0.0", "hash": HASH, "active": True, "confirmed": True}
    wire = server.reply(request.header, {"images": [slot], "splitStatus": 0})
    answer = peer_image.ImageStatesReadResponse.loads(peer_decode(wire))
    assert (answer.sequence, answer.images[0].hash, answer.images[0].active) == (200, HASH, True)


def test_we_read_the_peer_s_responses() -> None:
    client = ClientConnection(first_seq=9)
    client.send(messages.read_parameters())
    theirs = peer_os.MCUMgrParametersReadResponse(buf_size=384, buf_count=4, sequence=9)
    (response,) = client.receive_data(b"".join(peer_packet.encode(bytes(theirs))))
    assert isinstance(response, Response)
    assert messages.ServerParameters.from_body(response.body).max_packet == 380


def test_we_read_the_peer_s_settings() -> None:
    client = ClientConnection(first_seq=9)
    client.send(messages.read_setting("cal/gain"))
    theirs = peer_settings.ReadSettingResponse(val=b"\x00\x01", max_size=32, sequence=9)
    (response,) = client.receive_data(b"".join(peer_packet.encode(bytes(theirs))))
    assert isinstance(response, Response)
    setting = messages.SettingValue.from_body(response.body)
    assert (setting.value, setting.max_size) == (b"\x00\x01", 32)


@pytest.mark.parametrize("code", list(peer_settings.SETTINGS_MGMT_ERR))
def test_settings_codes_have_the_peer_s_names(code: Any) -> None:
    assert SettingsCode(int(code)).name == code.name
