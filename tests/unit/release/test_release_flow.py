"""From the publisher to the lab, and back to an older release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.release import Announcement, release_again, revoke_release

if TYPE_CHECKING:
    from tests.unit.release.publisher import Publisher


def test_a_release_is_not_there_before_it_is_published(publisher: Publisher) -> None:
    publisher.add("1.0.0")
    assert publisher.lab().versions() == []

    publisher.publish()

    assert publisher.lab().versions() == ["1.0.0"]
    client = publisher.lab().client()
    chosen = client.choose("cc40", "latest")
    assert client.read(chosen) == publisher.image("1.0.0")


def test_again(publisher: Publisher) -> None:
    publisher.release("1.0.0", "1.1.0")
    lab = publisher.lab()
    assert lab.client().choose("cc40", "latest").record.version == "1.1.0"
    release_again(publisher.repository(), "cc40", "1.0.0", Announcement("rita", "drifts"))
    publisher.publish()
    assert lab.client().choose("cc40", "latest").record.version == "1.0.0"
    revoke_release(publisher.repository(), "cc40", "1.1.0", "rita", "drifts")
    publisher.publish()
    assert lab.client().choose("cc40", "latest").record.version == "1.0.0"
