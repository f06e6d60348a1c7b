"""Why an encrypted line did not come about, told apart: OpenSSL's words are for its authors."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from cryofw.transport.stream import ChannelUntrusted, PortUnavailable

if TYPE_CHECKING:
    from cryofw.transport.tls_port import TlsPort

_NOT_YET_VALID, _EXPIRED, _REVOKED = 9, 10, 23
_UNKNOWN_ISSUER = {2, 18, 19, 20, 21, 24, 26}
_OTHER_NAME = {62, 64}

_OUR_CERTIFICATE = {
    "CERTIFICATE_REQUIRED": "it wants a client certificate, and we showed none",
    "UNKNOWN_CA": "the authority of our certificate is not one it trusts",
    "BAD_CERTIFICATE": "it takes our certificate for a bad one",
    "UNSUPPORTED_CERTIFICATE": "our certificate is of a kind it does not take",
    "CERTIFICATE_REVOKED": "our certificate is revoked",
    "CERTIFICATE_EXPIRED": "our certificate has expired",
    "CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "ACCESS_DENIED": "our certificate may not use this port",
    "DECRYPT_ERROR": "our key does not fit our certificate, says the gateway",
}
_NO_COMMON_WAY = {
    "PROTOCOL_VERSION",
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
    "HANDSHAKE_FAILURE",
    "INSUFFICIENT_SECURITY",
    "DH_KEY_TOO_SMALL",
    "EE_KEY_TOO_SMALL",
    "WRONG_SIGNATURE_TYPE",
}
_NOT_TLS = {
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "UNEXPECTED_MESSAGE",
}


def tls_error(error: OSError, port: TlsPort) -> PortUnavailable:
    """Explain what went wrong between the TCP connection and the first byte."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _their_certificate(error, port)
    if isinstance(error, ssl.SSLError):
        return _alert(error, port)
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return hung_up(port)
    why = error.strerror or str(error) or type(error).__name__
    return PortUnavailable(
        f"cannot open {port.url}",
        why=why,
        hint="Check the host, the port number and that no one else is connected to it.",
    )


def hung_up(port: TlsPort) -> PortUnavailable:
    """A gateway that ends the line in or right behind the handshake: busy, or it rejects us."""
    if port.cert is None:
        hint = "is another program connected to it, or does it want a client certificate? Then "
        hint += "add cert= and key= to the port"
    else:
        hint = "is another program connected to it, or does it refuse our certificate? The "
        hint += "gateway's log says which"
    return PortUnavailable(
        f"{port.url} hung up",
        why="the gateway closed the line with the handshake",
        hint=hint,
    )


def _their_certificate(error: ssl.SSLCertVerificationError, port: TlsPort) -> ChannelUntrusted:
    code, words = error.verify_code, error.verify_message
    if code == _EXPIRED:
        what, hint = "has expired", "renew it on the gateway; is the clock of this host right?"
    elif code == _NOT_YET_VALID:
        what, hint = "is not valid yet", "is the clock of this host, or of the gateway, wrong?"
    elif code == _REVOKED:
        what, hint = "is revoked", "give the gateway a new one"
    elif code in _OTHER_NAME:
        what = f"is not for the name {port.name!r}"
        hint = "name the port as the certificate does, or add name=NAME; or it is another machine"
    elif code in _UNKNOWN_ISSUER:
        what = "comes from another authority"
        hint = f"expected one of {port.ca}. If the gateway got a new certificate, ask who made it"
    else:
        what, hint = "does not hold", "look at it: `openssl s_client -connect HOST:PORT`"
    return ChannelUntrusted(
        f"the certificate of {port.url} {what}", why=f"{words} (OpenSSL {code})", hint=hint
    )


def _alert(error: ssl.SSLError, port: TlsPort) -> PortUnavailable:
    # Python and OpenSSL spell alerts in several ways: SSLV3_ALERT_X, "ssl/tls alert x".
    said = error.reason or str(error)
    reason = said.upper().replace(" ", "_").rpartition("ALERT_")[2]
    if reason in _OUR_CERTIFICATE:
        ours = f"cert={port.cert}" if port.cert else "no cert= in the port and no CRYOFW_TLS_CERT"
        return ChannelUntrusted(
            f"{port.url} refuses this host",
            why=f"{_OUR_CERTIFICATE[reason]} ({said}); {ours}",
            hint="give this host a certificate of the authority that the gateway trusts",
        )
    if reason in _NO_COMMON_WAY:
        return ChannelUntrusted(
            f"{port.url} and this host find no safe way to talk",
            why=said,
            hint="it has to speak TLS 1.2 or newer; cryofw does not go below. Some gateways answer "
            "so as well when they miss a client certificate",
        )
    if reason in _NOT_TLS:
        return ChannelUntrusted(
            f"what answers at {port.url} does not speak TLS",
            why=said,
            hint="is it the right port? A plain one is socket://HOST:PORT, and anyone can read it",
        )
    return PortUnavailable(
        f"the handshake with {port.url} failed",
        why=said,
        hint="the gateway's log says more, or `openssl s_client -connect HOST:PORT`",
    )
