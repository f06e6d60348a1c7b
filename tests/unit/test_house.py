"""The house: what lies at the top, and that documents, pipeline and code say the same."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from cryofw.cli.main import EXIT_BROKEN_PIPE, EXIT_BUG, EXIT_INTERRUPTED, EXIT_USAGE, cli
from cryofw.errors import CryofwError
from cryofw.fleet import load_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
TOP_LEVEL = {
    ".ci", ".gitignore", ".gitlab-ci.yml", "CHANGELOG.md", "LICENSE", "README.md", "cryofw",
    "docs", "fleet.yaml", "keys.example", "pyproject.toml", "tests",
}  # fmt: skip
# One letter of each is in brackets, so that this file does not find itself.
FOREIGN = re.compile(
    rb"/h[o]me/|/r[o]ot/|/w[o]rk/|/U[s]ers/|py[p]i\.org|python[h]osted|np[m]js|d[o]cker\.io"
    rb"|g[h]cr\.io|qu[a]y\.io|gc[r]\.io"
)


def project_files() -> list[Path]:
    """The files of the project: what git tracks, or, in an unpacked archive, what lies there."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        # The tree may belong to another user, as it does in containers of CI jobs.
        git = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
        listed = subprocess.run(git, cwd=ROOT, capture_output=True, check=True).stdout
        names = [Path(name) for name in listed.decode().split("\0") if name]
        return [name for name in names if (ROOT / name).is_file()]
    return sorted(walk(Path(), (ROOT / ".gitignore").read_text("utf-8").split()))


def walk(directory: Path, ignored: list[str]) -> Iterator[Path]:
    for path in (ROOT / directory).iterdir():
        name = directory / path.name
        candidates = {path.name, f"/{name}"}
        patterns = [pattern.rstrip("/") for pattern in ignored]
        if path.name == ".git" or any(fnmatch(c, p) for c in candidates for p in patterns):
            continue
        if path.is_dir():
            yield from walk(name, ignored)
        else:
            yield name


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_the_top_level_holds_what_it_should() -> None:
    found = {name.parts[0] for name in project_files()}

    assert found == TOP_LEVEL


def test_both_ways_to_list_the_project_agree_on_what_is_part_of_it() -> None:
    """In an archive there is no git; ignored files must not count there either."""
    walked = set(walk(Path(), read(".gitignore").split()))

    assert set(project_files()) <= walked
    assert not [name for name in walked if "__pycache__" in name.parts or ".venv" in name.parts]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{name}: {match.group().decode()}"
        for name in project_files()
        if (match := FOREIGN.search((ROOT / name).read_bytes()))
    ]

    assert found == []


def parsed(words: list[str]) -> str:
    """Parse a command line as `cryofw` would, without running it; the command's name.

    Raises:
        click.UsageError: there is no such command or option.
    """
    command: click.Command = cli
    path = "cryofw"
    while isinstance(command, click.Group):
        with click.Context(command, info_name=path) as context:
            name, found, words = command.resolve_command(context, words)
        assert name is not None
        assert found is not None
        command, path = found, f"{path} {name}"
    command.make_context(path, list(words))
    return path


def cryofw_calls(script: str) -> list[list[str]]:
    """The arguments of each call of cryofw in some lines of shell."""
    calls = re.split(r"&&|\n", re.sub(r"\s#.*", "", script))
    split = [shlex.split(call, comments=True) for call in calls]
    return [words[1:] for words in split if words[:1] == ["cryofw"]]


def pipeline() -> dict[str, Any]:
    loaded = yaml.safe_load(read(".gitlab-ci.yml"))
    assert isinstance(loaded, dict)
    return loaded


def pipeline_script() -> str:
    lines: list[str] = []
    for job in pipeline().values():
        if isinstance(job, dict):
            for part in ("before_script", "script", "after_script"):
                wanted = job.get(part, [])
                lines += [wanted] if isinstance(wanted, str) else wanted
    return "\n".join(lines)


def shell_blocks(document: str) -> str:
    return "\n".join(re.findall(r"```sh\n(.*?)```", document, flags=re.DOTALL))


def test_the_pipeline_calls_commands_that_exist() -> None:
    names = {parsed(words) for words in cryofw_calls(pipeline_script())}

    assert {"cryofw build", "cryofw sign", "cryofw deploy", "cryofw approve"} < names
    assert "cryofw audit verify" in names


def test_every_job_of_the_pipeline_that_deploys_runs_the_plan_that_was_signed() -> None:
    jobs = pipeline()
    assert jobs[".deploy"]["extends"] == ".acts"
    assert "CRYOFW_ID_TOKEN" in jobs[".acts"]["id_tokens"]
    for name in ("deploy-rig", "deploy-canary", "deploy-fleet"):
        deploys = [c for c in cryofw_calls("\n".join(jobs[name]["script"])) if c[0] == "deploy"]
        assert [call[1:3] for call in deploys] == [["--plan", "plan.json"]], name
        assert jobs[name]["extends"] == ".deploy"


def test_what_approvers_sign_comes_after_the_canary_and_before_the_fleet() -> None:
    jobs = pipeline()
    signed, fleet = jobs["approve-fleet-signed"], jobs["deploy-fleet"]

    assert jobs["deploy-canary"]["script"][-1].index("--statement")
    assert all(rule["allow_failure"] is False for rule in signed["rules"])
    under_policy, plain = fleet["rules"]
    assert "$CRYOFW_POLICY" in under_policy["if"]
    assert under_policy["needs"] == ["sign", "deploy-canary", "approve-fleet-signed"]
    assert plain["needs"] == ["sign", "approve-fleet"]


def test_the_readme_calls_commands_that_exist() -> None:
    calls = [parsed(words) for words in cryofw_calls(shell_blocks(read("README.md")))]

    assert "cryofw demo" in calls
    assert len(calls) >= 9


@pytest.mark.parametrize(
    "words", [["depoly"], ["deploy", "x.bin", "--stagee", "a"], ["audit", "prvoe"]]
)
def test_a_call_that_does_not_exist_would_be_found(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        parsed(words)


def documents() -> list[Path]:
    return [name for name in project_files() if name.suffix == ".md"]


def test_the_documents_name_commands_that_exist() -> None:
    for name in documents():
        for call in re.findall(r"`cryofw ([a-z][a-z-]*)", read(str(name))):
            assert call in cli.list_commands(click.Context(cli)), f"{name}: cryofw {call}"


def test_the_links_of_the_documents_lead_somewhere() -> None:
    for name in documents():
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(str(name))):
            assert (ROOT / name.parent / target).exists(), f"{name}: {target}"


def test_the_paths_of_the_architecture_exist() -> None:
    text = read("docs/architecture.md")
    planned = {"telemetry/", "report/", "gameday/"}
    paths = set(re.findall(r"`((?:[\w.]+/)+[\w.]*)`", text)) - planned

    assert len(paths) > 30
    assert [
        p for p in paths if not any((base / p).exists() for base in (ROOT, ROOT / "cryofw"))
    ] == []


def test_the_architecture_shows_the_layers_that_are_checked() -> None:
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = contracts[0]["layers"]

    assert "\n".join(f"    {layer}" for layer in layers) in read("docs/architecture.md")


def test_the_stages_of_the_pipeline_are_those_of_the_fleet() -> None:
    calls = cryofw_calls(pipeline_script())
    named = [words[words.index("--stage") + 1] for words in calls if "--stage" in words]
    stages = [stage.name for stage in load_fleet(ROOT / "fleet.yaml").stages]

    assert list(dict.fromkeys(named)) == stages


def test_each_job_that_deploys_keeps_its_state_whatever_happens() -> None:
    jobs = pipeline()
    frame = jobs[".deploy"]

    assert frame["artifacts"]["when"] == "always"
    assert frame["interruptible"] is False
    assert frame["retry"]["exit_codes"] == [69]
    acting = [
        name
        for name, job in jobs.items()
        if isinstance(job, dict)
        and re.search(r"cryofw (deploy|approve|plan)", str(job.get("script")))
    ]
    assert acting == [
        "plan", "deploy-rig", "deploy-canary", "approve-fleet", "approve-fleet-signed",
        "deploy-fleet",
    ]  # fmt: skip
    # What hands on a state directory: the signed approval hands on a signature only.
    keepers = set(acting) - {"approve-fleet-signed"}
    assert jobs["approve-fleet-signed"]["artifacts"]["paths"] == ["approvals/*.sig"]
    for name in acting:
        job = jobs[name]
        assert job["extends"] == ".deploy"
        for needs in [job["needs"]] if "needs" in job else [r["needs"] for r in job["rules"]]:
            sources = [need for need in needs if isinstance(need, str) and need in keepers]
            assert len(sources) == (0 if name == acting[0] else 1), f"{name} mixes two states"
    assert jobs["approve-fleet"]["rules"][-1]["allow_failure"] is False


def test_ci_runs_the_readmes_command() -> None:
    blocks = [
        line for line in shell_blocks(read("README.md")).splitlines() if "python -m tests" in line
    ]
    steps = [step.strip() for step in blocks[0].split("&&")]
    script = read(".ci/run").splitlines()

    assert steps[-2:] == ["pip install -e '.[test]'", "python -m tests"]
    assert script[-2:] == steps[-2:]
    assert pipeline()["test"]["script"] == ".ci/run"


def all_errors(error: type[CryofwError] = CryofwError) -> Iterator[type[CryofwError]]:
    yield error
    for derived in error.__subclasses__():
        yield from all_errors(derived)


def test_the_table_of_exit_codes_is_complete() -> None:
    text = read("docs/operating.md")
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", text, flags=re.MULTILINE)}
    used = {error.exit_code for error in all_errors()}

    assert table == used | {0, EXIT_BUG, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE}
