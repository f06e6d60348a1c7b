"""The keyring: named keys, where each one lives, and the one purpose it serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.image import Algorithm, ImageError, PublicKey
from cryofw.keys.document import LARGEST_KEYRING, EntryText, parse_document
from cryofw.keys.errors import Finding, KeyFileError, KeyRefused, KeyringError
from cryofw.keys.key_file import read_public_key
from cryofw.keys.regular_file import read_trusted
from cryofw.keys.scheme import check_uri, open_signer, public_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryofw.keys.passphrase import PassphraseSource
    from cryofw.keys.purpose import Purpose
    from cryofw.keys.signer import Signer


@dataclass(frozen=True)
class KeyEntry:
    """One key of a keyring: name, where its private half lives (URI), purpose, public half."""

    name: str
    uri: str
    purpose: Purpose
    algorithm: Algorithm
    public_key: PublicKey


@dataclass(frozen=True)
class Keyring:
    """The keys of one file, by name; `directory` is what relative paths in it start from."""

    path: Path
    entries: Mapping[str, KeyEntry]

    @property
    def directory(self) -> Path:
        """The folder of the keyring file."""
        return self.path.parent

    def entry(self, name: str) -> KeyEntry:
        """Return one entry.

        Raises:
            KeyringError: the keyring has no such key.
        """
        try:
            return self.entries[name]
        except KeyError:
            from difflib import get_close_matches

            near = get_close_matches(name, self.entries, n=1)
            raise KeyringError(
                f"no key {name!r} in {self.path}",
                why=f"it has {', '.join(self.entries) or 'none'}",
                hint=f"did you mean {near[0]!r}?" if near else "`cryofw keys list` shows the keys",
            ) from None

    def choose(self, purpose: Purpose) -> KeyEntry:
        """Return the only key of a purpose.

        Raises:
            KeyringError: there is none, or more than one.
        """
        names = [entry.name for entry in self.entries.values() if entry.purpose is purpose]
        if len(names) != 1:
            raise KeyringError(
                f"{self.path} has {len(names)} keys for purpose {purpose}, so one must be named",
                why=", ".join(names),
                hint="name it with --key" if names else "`cryofw keys generate` makes one",
            )
        return self.entries[names[0]]

    def signer(
        self,
        name: str,
        purpose: Purpose,
        passphrase: PassphraseSource,
        pin: PassphraseSource | None = None,
    ) -> Signer:
        """Open a private key to sign for `purpose`.

        Args:
            name: of the key.
            purpose: what will be signed.
            passphrase: asked only when the key needs one.
            pin: the same for a token's PIN; without it, the environment is asked.

        Raises:
            KeyringError: no such key, or its private half is not that of its public half.
            KeyRefused: the key is for another purpose, others can read it, or its token refused
                the PIN or is locked.
            KeyFileError: its file cannot be used.
            KeyServiceUnreachable: its token or service does not answer.
        """
        entry = self._for_purpose(name, purpose)
        signer = open_signer(
            entry.uri, self.directory, name, purpose, entry.public_key, passphrase, pin
        )
        if signer.public_key != entry.public_key:
            raise KeyringError(
                f"the two halves of the key {name!r} do not belong together",
                why=f"the private one is {signer.public_key.key_hash.hex()[:16]}, "
                f"the public one {entry.public_key.key_hash.hex()[:16]}",
            )
        return signer

    def public_key(self, name: str, purpose: Purpose) -> PublicKey:
        """Return one public key that is trusted for a purpose.

        Raises:
            KeyringError: no such key.
            KeyRefused: the key is for another purpose.
        """
        return self._for_purpose(name, purpose).public_key

    def public_keys(self, purpose: Purpose) -> list[PublicKey]:
        """Return the keys that are trusted for a purpose; needs no passphrase."""
        return [e.public_key for e in self.entries.values() if e.purpose is purpose]

    def _for_purpose(self, name: str, purpose: Purpose) -> KeyEntry:
        entry = self.entry(name)
        if entry.purpose is not purpose:
            raise KeyRefused(
                f"the key {name!r} is not for purpose {purpose}",
                why=f"{self.path} gives it the purpose {entry.purpose}; a key serves one purpose",
                hint=f"`cryofw keys generate NAME --purpose {purpose}` makes one",
            )
        return entry


def load_keyring(path: Path) -> Keyring:
    """Read a keyring and the public half of each key in it.

    Raises:
        KeyringError: everything that is wrong with it, at once, with lines.
        FileRefused: it is no regular file, or others may write to it.
    """
    try:
        data = read_trusted(path, "keyring", LARGEST_KEYRING)
    except OSError as error:
        raise KeyringError(
            f"cannot read the keyring {path}",
            why=error.strerror or str(error),
            hint="`cryofw keys generate` starts one; keys.example explains it",
        ) from error
    return parse_keyring(data, path)


def parse_keyring(data: bytes, path: Path) -> Keyring:
    """Read a keyring from bytes, as if they stood in `path`; else as `load_keyring`."""
    texts, findings = parse_document(data)
    entries: dict[str, KeyEntry] = {}
    for text in texts:
        try:
            entries[text.name] = _entry(text, path.parent)
        except (KeyringError, KeyFileError, ImageError) as error:
            message = f"key {text.name!r}: {error}" + (f"; {error.hint}" if error.hint else "")
            findings.append(Finding(text.line, text.column, message))
    findings += _shared_material(texts, entries)
    if findings:
        raise _keyring_error(path, sorted(findings, key=lambda finding: finding.line))
    return Keyring(path, entries)


def _entry(text: EntryText, directory: Path) -> KeyEntry:
    check_uri(text.uri)
    public_key = read_public_key(public_path(text.uri, text.public, directory))
    if public_key.algorithm is not text.algorithm:
        raise KeyringError(f"its algorithm is {public_key.algorithm}, not {text.algorithm}")
    return KeyEntry(text.name, text.uri, text.purpose, text.algorithm, public_key)


def _shared_material(texts: list[EntryText], entries: Mapping[str, KeyEntry]) -> list[Finding]:
    """One finding for each key whose material serves another purpose already."""
    findings = []
    owners: dict[bytes, KeyEntry] = {}
    for text in texts:
        entry = entries.get(text.name)
        if entry is None:
            continue
        owner = owners.setdefault(entry.public_key.encoded, entry)
        if owner.purpose is not entry.purpose:
            message = (
                f"key {entry.name!r}: the same key serves as {owner.name!r} for purpose "
                f"{owner.purpose}; a key serves one purpose"
            )
            findings.append(Finding(text.line, text.column, message))
    return findings


def _keyring_error(path: Path, findings: list[Finding]) -> KeyringError:
    count = "a mistake" if len(findings) == 1 else f"{len(findings)} mistakes"
    return KeyringError(
        f"the keyring {path} has {count}",
        why="\n".join(
            f"line {each.line}, column {each.column}: {each.message}" for each in findings
        ),
        hint="keys.example explains the format",
        findings=tuple(findings),
    )
