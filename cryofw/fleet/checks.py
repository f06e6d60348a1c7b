"""Cross-checks of a fleet.yaml: names, ports, hardware ids, hooks, stages, waves.

Each check looks at what could be read, so that one defect does not hide another.
"""

from __future__ import annotations

import difflib
import re
from itertools import pairwise
from typing import TYPE_CHECKING

from cryofw.fleet.document import Problem
from cryofw.fleet.fleet import Count, Share
from cryofw.fleet.quantity import duration_text
from cryofw.fleet.settings import Layers, at_path
from cryofw.fleet.source import FromSimulation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cryofw.fleet.document import Document, Path
    from cryofw.fleet.fleet import Controller, Cryostat, Stage

_SCHEMES = ("sim", "rfc2217", "socket", "tls")
_NETWORK = re.compile(
    r"(rfc2217|socket|tls)://\[?[A-Za-z0-9._:-]+\]?:([0-9]{1,5})(?:/?\?([^ #]*))?"
)
_TLS_PARAMETER = re.compile(r"(ca|cert|key)=/[^&=]+|(name)=[A-Za-z0-9._:-]+")
_SIMULATED = re.compile(r"sim://[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LOCAL = re.compile(r"/[^\0]+|COM[0-9]{1,3}")


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A hint that names the nearest of `known`, or all of them if none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(str(word), names, n=1)
    if near:
        return f"did you mean `{near[0]}`?"
    return f"known: {', '.join(names[:12])}" if names else ""


def written_controllers(document: Document) -> dict[Path, object]:
    """Every controller as written, by its path."""
    found: dict[Path, object] = {}
    cryostats = at_path(document.value, ("cryostats",))
    for cryostat in cryostats if isinstance(cryostats, dict) else ():
        raw = at_path(document.value, ("cryostats", cryostat, "controllers"))
        for name, value in raw.items() if isinstance(raw, dict) else ():
            found["cryostats", cryostat, "controllers", name] = value
    return found


def check_controllers(document: Document) -> Iterator[Problem]:
    """Names, ports and hardware ids are used once; network ports have one owner."""
    names: dict[object, Path] = {}
    ports: dict[object, Path] = {}
    hardware: dict[object, Path] = {}
    for path, raw in written_controllers(document).items():
        name = path[-1]
        if name in names:
            hint = f"it stands in `{names[name][1]}` too"
            yield Problem(path, f"the controller `{name}` is in two cryostats", hint, on_key=True)
        names.setdefault(name, path)
        if not isinstance(raw, dict):
            continue
        port, hw = raw.get("port"), raw.get("hw")
        if isinstance(port, str) and port:
            yield from _check_port(document, path, port)
            key = port.split("?")[0].rstrip("/").lower() if "://" in port else port
            if key in ports:
                hint = f"`{ports[key][-1]}` hangs there already"
                yield Problem((*path, "port"), f"the port `{port}` is used twice", hint)
            ports.setdefault(key, path)
        if isinstance(hw, str):
            if hw in hardware:
                hint = f"`{hardware[hw][-1]}` has it already"
                yield Problem((*path, "hw"), f"the hardware id `{hw}` is used twice", hint)
            hardware.setdefault(hw, path)


def _check_port(document: Document, path: Path, port: str) -> Iterator[Problem]:
    at = (*path, "port")
    network = _NETWORK.fullmatch(port)
    if network is not None:
        if not 0 < int(network[2]) < 65536:
            yield Problem(at, f"`{port}`: {network[2]} is not a TCP port", "1 to 65535")
        owner = Layers(document, (("defaults",), path[:2], path)).merged("owner")
        if owner is None:
            hint = "name the one host that may drive it, for example `owner: host-a.lab`"
            yield Problem(at, f"the network port of `{path[-1]}` needs an `owner`", hint)
        if network[1] == "tls":
            yield from _check_tls(at, port, network[3] or "")
        return
    if _SIMULATED.fullmatch(port) or _LOCAL.fullmatch(port):
        return
    scheme, separator, _ = port.partition("://")
    if not separator:
        hint = "write the whole path, such as /dev/serial/by-id/..., or a URL"
        yield Problem(at, f"`{port}` is not a port", hint)
    elif scheme not in _SCHEMES:
        yield Problem(at, f"unknown kind of port `{scheme}://`", did_you_mean(scheme, _SCHEMES))
    else:
        shape = "sim://NAME" if scheme == "sim" else f"{scheme}://HOST:PORT"
        yield Problem(at, f"`{port}` is not a port", f"the form is {shape}")


def _check_tls(at: Path, port: str, query: str) -> Iterator[Problem]:
    """The parameters of a tls:// port, as far as they can be judged without its host's files."""
    seen: list[str] = []
    for item in query.split("&") if query else ():
        match = _TLS_PARAMETER.fullmatch(item)
        if match is None:
            hint = "known: ca=, cert= and key= with an absolute path, name= with a host name"
            yield Problem(at, f"`{port}`: `{item}` is no parameter of a tls:// port", hint)
            return
        seen.append(match[1] or match[2])
    twice = next((name for name in seen if seen.count(name) > 1), None)
    if twice:
        yield Problem(at, f"`{port}`: `{twice}` stands twice")
    elif "key" in seen and "cert" not in seen:
        yield Problem(at, f"`{port}`: a key without its certificate", "add cert=FILE")


def check_stages(document: Document) -> Iterator[Problem]:
    """Stage names are unique, targets exist and stand in one stage only."""
    stages = at_path(document.value, ("stages",))
    cryostats = at_path(document.value, ("cryostats",))
    known = [str(name) for name in cryostats] if isinstance(cryostats, dict) else None
    names: set[str] = set()
    used: dict[str, object] = {}
    for index in range(len(stages) if isinstance(stages, list) else 0):
        name = at_path(document.value, ("stages", index, "name"))
        if isinstance(name, str):
            if name in names:
                yield Problem(("stages", index, "name"), f"two stages are called `{name}`")
            names.add(name)
        targets = at_path(document.value, ("stages", index, "targets"))
        for place, target in enumerate(targets if isinstance(targets, list) else ()):
            at = ("stages", index, "targets", place)
            if not isinstance(target, str):
                continue
            if known is not None and target not in known:
                hint = did_you_mean(target, known)
                yield Problem(at, f"unknown target `{target}`: no such cryostat", hint)
            elif target in used:
                hint = f"stage `{used[target]}` has it already"
                yield Problem(at, f"the cryostat `{target}` is in two stages", hint)
            used.setdefault(target, name)


def check_hooks(document: Document, controllers: list[Controller]) -> Iterator[Problem]:
    """A hook's siblings exist, and a hook that two controllers share is declared as shared."""
    known = [str(path[-1]) for path in written_controllers(document)]
    by_hook: dict[tuple[str, ...], list[Controller]] = {}
    for one in controllers:
        own: Path = ("cryostats", one.cryostat, "controllers", one.name)
        layers = Layers(document, (("defaults",), own[:2], own))
        shared = layers.origin("reset", "shared_by")
        raw = at_path(document.value, shared)
        for place, sibling in enumerate(raw if isinstance(raw, list) else ()):
            if sibling not in known:
                hint = did_you_mean(sibling, known)
                yield Problem((*shared, place), f"unknown controller `{sibling}`", hint)
        if one.reset.lines and "://" in one.port and not one.port.startswith("rfc2217://"):
            message = f"the port of `{one.name}` has no DTR and RTS"
            hint = "`lines` is for local ports and rfc2217://; otherwise use a hook"
            yield Problem(layers.origin("reset", "lines"), message, hint)
        if one.reset.hook is not None:
            by_hook.setdefault(one.reset.hook, []).append(one)
        for other in by_hook.get(one.reset.hook or (), []):
            if other.name != one.name and other.name not in one.reset.shared_by:
                message = f"the hook of `{one.name}` is that of `{other.name}` too"
                hint = f"say so: shared_by: [{other.name}], or use ${{controller}} in the hook"
                yield Problem(layers.origin("reset", "hook"), message, hint)
                break


def check_waves(
    index: int, stage: Stage, cryostats: dict[str, Cryostat | None]
) -> Iterator[Problem]:
    """Waves grow, in each cryostat of the stage, and end with everything."""
    at: Path = ("stages", index, "waves")
    for place, (before, after) in enumerate(pairwise(stage.waves)):
        smaller = (
            isinstance(before, Count) and isinstance(after, Count) and after.count <= before.count
        ) or (
            isinstance(before, Share)
            and isinstance(after, Share)
            and after.fraction <= before.fraction
        )
        if smaller:
            hint = "waves are cumulative, for example [1, 50 %, 100 %]"
            yield Problem((*at, place + 1), f"wave `{after}` does not grow", hint)
            return
    if not isinstance(stage.waves[-1], Share) or stage.waves[-1].fraction != 1:
        message = f"the last wave is `{stage.waves[-1]}`: the rest would never be updated"
        yield Problem((*at, len(stage.waves) - 1), message, "end with 100 %")
        return
    for target in stage.targets:
        cryostat = cryostats.get(target)
        if cryostat is None:
            continue
        sizes = stage.wave_sizes(len(cryostat.controllers))
        for place, (low, high) in enumerate(pairwise(sizes)):
            if high < low:
                message = f"wave `{stage.waves[place + 1]}` shrinks in `{target}`"
                hint = f"of {len(cryostat.controllers)} controllers it means {high} after {low}"
                yield Problem((*at, place + 1), message, hint)


def check_soak(
    index: int, stage: Stage, cryostats: dict[str, Cryostat | None]
) -> Iterator[Problem]:
    """A soak is long enough for the samples that a verdict needs."""
    for target in stage.targets:
        cryostat = cryostats.get(target)
        for one in cryostat.controllers if cryostat else ():
            beats_s = one.heartbeat.every_s * (one.heartbeat.misses_allowed + 1)
            samples_s = one.calibration.every_s * one.calibration.min_samples
            needed_s, reason = beats_s, f"{one.heartbeat.misses_allowed + 1} heartbeats"
            if one.calibration.metrics and samples_s >= beats_s:
                every = duration_text(one.calibration.every_s)
                needed_s = samples_s
                reason = f"{one.calibration.min_samples} samples, one every {every}"
            if stage.soak_s < needed_s:
                message = (
                    f"a soak of {duration_text(stage.soak_s)} is shorter than the evidence for "
                    f"`{one.name}` takes"
                )
                hint = f"{reason}: at least {duration_text(needed_s)}"
                yield Problem(("stages", index, "soak"), message, hint)
                return


def check_guards(document: Document, cryostats: dict[str, Cryostat | None]) -> Iterator[Problem]:
    """A simulated guard stands only before simulated controllers."""
    for cryostat in filter(None, cryostats.values()):
        real = next((one.name for one in cryostat.controllers if not one.is_simulated), None)
        if real is None:
            continue
        layers = Layers(document, (("defaults",), ("cryostats", cryostat.name)))
        guards = cryostat.guards
        for name in ("temperature", "fridge", "experiment"):
            guard = getattr(guards, name)
            if guard is not None and isinstance(guard.source, FromSimulation):
                message = f"a simulated guard protects nothing: `{real}` is real"
                hint = f"give `{cryostat.name}` a source, or say guards: {{{name}: none}}"
                yield Problem(layers.origin("guards", name, "source"), message, hint)


def check_simulation(document: Document, controllers: list[Controller]) -> Iterator[Problem]:
    """Simulated metrics are those that the calibration asks for, and all of them."""
    metrics = at_path(document.value, ("simulation", "metrics"))
    wanted = {name for one in controllers for name in one.calibration.metrics}
    for name in metrics if isinstance(metrics, dict) else ():
        if name not in wanted:
            at = ("simulation", "metrics", name)
            hint = did_you_mean(name, wanted)
            yield Problem(at, f"no calibration asks for the metric `{name}`", hint, on_key=True)
