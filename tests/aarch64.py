"""The runtimes on another processor: aarch64, as in phones, Jetsons and Raspberry Pis, under emulation.

Unpacks Debian's Python for arm64 and the published aarch64 wheels beside the system, runs artifacts there under
qemu-user, and compares what they give with what they give here. Nothing is installed: all goes into a folder, which a
second run uses again. Not part of the tests, because it needs Debian, its package index and minutes:

    apt-get install qemu-user-static
    python tests/aarch64.py exports/*.onnx exports/*.tflite
    python tests/aarch64.py --live 2000      # instead: `steadystyle demo jetson` there, with this machine's GStreamer

Prints a line for each artifact: the largest difference of 255, the PSNR, seconds a frame (of the emulator, which says
nothing of the speed of a real one). Exits with 1 where float artifacts differ by more than 1 of 255.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["python3.11", "libstdc++6", "libgomp1", "zlib1g"]
PLATFORMS = [f"manylinux_2_{glibc}_aarch64" for glibc in (28, 27, 17)] + ["manylinux2014_aarch64"]
CPUINFO = """processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd08
"""


def run(*command: str | Path, **variables: str) -> None:
    """Run a command to its end, with more environment variables."""
    subprocess.run([str(word) for word in command], check=True, env={**os.environ, **variables})


def userland(work: Path) -> Path:
    """Debian's Python for arm64, unpacked."""
    prefix, state = work / "prefix", work / "apt"
    if (prefix / "usr" / "bin" / "python3.11").exists():
        return prefix
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()  # as if nothing were installed, so that all that is needed comes
    options = [f"APT::Architecture{end}=arm64" for end in ("", "s")]
    options += [f"Dir::State={state}", f"Dir::Cache={state / 'cache'}", f"Dir::State::status={state / 'status'}"]
    apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    run(*apt, "update")
    run(*apt, "install", "--yes", "--no-install-recommends", "--download-only", *PACKAGES)
    for package in sorted((state / "cache" / "archives").glob("*.deb")):
        run("dpkg-deb", "--extract", package, prefix)
    # Engines ask the system for the processor, and crash on the answer of another one.
    for name, text in {"proc/cpuinfo": CPUINFO, **{f"sys/devices/system/cpu/{n}": "0\n" for n in SYSTEM}}.items():
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_text(text)
    return prefix


SYSTEM = ("possible", "present", "online", "kernel_max")


def wheels(work: Path) -> Path:
    """What the package and its engines need, for aarch64, unpacked."""
    site = work / "site"
    if site.exists():
        return site
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["onnx"], *extras["tflite"]]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", str(work / "wheels")]
    run(*pip, "--python-version", "3.11", *platforms, *wanted)
    partial = work / "site.part"
    for wheel in sorted((work / "wheels").glob("*.whl")):
        shutil.unpack_archive(wheel, partial, "zip")
    return partial.rename(site)


def stylize(artifact: Path, out: Path) -> None:
    """Run an artifact on a frame of noise over a slope, and keep what it gives, the time it takes and the engine."""
    from steadystyle.runtimes.registry import open_stylizer

    with open_stylizer(artifact, threads=1) as stylizer:
        height, width = stylizer.metadata.height or 180, stylizer.metadata.width or 320
        slope = np.linspace(0, 200, width)[None, :, None] + np.zeros((height, 1, 3))
        frame = (slope + np.random.default_rng(0).uniform(0, 55, slope.shape)).astype(np.uint8)
        began = time.perf_counter()
        stylized = stylizer(frame)
        np.savez(out, stylized=stylized, seconds=time.perf_counter() - began, engine=stylizer.engine)


def run_live(python: list[str | Path], variables: dict[str, str], frames: int, scratch: Path) -> int:
    """Run the live demo there and here, and compare the two files; GStreamer is this machine's for both."""
    written = []
    for place, command, environment in (
        ("x86", [sys.executable], {"PYTHONPATH": str(scratch / "link")}),
        ("aarch64", python, variables),
    ):
        out = scratch / f"{place}.mp4"
        words = f"--board software --model the-scream --size 64x48 --threads 1 --frames {frames} --json --sink".split()
        run(*command, "-m", "steadystyle.cli", "demo", "jetson", *words, f"file:{out}", **environment)
        capture = cv2.VideoCapture(str(out))
        written.append([picture for there, picture in iter(capture.read, (False, None)) if there])
    counts = [len(pictures) for pictures in written]
    difference = max(int(cv2.absdiff(here, there).max()) for here, there in zip(*written, strict=False))
    print(f"frames in the files {counts}, which differ by at most {difference} of 255 (after H.264)")
    return int(counts != [frames, frames] or difference > 16)


def main() -> int:
    """Prepare, run here and there, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", nargs="*", type=Path, help=".onnx and .tflite files")
    parser.add_argument("--live", type=int, metavar="FRAMES", help="run the live demo for so many frames instead")
    parser.add_argument("--work", type=Path, default=ROOT / ".aarch64", help="folder for userland and wheels")
    parser.add_argument("--here", type=Path, metavar="OUT", help="run one artifact on this processor (used inside)")
    options = parser.parse_args()
    if not options.artifacts and not options.live:
        parser.error("give artifacts, or --live FRAMES")
    if options.here:
        stylize(options.artifacts[0], options.here)
        return 0
    missing = [tool for tool in ("qemu-aarch64-static", "apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        print(f"this needs {', '.join(missing)}: on Debian, apt-get install qemu-user-static", file=sys.stderr)
        return 2
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    prefix, site = userland(work), wheels(work)
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        link = Path(scratch, "link")
        link.mkdir()
        (link / "steadystyle").symlink_to(ROOT, target_is_directory=True)
        python: list[str | Path] = ["qemu-aarch64-static", "-L", prefix, prefix / "usr" / "bin" / "python3.11"]
        there = {
            "PYTHONPATH": f"{site}:{link}",
            "PYTHONHOME": str(prefix / "usr"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "QEMU_CPU": "cortex-a72",
        }
        if options.live:
            return run_live(python, there, options.live, Path(scratch))
        for artifact in options.artifacts:
            results = {}
            for place, command, variables in (
                ("x86", [sys.executable], {"PYTHONPATH": str(link)}),
                ("aarch64", python, there),
            ):
                out = Path(scratch, f"{place}.npz")
                run(*command, Path(__file__), artifact.resolve(), "--here", out, **variables)
                with np.load(out) as arrays:
                    results[place] = {key: arrays[key] for key in arrays.files}
            difference = results["aarch64"]["stylized"].astype(float) - results["x86"]["stylized"]
            largest, mean_square = np.abs(difference).max(), np.square(difference).mean()
            psnr = 10 * math.log10(255**2 / mean_square) if mean_square else math.inf
            seconds = float(results["aarch64"]["seconds"])
            print(f"{artifact.name}: differs by at most {largest:.0f} of 255, {psnr:.1f} dB, {seconds:.1f} s a frame")
            print(f"    {results['aarch64']['engine']}", flush=True)
            failed |= largest > 1 and "int8" not in artifact.name
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
