"""Keys in Debian's SoftHSM, made by OpenSC's pkcs11-tool: the token signs, others verify."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tuf.api.metadata import Metadata

from cryofw.cli.main import run
from cryofw.errors import CryofwError
from cryofw.image import Algorithm, PublicKey, parse_image
from cryofw.journal.note import sign_note
from cryofw.keys import (
    KeyFileError,
    KeyringError,
    PinRefused,
    Purpose,
    TokenLocked,
    TokenMissing,
    close_tokens,
    load_keyring,
    no_passphrase,
)
from cryofw.release.metadata import Root, Targets
from cryofw.simulator.flash import Flash
from cryofw.simulator.flash_storage import MemoryStorage
from cryofw.simulator.mcuboot import Bootloader
from cryofw.simulator.validator import SignatureCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.peer

BIN = Path(sys.executable).parent
PIN = "483920"
SO_PIN = "77777777"
SLOT_SIZE = 128 * 1024
FLAGS_ATTRIBUTE = bytes.fromhex("000000008000534b")
"""CKA_OS_TOKENFLAGS of SoftHSM's token.object; its kind (8 bytes) and its value (8) follow."""
PIN_FINAL_TRY, PIN_LOCKED = 0x20000, 0x40000


class Hsm(NamedTuple):
    """Tokens of this test: `lab` with keys, in a folder of its own."""

    directory: Path

    def tool(self, *words: str, token: str = "lab") -> None:
        module = next(Path("/usr/lib").glob("**/softhsm/libsofthsm2.so"))
        login = ["--module", str(module), "--token-label", token, "--login", "--pin", PIN]
        subprocess.run(["pkcs11-tool", *login, *words], check=True, capture_output=True)
        close_tokens()  # it changed behind our back

    def make_key(self, label: str, identifier: str, kind: str, *words: str) -> None:
        words = ("--keypairgen", "--key-type", kind, "--label", label, "--id", identifier, *words)
        self.tool(*words, "--usage-sign")

    def make_token(self, label: str) -> None:
        words = ["--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN]
        subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)
        close_tokens()

    def set_flag(self, flag: int) -> None:
        """Make the token say of itself what SoftHSM never does: it locks no PIN."""
        [path] = self.directory.glob("tokens/*/token.object")
        data = bytearray(path.read_bytes())
        at = data.index(FLAGS_ATTRIBUTE) + 16
        value = int.from_bytes(data[at : at + 8]) | flag
        data[at : at + 8] = value.to_bytes(8)
        path.write_bytes(data)
        close_tokens()

    def pin_count_low(self) -> bool:
        """Whether SoftHSM has seen a wrong PIN since the last right one."""
        [path] = self.directory.glob("tokens/*/token.object")
        data = path.read_bytes()
        at = data.index(FLAGS_ATTRIBUTE) + 16
        return bool(int.from_bytes(data[at : at + 8]) & 0x10000)


@pytest.fixture(scope="session")
def hsm_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token with a P-256, an Ed25519 and an RSA key, and two keys under one label."""
    for program in ("softhsm2-util", "pkcs11-tool"):
        assert shutil.which(program), f"{program} is missing: apt-get install softhsm2 opensc"
    directory = tmp_path_factory.mktemp("hsm")
    with pytest.MonkeyPatch.context() as patch:
        hsm = configured(directory, patch)
        hsm.make_token("lab")
        hsm.make_key("image", "01", "EC:prime256v1")
        hsm.make_key("release", "02", "EC:edwards25519")
        hsm.make_key("big", "03", "RSA:2048")
        hsm.make_key("twin", "04", "EC:prime256v1")
        hsm.make_key("twin", "05", "EC:prime256v1")
        hsm.make_key("other-curve", "06", "EC:secp384r1")
        hsm.make_key("each-time", "07", "EC:prime256v1", "--always-auth")
    return directory


def configured(directory: Path, patch: pytest.MonkeyPatch) -> Hsm:
    tokens = directory / "tokens"
    tokens.mkdir(exist_ok=True)
    config = directory / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
    patch.setenv("SOFTHSM2_CONF", str(config))
    for name in ("CRYOFW_PIN", "CRYOFW_PASSPHRASE", "CRYOFW_PKCS11_MODULE", "CRYOFW_KEYRING"):
        patch.delenv(name, raising=False)
    return Hsm(directory)


@pytest.fixture
def hsm(hsm_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hsm]:
    """A copy of the token for one test, in whose folder it runs."""
    directory = Path(shutil.copytree(hsm_template, tmp_path / "hsm"))
    monkeypatch.chdir(tmp_path)
    yield configured(directory, monkeypatch)
    close_tokens()


def uri(rest: str) -> str:
    return f"pkcs11:{rest}?module-name=softhsm2"


def add(name: str, rest: str, purpose: str = "image") -> None:
    assert run(["keys", "add", name, "--uri", uri(rest), "--purpose", str(purpose)]) == 0


def sign_with(name: str, purpose: Purpose = Purpose.IMAGE, pin: str | None = PIN) -> PublicKey:
    """Sign a message, which is verified; return the public half."""
    signer = load_keyring(Path("keys.yaml")).signer(
        name, purpose, no_passphrase, lambda _name: pin.encode() if pin else None
    )
    message = b"m" * 32
    signer.public_key.verify(signer.sign(message), message)
    return signer.public_key


def boots(image: bytes, key: PublicKey) -> bytes:
    """The hash of what a simulated bootloader starts, given `image` to test; b"" for nothing."""
    storage = MemoryStorage(2 * SLOT_SIZE)
    storage.write(SLOT_SIZE, image)
    bootloader = Bootloader(Flash(storage, sector_size=4096, write_size=4), SignatureCheck([key]))
    bootloader.set_pending(permanent=False)
    started = bootloader.boot().image
    return started.hash if started else b""


@pytest.mark.parametrize(
    ("label", "algorithm"), [("image", Algorithm.ECDSA_P256), ("release", Algorithm.ED25519)]
)
def test_an_image_signed_in_the_token_is_verified_by_imgtool_and_boots(
    hsm: Hsm,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    label: str,
    algorithm: Algorithm,
) -> None:
    add("k", f"token=lab;object={label}")
    Path("firmware.bin").write_bytes(bytes(range(1, 256)) * 200)
    monkeypatch.setenv("CRYOFW_PIN", PIN)
    capsys.readouterr()

    assert run(["sign", "firmware.bin", "image.bin", "-v", "1.2.3", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["key"]["algorithm"] == algorithm
    assert run(["verify", "image.bin"]) == 0
    imgtool = [str(BIN / "imgtool"), "verify", "-k", "keys/k.pub.pem", "image.bin"]
    subprocess.run(imgtool, check=True, capture_output=True)
    image = Path("image.bin").read_bytes()
    public = load_keyring(Path("keys.yaml")).entry("k").public_key
    assert boots(image, public) == parse_image(image).hash
    assert not list(Path("keys").glob("k.pem"))


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_key_serves_each_purpose_and_no_other(hsm: Hsm, purpose: Purpose) -> None:
    add("k", "token=lab;object=release", purpose)

    sign_with("k", purpose)

    other = next(each for each in Purpose if each is not purpose)
    with pytest.raises(CryofwError, match=f"not for purpose {other}"):
        sign_with("k", other)


def test_the_token_signs_release_metadata_and_checkpoints_too(
    hsm: Hsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("root1", "root2", "targets", "online", "cc40", "log"):
        hsm.make_key(name, name.encode().hex(), "EC:edwards25519")
        add(name, f"token=lab;object={name}", "journal" if name == "log" else "release")
    add("firmware", "token=lab;object=image")
    Path("firmware.bin").write_bytes(bytes(range(1, 256)) * 200)
    monkeypatch.setenv("CRYOFW_PIN", PIN)
    roles = ["--root", "root1", "--root", "root2", "--targets", "targets", "--online", "online"]

    assert run(["sign", "firmware.bin", "image.bin", "-v", "1.0.0", "--board", "cc40"]) == 0
    assert run(["release", "init", *roles, "--product", "cc40=cc40"]) == 0
    assert run(["release", "add", "image.bin"]) == 0
    assert run(["release", "publish"]) == 0

    # python-tuf judges it, not we.
    metadata = Path("releases/metadata")
    root = Metadata[Root].from_file(str(metadata / "1.root.json"))
    root.verify_delegate("root", root)
    top = Metadata[Targets].from_file(str(metadata / "1.targets.json"))
    root.verify_delegate("targets", top)
    product = Metadata[Targets].from_file(str(metadata / "2.cc40.json"))
    top.verify_delegate("cc40", product)

    ring = load_keyring(Path("keys.yaml"))
    signer = ring.signer("log", Purpose.JOURNAL, no_passphrase)
    note = sign_note("example.org/log\n5\nhash\n", "example.org/log", signer)
    assert note.signed_by([signer.public_key]) == [signer.public_key]


def test_list_shows_the_token_key_and_needs_no_pin(
    hsm: Hsm, capsys: pytest.CaptureFixture[str]
) -> None:
    add("k", "token=lab;object=image")
    capsys.readouterr()

    assert run(["keys", "list"]) == 0

    assert uri("token=lab;object=image") in capsys.readouterr().out


def test_two_keys_in_one_token_share_a_session_and_one_question(hsm: Hsm) -> None:
    add("a", "token=lab;object=image")
    add("b", "token=lab;object=release", "release")
    ring = load_keyring(Path("keys.yaml"))
    asked: list[str] = []

    def pin(name: str) -> bytes:
        asked.append(name)
        return PIN.encode()

    first = ring.signer("a", Purpose.IMAGE, no_passphrase, pin)
    second = ring.signer("b", Purpose.RELEASE, no_passphrase, pin)

    for signer in (first, second, first):
        signer.public_key.verify(signer.sign(b"x" * 32), b"x" * 32)
    assert asked == ["a"]


def test_a_token_that_went_away_and_is_back_signs_again(hsm: Hsm) -> None:
    add("k", "token=lab;object=image")
    asked: list[str] = []

    def pin(name: str) -> bytes:
        asked.append(name)
        return PIN.encode()

    signer = load_keyring(Path("keys.yaml")).signer("k", Purpose.IMAGE, no_passphrase, pin)
    signer.sign(b"before")
    close_tokens()
    shutil.move(hsm.directory / "tokens", hsm.directory / "pulled")
    (hsm.directory / "tokens").mkdir()

    with pytest.raises(TokenMissing, match="is not there"):
        signer.sign(b"meanwhile")

    close_tokens()
    shutil.rmtree(hsm.directory / "tokens")
    shutil.move(hsm.directory / "pulled", hsm.directory / "tokens")
    signer.public_key.verify(signer.sign(b"after"), b"after")
    assert asked == ["k"]


def test_threads_take_turns(hsm: Hsm) -> None:
    add("k", "token=lab;object=image")
    signer = load_keyring(Path("keys.yaml")).signer(
        "k", Purpose.IMAGE, no_passphrase, lambda _name: PIN.encode()
    )
    made: list[bytes] = []

    def work() -> None:
        made.extend(signer.sign(b"message") for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 400
    for signature in made:
        signer.public_key.verify(signature, b"message")


def test_a_wrong_pin_is_tried_once_and_never_again(hsm: Hsm) -> None:
    add("k", "token=lab;object=image")

    with pytest.raises(PinRefused, match="tried once") as caught:
        sign_with("k", pin="000000")
    assert caught.value.exit_code == 5
    assert hsm.pin_count_low()

    with pytest.raises(PinRefused, match="refused the PIN before"):
        sign_with("k", pin=PIN)
    close_tokens()  # a new process
    sign_with("k")
    assert not hsm.pin_count_low()


def test_no_pin_at_all_is_told(hsm: Hsm) -> None:
    add("k", "token=lab;object=image")

    with pytest.raises(KeyFileError, match="wants a PIN") as caught:
        sign_with("k", pin=None)

    assert "CRYOFW_PIN" in caught.value.hint
    assert not hsm.pin_count_low()


def test_a_passphrase_in_the_environment_is_not_sent_to_the_token(
    hsm: Hsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("k", "token=lab;object=image")
    Path("firmware.bin").write_bytes(b"firmware")
    monkeypatch.setenv("CRYOFW_PASSPHRASE", "of a file")

    with Path(os.devnull).open() as nobody, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", nobody)
        assert run(["sign", "firmware.bin", "image.bin", "-v", "1.0.0"]) == 3

    assert not hsm.pin_count_low()
    assert not Path("image.bin").exists()


def test_the_pin_comes_from_the_file_that_the_uri_names(
    hsm: Hsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("pin").touch(0o600)
    Path("pin").write_text(f"{PIN}\n")
    add("k", "token=lab;object=image")
    ring = Path("keys.yaml")
    ring.write_text(ring.read_text().replace("=softhsm2", "=softhsm2&pin-source=pin"))
    monkeypatch.setenv("CRYOFW_PIN", "000000")

    load_keyring(ring).signer("k", Purpose.IMAGE, no_passphrase).sign(b"message")


def test_a_key_that_asks_for_its_pin_each_time_gets_it(hsm: Hsm) -> None:
    add("k", "token=lab;object=each-time")

    sign_with("k")
    sign_with("k")


@pytest.mark.parametrize(
    ("flag", "part"), [(PIN_LOCKED, "is locked"), (PIN_FINAL_TRY, "one wrong PIN away")]
)
def test_a_locked_token_and_one_on_its_last_try_are_left_alone(
    hsm: Hsm, flag: int, part: str
) -> None:
    add("k", "token=lab;object=image")
    hsm.set_flag(flag)

    with pytest.raises(TokenLocked, match=part) as caught:
        sign_with("k")

    assert caught.value.exit_code == 5
    assert caught.value.hint


def test_a_missing_token_names_those_that_are_there(hsm: Hsm) -> None:
    add("k", "token=lab;object=image")
    ring = Path("keys.yaml")
    ring.write_text(ring.read_text().replace("token=lab", "token=vault"))

    with pytest.raises(TokenMissing, match=r"'vault' is not there.*'lab'") as caught:
        sign_with("k")

    assert caught.value.exit_code == 69


def test_two_tokens_of_one_name_need_their_serial(hsm: Hsm) -> None:
    add("k", "token=lab;object=image")
    hsm.make_token("lab")

    with pytest.raises(KeyringError, match="2 tokens match") as caught:
        sign_with("k")

    assert "serial=" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "rest", "part"),
    [
        ("twin", "object=twin", "2 private keys match"),
        ("missing", "object=gone", "has no private key 'gone'"),
        ("type", "object=big", "wrong type: it is RSA"),
        ("curve", "object=other-curve", "wrong type: it is EC on another curve"),
        ("kind", "object=release", "wrong type: it is ed25519, the keyring says ecdsa-p256"),
        ("another", "id=%04", "is another one: the token has"),
    ],
)
def test_a_key_that_is_not_the_one_is_told_apart(hsm: Hsm, name: str, rest: str, part: str) -> None:
    add("k", "token=lab;object=image")
    ring = Path("keys.yaml")
    ring.write_text(ring.read_text().replace("object=image", rest))

    with pytest.raises(KeyringError, match=part) as caught:
        sign_with("k")

    assert caught.value.exit_code == 3
    assert caught.value.hint


@pytest.mark.parametrize(
    ("rest", "part"),
    [
        ("token=lab;object=twin", "2 public keys match"),
        ("token=lab;object=gone", "no public key"),
        ("token=lab;object=big", "wrong type"),
        ("token=lab;object=image;pin-value=1", "a PIN has no place"),
    ],
)
def test_add_refuses_what_is_not_one_usable_key_and_leaves_nothing(
    hsm: Hsm, capsys: pytest.CaptureFixture[str], rest: str, part: str
) -> None:
    assert run(["keys", "add", "k", "--uri", uri(rest), "--purpose", "image"]) == 3

    assert part in capsys.readouterr().err
    assert not Path("keys.yaml").exists()
    assert not Path("keys/k.pub.pem").exists()


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("?module-name=nosuch", "no PKCS#11 module 'nosuch'"),
        ("?module-path=gone.so", "is not there"),
        ("?module-path=keys.yaml", "cannot load the PKCS#11 module"),
        ("", "nothing says which PKCS#11 module"),
    ],
)
def test_a_missing_module_is_told(hsm: Hsm, query: str, part: str) -> None:
    add("k", "token=lab;object=image")
    ring = Path("keys.yaml")
    ring.write_text(ring.read_text().replace("?module-name=softhsm2", query))

    with pytest.raises(KeyringError, match=part) as caught:
        sign_with("k")

    assert caught.value.hint


def test_the_module_may_come_from_the_environment(
    hsm: Hsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("k", "token=lab;object=image")
    ring = Path("keys.yaml")
    ring.write_text(ring.read_text().replace("?module-name=softhsm2", ""))
    module = next(Path("/usr/lib").glob("**/softhsm/libsofthsm2.so"))
    monkeypatch.setenv("CRYOFW_PKCS11_MODULE", str(module))

    sign_with("k")


def test_without_python_pkcs11_the_extra_is_named(hsm: Hsm) -> None:
    add("k", "token=lab;object=image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pkcs11", None)
        with pytest.raises(KeyringError, match="python-pkcs11") as caught:
            sign_with("k")

    assert caught.value.hint == "pip install 'cryofw[hsm]'"


@pytest.mark.parametrize(("typed", "exit_code"), [(PIN, 0), ("000000", 5)])
def test_a_pin_typed_at_a_terminal_is_not_shown(hsm: Hsm, typed: str, exit_code: int) -> None:
    add("k", "token=lab;object=image")
    Path("firmware.bin").write_bytes(b"firmware")
    controller, terminal = pty.openpty()
    words = [str(BIN / "cryofw"), "sign", "firmware.bin", "image.bin", "-v", "1.0.0"]
    process = subprocess.Popen(words, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    seen = read_until(controller, lambda text: b"PIN of the token of key k" in text)
    os.write(controller, f"{typed}\n".encode())
    seen += read_until(controller, lambda _text: False)

    assert process.wait(30) == exit_code
    assert typed.encode() not in seen
    assert Path("image.bin").exists() is (exit_code == 0)


def read_until(descriptor: int, done: Callable[[bytes], bool]) -> bytes:
    """Read until `done`, or until the other side is gone."""
    text = b""
    while not done(text):
        try:
            data = os.read(descriptor, 4096)
        except OSError:
            return text
        if not data:
            return text
        text += data
    return text
