"""``gst-launch-1.0`` arguments from specs such as ``usb:/dev/video0``: boards, sources, sinks, required elements.

All element names come from ``profiles.toml`` or the user, none from the code.
"""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ...common.arrays import Size
from ...common.files import InputError
from ...common.untrusted import read_toml

PROFILES = Path(__file__).with_name("profiles.toml")
TEGRA = Path("/etc/nv_tegra_release")  # exists on every Jetson
LAUNCH, INSPECT = "gst-launch-1.0", "gst-inspect-1.0"


@dataclass(frozen=True)
class End:
    """A source or a sink."""

    name: str  # as the user gave it, without a password, for messages and the report
    kind: str  # for example ``usb``; ``elements`` for the user's own elements
    address: str  # the part after the colon, or empty
    words: list[str]  # arguments of ``gst-launch-1.0``, with ``{fd}`` for the pipe's number
    live: bool = False  # whether a source drops frames rather than falling behind


def masked(text: str) -> str:
    """`text` with three stars in place of the password of each URL in it; an `@` behind a port counts as one, too."""
    return re.sub(r"(://[^:/@\s]*:)\S*@", r"\1***@", text)


def load_profiles(config: Path | None = None) -> dict[str, Any]:
    """The package's profiles, overridden by the TOML file `config`; raises InputError if it cannot be read."""
    profiles = tomllib.loads(PROFILES.read_text(encoding="utf-8"))
    if config is None:
        return profiles
    merged = _over(profiles, read_toml(config, "the profiles file"))
    _check_form(merged, _FORM, str(config))
    return merged


# What may stand in profiles.toml: a type, or names of entries and their forms; "*" is any name.
_FORM = {
    "pipe": {"*": str},
    "packages": {"*": list},
    "boards": {
        "*": {
            "about": str,
            "like": str,
            "source": str,
            "sources": {"*": {"elements": str, "address": str, "live": bool}},
            "sinks": {"*": str},
        }
    },
}


def _check_form(value: Any, form: Any, where: str) -> None:
    kind = dict if isinstance(form, dict) else form
    if not isinstance(value, kind):
        raise InputError(f"{where}: it must be {'a table' if kind is dict else f'a {kind.__name__}'}, as in {PROFILES}")
    for key, inner in value.items() if isinstance(form, dict) else ():
        if key not in form and "*" not in form:
            raise InputError(f"{where}: '{key}' is unknown: choose from {', '.join(form)}")
        _check_form(inner, form.get(key, form.get("*")), f"{where}, {key}")


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _over(merged[key], value) if both else value
    return merged


def board_of(profiles: Mapping[str, Any], name: str | None, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """A board's profile; None is ``jetson`` on a Jetson, else ``software``. Raises InputError if unknown.

    `seen` are the boards that are like this one.
    """
    name = name or ("jetson" if TEGRA.exists() else "software")
    boards = profiles["boards"]
    if name not in boards:
        raise InputError(f"there is no board '{name}': choose one of {', '.join(sorted(boards))}")
    if name in seen:
        raise InputError(f"the board '{name}' is like itself: correct 'like' of {', '.join(seen)}")
    own = boards[name]
    base = board_of(profiles, own["like"], (*seen, name)) if "like" in own else {"sources": {}, "sinks": {}}
    return {**_over(base, own), "name": name}


def source_end(board: Mapping[str, Any], spec: str | None) -> tuple[str, str]:
    """Kind and address of a source: ``csi:0``, ``usb:/dev/video0``, ``file:in.mp4``, ``rtsp://host/stream``, ``test``.

    None is the board's default source. Raises InputError for an unknown kind, a missing address or a missing device.
    """
    kind, address = _kind_and_address(spec or board["source"])
    profile = _of_kind(board, "source", kind)
    address = address or profile.get("address", "")
    if not address and "{address}" in profile["elements"]:
        raise InputError(f"the source '{kind}' needs an address: write --source {kind}:ADDRESS")
    if address.startswith("/dev/") and not Path(address).exists():
        raise InputError(f"there is no camera {address}: connect one, or give another --source")
    return kind, address


@dataclass(frozen=True)
class Ends:
    """Makes sources and sinks for frames of `size`: width and height in pixels."""

    profiles: Mapping[str, Any]
    board: Mapping[str, Any]
    size: Size
    fps: Fraction

    def source(self, kind: str, address: str, own: str | None = None, *, live: bool = False) -> End:
        """A source that writes its frames to a pipe; `kind` and `address` come from `source_end`.

        `own` elements, with the fields of ``profiles.toml``, replace the board's; `live`: they drop late frames.
        """
        if own is not None:
            name, elements = "own elements", own
        else:
            profile = self.board["sources"][kind]
            elements, live = profile["elements"], profile.get("live", False)
            name = masked(address) if "://" in address else f"{kind}:{address}".rstrip(":")
        chain = f"{elements} ! {self.profiles['pipe']['take_live' if live else 'take']}"
        return End(name, kind, address, self._words(chain, address), live)

    def sink(self, spec: str, own: str | None = None) -> End:
        """A sink that reads frames from a pipe: ``display``, ``file:out.mp4``, ``rtp:192.168.1.5:5000`` or ``null``.

        `own` elements, which take raw RGB frames, replace the board's. Raises InputError for a bad kind or address.
        """
        kind, address = _kind_and_address(spec)
        elements = own if own is not None else _of_kind(self.board, "sink", kind)
        if not address and re.search(r"\{(address|host|port)\}", elements):
            raise InputError(
                f"the sink '{kind}' needs an address: write --sink {kind}:ADDRESS (rtp:HOST:PORT, file:PATH)"
            )
        if "{port}" in elements:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
                raise InputError(
                    f"'{address}' is no HOST:PORT with a port from 1 to 65535: write --sink {kind}:HOST:PORT"
                )
        if kind == "display" and own is None and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise InputError("there is no display here: give --headless, or another --sink (file:PATH, rtp:HOST:PORT)")
        return End(masked(spec), kind, address, self._words(f"{self.profiles['pipe']['give']} ! {elements}", address))

    def _words(self, chain: str, address: str) -> list[str]:
        host, _, port = address.rpartition(":")
        addresses = {**dict.fromkeys(("address", "device", "path"), address), "host": host, "port": port}
        values = {
            "width": self.size[0],
            "height": self.size[1],
            "fps": f"{self.fps.numerator}/{self.fps.denominator}",
            "fd": "{fd}",
            # gst-launch parses its arguments once more: escape quotes.
            **{key: re.sub(r"([\\\"'])", r"\\\1", text) for key, text in addresses.items()},
        }
        try:
            # Split first: an address is one argument, even with spaces.
            return [word.format(**values) for word in shlex.split(chain)]
        except (KeyError, IndexError, ValueError) as error:
            fields = ", ".join("{" + name + "}" for name in values)
            raise InputError(
                f"the elements '{masked(chain)}' are not understood ({error}): they may have {fields}"
            ) from error


def _of_kind(board: Mapping[str, Any], end: str, kind: str) -> Any:
    kinds = board[f"{end}s"]
    if kind not in kinds:
        raise InputError(f"the board '{board['name']}' has no {end} '{kind}': choose one of {', '.join(sorted(kinds))}")
    return kinds[kind]


def _kind_and_address(spec: str) -> tuple[str, str]:
    if "://" in spec:  # a URL keeps its scheme
        return spec.partition("://")[0], spec
    kind, _, address = spec.partition(":")
    return kind, address


def elements_in(words: Sequence[str]) -> list[str]:
    """Names of the elements among ``gst-launch-1.0`` arguments, each once, in order."""
    return list(dict.fromkeys(word for word in words if re.fullmatch(r"[A-Za-z][\w-]*", word)))


def check_elements(words: Sequence[str], packages: Mapping[str, Sequence[str]]) -> None:
    """Check that GStreamer and all elements in `words` are installed; `packages` maps packages to their elements.

    Raises InputError that names the package of a missing element.
    """
    for tool in (LAUNCH, INSPECT):
        if shutil.which(tool) is None:
            raise InputError(f"there is no {tool}: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base")
    for name in elements_in(words):
        if subprocess.run([INSPECT, "--exists", name], capture_output=True, check=False).returncode == 0:
            continue
        package = next((package for package, names in packages.items() if name in names), None)
        advice = f"it is in {package}" if package else "check its name, or install the package that has it"
        raise InputError(f"this GStreamer has no element '{name}': {advice}; another --board or own elements also do")
