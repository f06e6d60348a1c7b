"""Who writes the coefficients of a release, as fleet.yaml says."""

from __future__ import annotations

import pytest

from cryofw.fleet import FleetError, parse_fleet

TEXT = """\
schema: cryofw.fleet/v1
lab: small
board: cc40
defaults:
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, flash: 60 mW, max_rise: 150 mK}
  calibration: {metrics: {snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5}}}
  coefficients: {command: [coefficients, "${stage}/${controller}"]}
stages: [{name: all, targets: [cryo-1, cryo-2], soak: 1 h}]
cryostats:
  cryo-1:
    controllers: {a: {port: "sim://a"}, b: {port: "sim://b", coefficients: device}}
  cryo-2:
    coefficients: {command: [other, "${cryostat}"]}
    controllers: {c: {port: "sim://c"}}
simulation: {metrics: {snr: {nominal: 27}}, coefficients: {readout/gain: 1}}
"""


def test_the_nearest_layer_says_who_writes_them() -> None:
    fleet = parse_fleet(TEXT)
    assert {name: one.coefficient_command for name, one in fleet.by_name.items()} == {
        "a": ("coefficients", "4k/a"),
        "b": None,
        "c": ("other", "cryo-2"),
    }
    assert fleet.simulation.coefficients == {"readout/gain": 1.0}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("coefficients: device", "coefficients: jtag", "`jtag` writes no coefficients"),
        ("{command: [coeff", "{device: true, command: [coeff", "either the device keeps"),
        ("${stage}", "${port}", "the command uses the unknown `${port}`"),
        ("readout/gain: 1}", "readout//gain: 1}", "is not a name"),
        ("readout/gain: 1}", "readout/gain: .nan}", "expected a finite number"),
    ],
)
def test_defects_are_named(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(FleetError) as caught:
        parse_fleet(TEXT.replace(old, new, 1))
    found = [one.message for one in caught.value.findings]
    assert any(message in one for one in found), found
