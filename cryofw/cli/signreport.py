"""What `cryofw sign` tells about the file it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from cryofw.cli.output import Output, Status
from cryofw.image import Algorithm

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.image import ImageOptions, PublicKey, UnsignedImage
    from cryofw.keys import EncryptionKey


@dataclass(frozen=True)
class SignReport:
    """Says what was written: to people, or as JSON."""

    path: Path
    options: ImageOptions
    as_json: bool
    devices: EncryptionKey | None = None
    clear: bool = False

    def signed(
        self, size: int, digest: bytes, name: str, public: PublicKey, running: bytes = b""
    ) -> None:
        """Report an image of `size` bytes; `running` is the plain hash of a compressed one."""
        output = Output()
        if self.as_json:
            found = self._fields(size, digest, public, name)
            output.json(found | {"running_hash": (running or digest).hex()})
            return
        output.status(Status.OK, "signed", f"{self.path}  {self.options.version}, {size} bytes")
        output.line(f"  hash {digest.hex()}")
        output.line(f"  key  {name} ({public.algorithm}, {public.key_hash.hex()[:16]})")
        if self.devices and self.clear:
            output.line("  plain, but marked for encryption: for a programmer, not for a rollout")
        elif self.devices:
            output.line(f"  encrypted, {self._encryption(self.devices)}")
        if self.options.compression and running:
            output.line(f"  compressed, {self.options.compression}; once it runs, its hash is")
            output.line(f"       {running.hex()}")

    def _encryption(self, devices: EncryptionKey) -> str:
        bits = self.options.encrypt
        return f"aes-{bits}, {devices.wrap} for key {devices.fingerprint.hex()[:16]}"

    def to_sign(self, unsigned: UnsignedImage, public: PublicKey) -> None:
        """Report the bytes that are to be signed, and how OpenSSL signs them."""
        size = len(unsigned.to_sign(public.algorithm))
        command = external_command(public.algorithm, self.path)
        output = Output()
        if self.as_json:
            output.json(self._fields(size, unsigned.hash, public, None) | {"openssl": command})
            return
        output.status(Status.OK, "to sign", f"{self.path}  {self.options.version}, {size} bytes")
        output.line(f"  hash {unsigned.hash.hex()}")
        output.line(f"  key  {public.algorithm}, {public.key_hash.hex()[:16]}")
        output.line(f"  where the key is:  {command}")
        output.line("  then here: the same command with OUT and --signature instead of --to-sign")

    def _fields(
        self, size: int, digest: bytes, public: PublicKey, name: str | None
    ) -> dict[str, object]:
        return {
            "file": str(self.path),
            "size": size,
            "version": str(self.options.version),
            "hash": digest.hex(),
            "key": {
                "name": name,
                "algorithm": str(public.algorithm),
                "hash": public.key_hash.hex(),
            },
            "security_counter": self.options.counter,
            "board": self.options.board,
            "encryption": self._encryption(self.devices) if self.devices else None,
            "clear": self.clear,
            "compression": self.options.compression,
        }


def external_command(algorithm: Algorithm, path: Path) -> str:
    """Return the OpenSSL command that signs what `--to-sign` wrote, with a key in PRIVATE.pem."""
    import shlex

    name = shlex.quote(str(path))
    match algorithm:
        case Algorithm.ED25519:
            return f"openssl pkeyutl -sign -rawin -inkey PRIVATE.pem -in {name} -out {name}.sig"
        case Algorithm.ECDSA_P256:
            options = ""
        case Algorithm.RSA_2048 | Algorithm.RSA_3072:
            options = " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32"
        case _:
            assert_never(algorithm)
    return f"openssl dgst -sha256{options} -sign PRIVATE.pem -out {name}.sig {name}"
