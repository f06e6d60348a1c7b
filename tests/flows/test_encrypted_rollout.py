"""Encrypted images through the real commands: out, refused, and back again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cryofw.simulator import FileStorage
from cryofw.simulator.lab_file import read_description
from tests.flows.small_lab import BEHAVIOUR, DEVICES, Ran, SmallLab, firmware

if TYPE_CHECKING:
    from collections.abc import Callable


class EncryptedLab(SmallLab):
    """A lab whose bootloaders have a decryption key, and whose images are encrypted for it."""

    def call(self, *arguments: str, key: str = "devices.pem") -> Ran:
        """Run a command on a host that has the devices' key, or with `key=""` has not."""
        process = self.start(*arguments, CRYOFW_DECRYPTION_KEY=key)
        out, err = process.communicate(timeout=120)
        return Ran(process.returncode, out, err)

    def make_keys(self) -> None:
        private = ec.generate_private_key(ec.SECP256R1())
        path = self.directory / "devices.pem"
        path.touch(0o600)
        path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = private.public_key()
        (self.directory / "devices.pub.pem").write_bytes(
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )

    def slot(self, name: str, index: int) -> bytes:
        """What lies in a slot of a chip."""
        spec, _ = read_description(self.state / "sim" / "lab.json")
        size = next(one.slot_size for one in spec.controllers if one.name == name)
        chip = FileStorage(self.state / "sim" / "devices" / f"{name}.flash", 2 * size)
        try:
            return chip.read(index * size, size)
        finally:
            chip.close()


@pytest.fixture
def encrypted_lab(another_lab: Callable[[str], SmallLab]) -> EncryptedLab:
    lab = EncryptedLab(another_lab("encrypted").directory)
    shutil.rmtree(lab.state)
    lab.make_keys()
    for name in BEHAVIOUR:
        lab.sign(name, "--encrypt", "devices.pub.pem")
    lab.call("sim", "create", "--factory", "factory.bin").expect(0)
    return lab


def secret(name: str) -> bytes:
    """Words of the firmware that must not lie in the outer flash."""
    return firmware(BEHAVIOUR[name])[:256]


def test_a_rollout_of_encrypted_images_ends_well_and_a_bad_one_is_taken_back(
    encrypted_lab: EncryptedLab,
) -> None:
    lab, before = encrypted_lab, encrypted_lab.see()
    assert lab.running() == dict.fromkeys(DEVICES, "factory")

    lab.call("deploy", "good.bin", "--yes").expect(75, "needs an approval")
    lab.call("approve", "--stage", "fleet").expect(0)
    lab.call("resume").expect(0, "confirmed")

    assert lab.running() == dict.fromkeys(DEVICES, "good")
    lab.check_moment(before)
    lab.call("audit", "verify").expect(0, "images     2")
    unknown = lab.call("audit", "verify", key="")
    unknown.expect(75, "verified", "not checked", "encrypted images: 2", "CRYOFW_DECRYPTION_KEY")
    report = lab.call("audit", "verify", "--json", key="").expect(75).json_lines[0]
    assert not report["verified"]
    assert lab.hash("good") in report["unchecked_images"]
    path = lab.state / "images" / f"{lab.hash('good')}.bin"
    kept = path.read_bytes()
    path.write_bytes(kept[:100] + bytes([kept[100] ^ 1]) + kept[101:])
    lab.call("audit", "verify", key="").expect(4, "the release cannot be proven")
    path.write_bytes(kept)
    assert secret("good") in lab.slot("c2-b", 0)
    assert secret("factory") not in lab.slot("c2-b", 1)

    lab.call("deploy", "drift.bin", "--yes").expect(6, "readout_snr")
    assert lab.running() == dict.fromkeys(DEVICES, "good")
    assert secret("good") in lab.slot("rig-a", 0)
    assert secret("drift") not in lab.slot("rig-a", 1)


def test_a_host_without_the_devices_key_deploys_nothing_encrypted(
    encrypted_lab: EncryptedLab,
) -> None:
    lab = encrypted_lab

    for key in ("", "keys/firmware.pem"):
        refused = lab.call("deploy", "good.bin", "--yes", key=key)
        refused.expect(4, "no key that opens it" if not key else "does not open with this")

    lab.sign("good", "--encrypt", "devices.pub.pem", "--clear")
    lab.call("deploy", "good.bin", "--yes").expect(4, "must not be rolled out", "--clear")
    assert lab.running() == dict.fromkeys(DEVICES, "factory")
    assert not (lab.state / "journal.jsonl").exists()


def test_the_lab_keeps_its_key_to_itself(encrypted_lab: EncryptedLab) -> None:
    path = Path(encrypted_lab.state / "sim" / "lab.json")

    assert path.stat().st_mode & 0o077 == 0
    assert "BEGIN PRIVATE KEY" in path.read_text()
