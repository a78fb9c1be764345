"""The running package, from a checkout or an installation, as a wheel for another device."""

import base64
import hashlib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ... import __version__

_PACKAGE = Path(__file__).resolve().parents[2]
_PAGE = {("demo", "web", "page"), ("demo", "web", "dist")}
_ENDINGS = {".py", ".toml", ".yaml", ".md", ".onnx", ".safetensors"}


def write_wheel(folder: Path) -> Path:
    """Write a wheel into an existing folder and return its path; without an installation it lists no dependencies."""
    try:
        metadata = distribution("steadystyle").read_text("METADATA")
    except PackageNotFoundError:
        metadata = None
    metadata = metadata or f"Metadata-Version: 2.1\nName: steadystyle\nVersion: {__version__}\n"
    about = f"steadystyle-{__version__}.dist-info"
    wheel = folder / f"steadystyle-{__version__}-py3-none-any.whl"
    record = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, content: bytes) -> None:
            archive.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode("ascii")
            record.append(f"{name},sha256={digest},{len(content)}")

        for file in _files():
            add(f"steadystyle/{file.relative_to(_PACKAGE).as_posix()}", file.read_bytes())
        add(f"{about}/METADATA", metadata.encode("utf-8"))
        add(f"{about}/WHEEL", b"Wheel-Version: 1.0\nGenerator: steadystyle\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "\n".join([*record, f"{about}/RECORD,,", ""]))
    return wheel


def _files() -> list[Path]:
    # The root of a checkout also holds tests, runs, environments and studies; the web page is not needed.
    rooms = [init.parent for init in _PACKAGE.glob("*/__init__.py") if init.parent.name not in ("tests", "studies")]
    inside = [path for room in rooms for path in room.rglob("*") if path.relative_to(_PACKAGE).parts[:3] not in _PAGE]
    return sorted(path for path in (*_PACKAGE.glob("*.py"), *inside) if path.is_file() and path.suffix in _ENDINGS)
