"""The SMP protocol, sans-IO: framing, messages, client and server connection.

Bytes in, events out; requests in, bytes out. Whoever owns the line moves the bytes and keeps
the time: nothing here waits, retries or reads a clock.
"""

from cryofw.smp import messages
from cryofw.smp.body import MessageError, decode_body, encode_body
from cryofw.smp.client import (
    ClientConnection,
    ClientEvent,
    Response,
    StaleReason,
    StaleResponse,
)
from cryofw.smp.framing import (
    FRAME_OVERHEAD,
    BadFrame,
    Frame,
    FrameDecoder,
    FrameEvent,
    FrameFault,
    Framing,
    LogLine,
    encode_frame,
)
from cryofw.smp.message import (
    HEADER_SIZE,
    Group,
    Header,
    Message,
    Op,
    Request,
    split_packet,
)
from cryofw.smp.raw_framing import RESYNC_S, RawDecoder, encode_raw
from cryofw.smp.server import RequestReceived, ServerConnection, ServerEvent
from cryofw.smp.status import (
    CryoCode,
    ImageCode,
    MgmtCode,
    OsCode,
    SettingsCode,
    SmpStatus,
    status_of,
)
from cryofw.smp.upload import UploadPlan
from cryofw.smp.upload_flow import PlaceLost, UploadFlow, UploadPacket, UploadStalled

__all__ = [
    "FRAME_OVERHEAD",
    "HEADER_SIZE",
    "RESYNC_S",
    "BadFrame",
    "ClientConnection",
    "ClientEvent",
    "CryoCode",
    "Frame",
    "FrameDecoder",
    "FrameEvent",
    "FrameFault",
    "Framing",
    "Group",
    "Header",
    "ImageCode",
    "LogLine",
    "Message",
    "MessageError",
    "MgmtCode",
    "Op",
    "OsCode",
    "PlaceLost",
    "RawDecoder",
    "Request",
    "RequestReceived",
    "Response",
    "ServerConnection",
    "ServerEvent",
    "SettingsCode",
    "SmpStatus",
    "StaleReason",
    "StaleResponse",
    "UploadFlow",
    "UploadPacket",
    "UploadPlan",
    "UploadStalled",
    "decode_body",
    "encode_body",
    "encode_frame",
    "encode_raw",
    "messages",
    "split_packet",
    "status_of",
]
