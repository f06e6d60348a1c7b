"""What tests of several rooms share."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cryofw.image import Algorithm, PublicKey

if TYPE_CHECKING:
    from pathlib import Path

_HOSTS = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Each test runs on a host of its own, that never drove a device before."""
    base: Path = item.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # pytest's
    os.environ["CRYOFW_HOST_STATE"] = str(base / f"host-{next(_HOSTS)}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules in real time stay in one process, where they do not compete with one another."""
    for item in items:
        if item.get_closest_marker("realtime"):
            item.add_marker(pytest.mark.xdist_group("realtime"))


Sign = Callable[[bytes], bytes]


def _public(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _generate(algorithm: Algorithm) -> tuple[PublicKey, Sign]:
    if algorithm is Algorithm.ECDSA_P256:
        curve_key = ec.generate_private_key(ec.SECP256R1())
        return (
            PublicKey.from_pem(_public(curve_key.public_key())),
            lambda message: curve_key.sign(message, ec.ECDSA(hashes.SHA256())),
        )
    if algorithm is Algorithm.ED25519:
        edwards_key = ed25519.Ed25519PrivateKey.generate()
        return PublicKey.from_pem(_public(edwards_key.public_key())), edwards_key.sign
    size = 2048 if algorithm is Algorithm.RSA_2048 else 3072
    rsa_key = rsa.generate_private_key(65537, size)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return (
        PublicKey.from_pem(_public(rsa_key.public_key())),
        lambda message: rsa_key.sign(message, pss, hashes.SHA256()),
    )


@pytest.fixture(scope="session")
def image_keys() -> Mapping[Algorithm, tuple[PublicKey, Sign]]:
    """One key pair of each algorithm, made for this run: the public key and its `sign`."""
    return {algorithm: _generate(algorithm) for algorithm in Algorithm}


class HandClock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 20, 21, 7, 3, 114_000, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> HandClock:
    """A clock for tests that write journals."""
    return HandClock()
