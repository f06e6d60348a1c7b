"""A small lab that takes releases from a repository, and the means to attack both."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from securesystemslib.formats import encode_canonical

from cryofw.journal import FileStorage
from cryofw.keys import Purpose, load_keyring
from cryofw.release import PinnedRoot, add_release, admit, pin_root
from cryofw.release.catalogue import Announcement
from cryofw.release.release_signer import ReleaseSigner
from tests.flows.small_lab import SmallLab
from tests.unit.release.publisher import Publisher, make_keyring

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Edit = Callable[[dict[str, Any]], object]

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class AttackedLab:
    """A lab on simulated devices whose releases come from `repository`, a directory beside it."""

    directory: Path

    @property
    def lab(self) -> SmallLab:
        """The lab."""
        return SmallLab(self.directory / "lab")

    @property
    def repository(self) -> Path:
        """The repository's directory."""
        return self.directory / "releases"

    @property
    def manager(self) -> Publisher:
        """The release manager, with every key."""
        keys = self.directory / "keys"
        manager = Publisher(load_keyring(keys / "keys.yaml"), self.directory)
        manager.storage = FileStorage(self.repository, public=True)
        manager.now = datetime.now(UTC)
        return manager

    @classmethod
    def lay_out(cls, directory: Path) -> AttackedLab:
        """A lab that runs the factory firmware, trusts the repository, and has seen 1.1.0."""
        made = cls(directory)
        SmallLab.lay_out(directory / "lab")
        keys = directory / "keys"
        keys.mkdir()
        (keys / "keys.yaml").write_text(_keyring_text(keys))
        made.manager.init()
        for name in ("factory", "good"):
            made.release(name)
        root = (made.repository / "metadata/1.root.json").read_bytes()
        pin_root(FileStorage(made.lab.state), PinnedRoot(root, "../releases"))
        made.lab.run("plan", *made.latest).expect(0)
        return made

    def copy_to(self, directory: Path) -> AttackedLab:
        """Another one in the same state."""
        shutil.copytree(self.directory, directory, symlinks=True)
        return AttackedLab(directory)

    @property
    def latest(self) -> tuple[str, ...]:
        """The options with which the lab takes the latest release."""
        return ("--repo", str(self.repository), "--release", "latest")

    @property
    def deploy_latest(self) -> tuple[str, ...]:
        """The command line that an unsuspecting operator runs."""
        return ("deploy", *self.latest, "--yes")

    def release(self, name: str, host: str = "") -> None:
        """Publish one of the lab's signed images."""
        self.release_bytes((self.lab.directory / f"{name}.bin").read_bytes(), host)

    def release_bytes(self, data: bytes, host: str = "") -> None:
        """Publish an image that the lab's key signed."""
        manager = self.manager
        image_keys = load_keyring(self.lab.directory / "keys.yaml").public_keys(Purpose.IMAGE)
        announced = Announcement("rita@lab", host=host)
        add_release(manager.repository(), admit(data, image_keys), data, announced)
        manager.publish()

    # --- forging ----------------------------------------------------------------------------

    def load(self, name: str) -> dict[str, Any]:
        """A metadata file as JSON."""
        loaded: dict[str, Any] = json.loads((self.repository / "metadata" / name).read_bytes())
        return loaded

    def latest_version(self, role: str) -> int:
        """The highest version of a role."""
        files = (self.repository / "metadata").glob(f"*.{role}.json")
        return max(int(file.name.split(".")[0]) for file in files)

    def write(self, name: str, signed: dict[str, Any], keys: Sequence[str]) -> bytes:
        """Write a metadata file that these keys sign, whatever it says."""
        manager = self.manager
        payload = encode_canonical(signed)
        assert payload is not None
        signatures = [
            ReleaseSigner(manager.file_signer(key)).sign(payload.encode()).to_dict() for key in keys
        ]
        data = json.dumps({"signatures": signatures, "signed": signed}).encode()
        (self.repository / "metadata" / name).write_bytes(data)
        return data

    def forge_root(self, edit: Edit, keys: Sequence[str] = ("anna", "bart")) -> None:
        """Publish root 2: root 1 as `edit` changes it, signed by `keys`."""
        signed = self.load("1.root.json")["signed"]
        signed["version"] = 2
        edit(signed)
        self.write("2.root.json", signed, keys)

    def forge(self, role: str, edit: Edit, key: str) -> None:
        """Publish the next version of a role, changed by `edit`, and what leads to it."""
        version = self.latest_version(role)
        signed = self.load(f"{version}.{role}.json")["signed"]
        signed["version"] = version + 1
        edit(signed)
        data = self.write(f"{version + 1}.{role}.json", signed, [key])
        self.forge_snapshot(lambda meta: meta.update({f"{role}.json": described(signed, data)}))

    def forge_snapshot(self, edit: Edit, key: str = "server") -> None:
        """Publish the next snapshot, with its `meta` changed by `edit`, and a timestamp for it."""
        version = self.latest_version("snapshot")
        signed = self.load(f"{version}.snapshot.json")["signed"]
        signed["version"] = version + 1
        edit(signed["meta"])
        data = self.write(f"{version + 1}.snapshot.json", signed, [key])
        self.forge_timestamp(
            lambda stamp: stamp["meta"].update({"snapshot.json": described(signed, data)})
        )

    def forge_timestamp(self, edit: Edit, keys: Sequence[str] = ("server",)) -> None:
        """Publish the next timestamp, changed by `edit`."""
        signed = self.load("timestamp.json")["signed"]
        signed["version"] += 1
        edit(signed)
        self.write("timestamp.json", signed, keys)

    def forge_record(self, version: str, edit: Edit) -> None:
        """Let the board's own key sign another record for a release."""
        path = f"cc40/{version}.bin"
        self.forge("cc40", lambda signed: edit(signed["targets"][path]["custom"]), "cc40")

    def target_file(self, version: str) -> Path:
        """The file of a release on the server."""
        (found,) = (self.repository / "targets" / "cc40").glob(f"*.{version}.bin")
        return found

    def edit_file(self, path: Path, edit: Callable[[bytes], bytes]) -> None:
        """Change a file in place."""
        path.write_bytes(edit(path.read_bytes()))

    def sign_elsewhere(self, name: str) -> bytes:
        """An image of the lab's firmware, signed by a key that the lab does not know."""
        other = self.directory / "other"
        SmallLab.lay_out(other)
        return (other / f"{name}.bin").read_bytes()


def described(signed: dict[str, Any], data: bytes) -> dict[str, Any]:
    """What snapshot or timestamp say about a file."""
    digest = hashlib.sha256(data).hexdigest()
    return {"version": signed["version"], "length": len(data), "hashes": {"sha256": digest}}


def _keyring_text(directory: Path) -> str:
    """The manager's keys, made in `directory`; the text of their keyring."""
    ring = make_keyring(directory)
    lines = ["schema: cryofw.keys/v1", "keys:"]
    for entry in ring.entries.values():
        fields = f"uri: '{entry.uri}', purpose: {entry.purpose}, algorithm: {entry.algorithm}"
        lines.append(f"  {entry.name}: {{{fields}}}")
    return "\n".join(lines) + "\n"
