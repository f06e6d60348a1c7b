"""Who a GitLab job is: its `id_tokens`, JSON Web Tokens (RFC 7519), verified with a given key set.

The algorithm follows from the key, never from the token: `none`, a symmetric one, or one of
another kind of key are refused before anything is computed.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from cryofw.trust.errors import ActRefused, SignatureInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryofw.trust.policy import GitlabTrust

_LONGEST: Final = 16_384
_SKEW_S: Final = 60
_RECORDED: Final = (
    "iss", "sub", "project_path", "ref", "ref_type", "ref_protected", "environment",
    "pipeline_id", "pipeline_source", "job_id", "user_login", "sha", "jti", "iat", "exp",
)  # fmt: skip
_HINT: Final = "give the job an `id_tokens:` entry, see docs/approvals.md"


def verify_job_token(token: str, trust: GitlabTrust, now: datetime) -> dict[str, object]:
    """The claims of a job's token that are worth a record; never the token itself.

    Raises:
        SignatureInvalid: it is not one of the issuer's, or was made by another key or algorithm.
        ActRefused: it is for another audience or project, out of date, or of an open branch.
    """
    header, claims, signed, signature = _split(token)
    _verify(_key_of(header, trust.jwks), header, signed, signature)
    _require(claims, trust, now)
    found: dict[str, object] = {
        name: claims[name] for name in _RECORDED if isinstance(claims.get(name), str | int | bool)
    }
    return {**found, "sha256": sha256(token.encode()).hexdigest()}


def _split(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    parts = token.split(".")
    if len(token) > _LONGEST or len(parts) != 3:
        raise SignatureInvalid("this is no token of a CI job", why="expected three parts")
    try:
        header, claims = (json.loads(_decoded(part)) for part in parts[:2])
        signature = _decoded(parts[2])
    except (ValueError, RecursionError) as error:
        raise SignatureInvalid("this is no token of a CI job", why=str(error)[:100]) from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise SignatureInvalid("this is no token of a CI job")
    return header, claims, f"{parts[0]}.{parts[1]}".encode(), signature


def _decoded(part: str) -> bytes:
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("a part is not base64url") from error
    if base64.urlsafe_b64encode(data).decode().rstrip("=") != part:
        raise ValueError("a part is not base64url in its one form")
    return data


_ALGORITHM_OF: Final = {"RSA": "RS256", "EC": "ES256"}


def _key_of(header: Mapping[str, Any], jwks: Mapping[str, object]) -> dict[str, Any]:
    """The one key of the set that the token names, if it is of the token's algorithm."""
    keys = jwks.get("keys")
    found = [
        key
        for key in (keys if isinstance(keys, list) else [])
        if isinstance(key, dict) and key.get("kid") == header.get("kid")
    ]
    if len(found) != 1:
        raise SignatureInvalid(
            "the job's token was made by a key that the policy does not know",
            why=f"its key id is {str(header.get('kid'))[:60]!r}",
            hint="did the issuer rotate its keys? its new key set belongs into the policy",
        )
    key = found[0]
    wanted = _ALGORITHM_OF.get(str(key.get("kty")), "")
    algorithm = header.get("alg")
    if not wanted or algorithm != wanted or key.get("alg", wanted) != wanted:
        raise SignatureInvalid(
            f"the job's token says that it is signed with {str(algorithm)[:20]!r}",
            why=f"its key is one for {wanted or 'nothing that is known'}",
            hint="RS256 and ES256 are taken, each from a key of its own kind",
        )
    if key.get("use", "sig") != "sig" or "crit" in header:
        raise SignatureInvalid("the job's token is not signed with a signing key")
    return key


def _verify(
    key: Mapping[str, Any], header: Mapping[str, Any], signed: bytes, signature: bytes
) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    try:
        if header["alg"] == "RS256":
            numbers = rsa.RSAPublicNumbers(_number(key, "e"), _number(key, "n"))
            if numbers.n.bit_length() < 2048:
                raise ValueError("an RSA key below 2048 bits")  # noqa: TRY301  # one way out
            numbers.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
            return
        if key.get("crv") != "P-256" or len(signature) != 64:
            raise ValueError("not a signature on P-256")  # noqa: TRY301
        point = ec.EllipticCurvePublicNumbers(
            _number(key, "x"), _number(key, "y"), ec.SECP256R1()
        ).public_key()
        der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        point.verify(der, signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise SignatureInvalid(
            "the job's token was not signed by its issuer", why=str(error)[:100], hint=_HINT
        ) from error


def _number(key: Mapping[str, Any], name: str) -> int:
    value = key.get(name)
    if not isinstance(value, str):
        raise ValueError(f"the key has no {name!r}")
    return int.from_bytes(_decoded(value))


def _require(claims: Mapping[str, Any], trust: GitlabTrust, now: datetime) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    seconds = now.timestamp()
    protected = claims.get("ref_protected") in ("true", True)
    expires, begins = claims.get("exp"), claims.get("nbf", claims.get("iat", 0))
    checks = (
        (claims.get("iss") == trust.issuer, "comes from another issuer", claims.get("iss")),
        (trust.audience in audiences, "is for another audience", audience),
        (seconds < _number_of(expires, 0) + _SKEW_S, "has expired", expires),
        (seconds >= _number_of(begins, math.inf) - _SKEW_S, "is not valid yet", begins),
        (
            claims.get("project_path") in trust.projects,
            "is one of another project",
            claims.get("project_path"),
        ),
        (
            protected or not trust.protected,
            "is one of a branch that is not protected",
            claims.get("ref"),
        ),
    )
    for holds, what, said in checks:
        if not holds:
            raise ActRefused(
                f"the job's token {what}", why=f"it says {str(said)[:80] or 'nothing'}", hint=_HINT
            )


def _number_of(value: object, otherwise: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and isinstance(value, int | float) else otherwise
