"""A backtest on what Debian's Prometheus keeps: hours of history, with a hole in it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from cryofw.cli.main import run
from tests.unit.engine.small_recording import FLEET, START_S, record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.peer, pytest.mark.realtime]

HOURS = 11  # room for more rollouts than the ten that are the least
HOLE_S = (4 * 3600.0, 4.5 * 3600.0)


def write_history(directory: Path) -> None:
    """Healthy noise that ended a quarter of an hour ago."""
    shift_s = int(time.time()) - 900 - (START_S + HOURS * 3600)
    lines = []
    for metric in ("jitter", "snr"):
        lines.append(f"# TYPE {metric} gauge")
        for (device, name), series in record(HOURS).series.items():
            if name == metric:
                lines += [
                    f'{metric}{{controller="{device}"}} {value:.4f} {t_s + shift_s:.3f}'
                    for t_s, value in series
                    if not HOLE_S[0] <= t_s - START_S < HOLE_S[1]
                ]
    source = directory / "history.txt"
    source.write_text("\n".join([*lines, "# EOF", ""]))
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", source, directory / "data"],
        check=True,
        capture_output=True,
    )


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    for tool in ("prometheus", "promtool"):
        assert shutil.which(tool), f"{tool} is missing; this check needs `apt install prometheus`"
    directory = tmp_path_factory.mktemp("history")
    write_history(directory)
    (directory / "prometheus.yml").write_text("scrape_configs: []\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline_s = time.monotonic() + 30
        while not is_ready(f"http://127.0.0.1:{port}"):
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline_s, "Prometheus did not come up in time"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def fleet(tmp_path: Path, url: str) -> Path:
    text = FLEET.replace("board: cc40", f'board: cc40\ntelemetry: {{prometheus: {{url: "{url}"}}}}')
    for metric, reject in (("snr", "1.5"), ("jitter", "2")):
        query = f"source: prometheus, query: '{metric}{{controller=\"${{controller}}\"}}'"
        text = text.replace(f"reject: {reject}}}", f"reject: {reject}, {query}, stale: 30 s}}")
    (tmp_path / "fleet.yaml").write_text(text)
    return tmp_path / "fleet.yaml"


def test_a_backtest_asks_prometheus_itself(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["gate", "backtest", "--data", "prometheus", "--fleet", str(fleet), "--json"]
    assert run([*command, "--days", "1", "--shift", "snr=1.5"]) == 0
    answer = json.loads(capsys.readouterr().out)

    assert answer["absent_devices"] == answer["absent_metrics"] == []
    assert answer["recorded_s"] == pytest.approx(HOURS * 3600, abs=60)
    assert answer["rollouts"] >= 10
    assert answer["false"][0] == 0
    assert answer["noise"]["snr"] == pytest.approx(0.24, abs=0.05)
    stages = {one["stage"]: one for one in answer["shifts"] if one["wave"] is None}
    assert stages["rig"]["found"][0] >= stages["rig"]["found"][1] - 2


def test_a_time_without_samples_is_said(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["gate", "backtest", "--data", "prometheus", "--fleet", str(fleet)]
    assert run([*command, "--days", "0.005"]) == 69
    assert "Prometheus has no sample of any metric in that time" in capsys.readouterr().err
