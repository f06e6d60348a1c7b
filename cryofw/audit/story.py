"""The journal as a story for people: when, who, what, to which device, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.audit.device_words import claimed_log, log_name
from cryofw.health import in_short
from cryofw.rollout.story import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cryofw.journal import Record

_PHRASES: dict[str, str] = {
    "rollout-started": "started the rollout of {version}",
    "rollout-resumed": "resumed the rollout",
    "stage-approved": "approved stage {stage}",
    "approval-voided": "the approval of stage {stage} by {principal} does not count any more",
    "abort-requested": "asked to abort",
    "pause-requested": "asked to pause",
    "rollback-requested": "asked to roll everything back",
    "stop-requested": "gave the emergency stop",
    "quarantine-cleared": "cleared {device} from quarantine",
    "device-accepted": "accepted {device}, which was held",
    "device-adopted": "adopted {device} as it is: it runs {hash} ({image})",
    "device-pinned": "pinned {device} to version {version}",
    "device-excluded": "excluded {device} from every rollout",
    "device-unpinned": "unpinned {device}",
    "recovery-requested": "recovering {device} with {version}, over its bootloader",
    "device-recovered": "{device} runs {hash} again",
    "recovery-failed": "{device} was NOT recovered",
    "policy-pinned": "put version {version} of the policy in force, from {source}",
    "policy-unpinned": "took the policy out of force: acts are not signed from here on",
    "device-check-requested": "checking {device}",
    "device-checked": "{device} is the right device and runs {version}",
    "device-skipped": "{device} runs this release already",
    "device-refused": "{device} was refused",
    "device-unreachable": "{device} does not answer",
    "image-upload-requested": "uploading {hash} to {device}",
    "image-uploaded": "{device} holds {hash}",
    "upload-failed": "{device} did not take the image",
    "image-test-requested": "{device} is asked to boot {hash} on trial",
    "test-booted": "{device} runs {hash} on trial",
    "device-reverted": "{device} went back to {hash} by itself",
    "image-confirm-requested": "confirming {hash} on {device}",
    "image-confirmed": "{device} runs {hash} for good",
    "confirm-refused": "{device} was not confirmed",
    "device-rollback-requested": "taking {device} back to {hash}",
    "power-cycle-requested": "cycling the power of {device}",
    "power-cycled": "the power of {device} was cycled",
    "device-rolled-back": "{device} is back on {hash}",
    "device-stuck": "{device} is STUCK",
    "stage-started": "stage {stage} begins",
    "wave-started": "stage {stage}, wave {wave} of {of} (devices: {devices})",
    "cohort-frozen": "{devices} will be judged against {controls}",
    "common-cause-found": "{device} is silent, and not alone",
    "common-cause-ended": "{device} is watched again",
    "baseline-taken": "the baseline of {device} is taken",
    "verdict-reached": "verdict on {device}: {outcome}",
    "hold-expired": "the hold of {device} has expired",
    "retry-granted": "{device} gets attempt {attempt}",
    "failure-spread": "the failure of {device} reaches the {reach} (devices taken back: {count})",
    "device-abandoned": "the image on {device} is left unused",
    "device-quarantined": "{device} is in quarantine",
    "gate-passed": "the gate of stage {stage} is PASSED",
    "gate-failed": "the gate of stage {stage} is FAILED",
    "rollout-paused": "the rollout waits for: {needs}",
    "rollout-ended": "the rollout has ended: {outcome}",
    "release-verified": "took release {release} (number {number}) from {source}",
    "expiry-forgiven": "accepted expired metadata: {roles}",
    "guard-overridden": "passed over the guard: {guard} {cryostat}",
    "cryostat-base-taken": "{cryostat} rests at {base_k} K",
    "cryostat-frozen": "{cryostat} is FROZEN",
    "cryostat-thawed": "{cryostat} has thawed",
    "cryostat-held-out": "{cryostat} is held out of the wave",
    "cryostat-admitted": "{cryostat} may be flashed again",
    "device-safe-requested": "{device} is asked into its safe state",
    "device-calibration-requested": "{device} is calibrated",
    "device-calibrated": "the calibration of {device} ended",
    "calibration-failed": "{device} was not calibrated",
    "device-made-safe": "{device} is in its safe state",
    "device-not-safe": "{device} could not be made safe",
    "upload-interrupted": "the upload to {device} was interrupted",
    "coefficients-read-requested": "reading the coefficients of {device}",
    "coefficients-read": "{device} has told its coefficients",
    "coefficients-apply-requested": "giving {device} the coefficients of {hash}",
    "coefficients-applied": "{device} is on trial with its coefficients",
    "coefficients-save-requested": "letting {device} keep its coefficients",
    "coefficients-saved": "{device} keeps its coefficients",
    "coefficients-restore-requested": "giving {device} its old coefficients back",
    "coefficients-restored": "{device} has its old coefficients again",
    "coefficients-deferred": "the coefficients of {device} have to wait",
    "coefficients-failed": "the coefficients of {device} FAILED",
    "journal-closed": "closed this journal",
    "journal-continued": "began this journal after {size} records of {origin}",
    "journal-rehomed": "took this journal for the one of {origin} ({size} records), which is lost",
    "device-attested": "attests that {device} runs {hash}: {state}",
    "journal-repaired": "a torn line of {dropped_bytes} bytes was cut off",
}
_REASONS = ("why", "how", "hint")


@dataclass(frozen=True)
class Filter:
    """Which records are shown; an empty field lets everything pass."""

    device: str = ""
    rollout: str = ""
    kind: str = ""
    around: int | None = None
    span: int = 5
    who: str = ""

    def passes(self, record: Record) -> bool:
        """Whether `record` is to be shown; `rollout` may be the beginning of an id."""
        return (
            self.device in ("", record.device)
            and record.rollout.startswith(self.rollout)
            and self.kind in ("", record.kind)
            and self.who in ("", record.who, record.fields.get("by"))
            and (self.around is None or abs(record.n - self.around) <= self.span)
        )


@dataclass(frozen=True)
class StoryLine:
    """One record, told; `fields` are its own, as they lie in the journal."""

    n: int
    day: str
    time: str
    who: str
    rollout: str
    text: str
    reasons: tuple[str, ...]
    kind: str
    fields: Mapping[str, object]


def kinds_told() -> frozenset[str]:
    """Every kind of record that has a phrase."""
    return frozenset(_PHRASES)


def tell(records: Iterable[Record], wanted: Filter) -> Iterator[StoryLine]:
    """The records that pass, told; images are called by their version once it is known."""
    versions: dict[str, str] = {}
    for record in records:
        if record.kind == "rollout-started":
            versions[str(record.fields.get("release"))] = str(record.fields.get("version"))
        elif record.kind in {"device-checked", "recovery-requested"}:
            image = str(record.fields.get("hash"))
            versions.setdefault(image, str(record.fields.get("version")))
        if wanted.passes(record):
            yield _told(record, versions)


def _told(record: Record, versions: Mapping[str, str]) -> StoryLine:
    by = str(record.fields.get("by") or record.who)
    phrase = _PHRASES.get(record.kind)
    words = _Words(record, lambda image: versions.get(image) or image[:12])
    text = phrase.format_map(words) if phrase else _plain(record)
    # The odds of a finding are told once, with the verdict; what follows names it in short.
    tell_reason = str if record.kind == "verdict-reached" else in_short
    told = [
        f"{'' if name == 'why' else name + ': '}{tell_reason(str(record.fields[name]))}"
        for name in _REASONS
        if record.fields.get(name)
    ]
    reasons = (*told, *_signed(record), *_printed(record))
    return StoryLine(
        n=record.n,
        day=record.t[:10],
        time=record.t[11:19],
        who=printable(by),
        rollout=printable(record.rollout),
        text=printable(text),
        reasons=tuple(printable(reason) for reason in reasons),
        kind=record.kind,
        fields=record.fields,
    )


def _printed(record: Record) -> tuple[str, ...]:
    """Where lies what the device had printed by then."""
    claim = claimed_log(record)
    if claim is None or not claim[0]:
        return ()
    return (f"its last {claim[1]} lines: {log_name(claim[0])}",)


def _signed(record: Record) -> tuple[str, ...]:
    """With which key, and in which CI job, if that is known."""
    proof = record.fields.get("proof")
    if not isinstance(proof, dict) or not proof.get("key"):
        return ()
    job = proof.get("job")
    where = ""
    if isinstance(job, dict) and job:
        where = f", in job {job.get('job_id')} of {job.get('project_path')}"
    return (f"signed with {proof['key']}{where}",)


class _Words(dict[str, object]):
    """The fields of a record for a phrase; one that is missing shows as `?`."""

    def __init__(self, record: Record, image_name: Callable[[str], str]) -> None:
        super().__init__({name: _plainly(value) for name, value in record.fields.items()})
        self["device"] = _unmistakable(record.device)
        if isinstance(image := record.fields.get("hash"), str):
            self["hash"] = image_name(image)

    def __missing__(self, key: str) -> str:
        return "?"


def _unmistakable(device: str | None) -> str:
    """No fleet.yaml names a device otherwise than in ASCII: what looks alike shows by its code."""
    return str(device).encode("ascii", "backslashreplace").decode()


def _plainly(value: object) -> object:
    """A list of names as people write it."""
    if not isinstance(value, list):
        return value
    return ", ".join(str(one) for one in value) or "nobody"


def _plain(record: Record) -> str:
    about = f" {_unmistakable(record.device)}" if record.device else ""
    return record.kind.replace("-", " ") + about
