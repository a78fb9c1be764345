"""MPI-Sintel folders, on a small one of the same layout: a texture that moves two pixels to the right in each frame."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from steadystyle.benchmarks.measure.clips import ClipSource
from steadystyle.benchmarks.measure.sintel import open_sintel
from steadystyle.benchmarks.request import BenchmarkRequest
from steadystyle.benchmarks.run import benchmark
from steadystyle.common.files import InputError
from steadystyle.video.images import write_image
from steadystyle.video.temporal import temporal_error

WIDTH, HEIGHT, FRAMES, STEP = 64, 36, 8, 2


def folder_with(root: Path, *scenes: str, factor: float = 1.0, masks: bool = True) -> Path:
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (HEIGHT, WIDTH + FRAMES * STEP, 3), np.uint8)
    for scene in scenes:
        for t in range(FRAMES):
            left = (FRAMES - t) * STEP
            name = f"frame_{t + 1:04d}"
            write_image(root / "training" / "final" / scene / f"{name}.png", texture[:, left : left + WIDTH])
            if t == FRAMES - 1:
                continue
            flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
            flow[..., 0] = STEP * factor
            (root / "training" / "flow" / scene).mkdir(parents=True, exist_ok=True)
            content = b"PIEH" + struct.pack("<ii", WIDTH, HEIGHT) + flow.astype("<f4").tobytes()
            (root / "training" / "flow" / scene / f"{name}.flo").write_bytes(content)
            hidden = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            hidden[:5, :5] = 255
            if masks:
                write_image(root / "training" / "occlusions" / scene / f"{name}.png", hidden)
    return root


def error_of(clip: ClipSource, interval: int) -> tuple[float, float]:
    frames = list(clip)
    pairs = {t: clip.pair(t, interval, frames[t], frames[t + interval]) for t in range(len(frames) - interval)}
    return temporal_error(frames, pairs, interval).value, float(np.mean([pair.valid.mean() for pair in pairs.values()]))


@pytest.mark.parametrize("interval", [1, 3, 5])
def test_the_source_itself_has_no_error(tmp_path: Path, interval: int) -> None:
    (clip,) = open_sintel(folder_with(tmp_path, "alley_2"))
    assert clip.size == (WIDTH, HEIGHT) and clip.name == "alley_2 (MPI-Sintel)"
    error, share = error_of(clip, interval)
    assert error < 1e-3
    outside = interval * STEP / WIDTH
    assert 1 - outside - 0.08 < share < 1 - outside  # what leaves the frame and what is hidden are left out


def test_a_wrong_scale_shows(tmp_path: Path) -> None:
    (clip,) = open_sintel(folder_with(tmp_path, "alley_2", factor=0.5))
    assert error_of(clip, 1)[0] > 0.1


def test_another_height_scales_the_flow(tmp_path: Path) -> None:
    (clip,) = open_sintel(folder_with(tmp_path, "alley_2", masks=False), height=HEIGHT // 2)
    assert clip.size == (WIDTH // 2, HEIGHT // 2)
    frames = list(clip)
    assert frames[0].shape == (HEIGHT // 2, WIDTH // 2, 3)
    pair = clip.pair(0, 1, frames[0], frames[1])
    assert np.allclose(pair.flow[..., 0], STEP / 2)
    assert any("no occlusion masks" in note for note in clip.notes)


def test_the_scenes_of_papers_come_first(tmp_path: Path) -> None:
    names = [clip.name for clip in open_sintel(folder_with(tmp_path, "cave_4", "temple_2", "ambush_5"))]
    assert names == ["ambush_5 (MPI-Sintel)", "temple_2 (MPI-Sintel)"]
    assert [clip.name for clip in open_sintel(folder_with(tmp_path / "b", "cave_4"))] == ["cave_4 (MPI-Sintel)"]


def test_in_the_benchmark(ask: Callable[..., BenchmarkRequest], tmp_path: Path, any_size_artifact: Path) -> None:
    root = folder_with(tmp_path / "sintel", "market_6")
    asked = ask(
        artifacts=[any_size_artifact], sintel=[root], size=(64, 36), height=HEIGHT,
        latency_seconds=0.1, latency_frames=10, threads=1,
    )  # fmt: skip
    report = benchmark(asked, out_dir=tmp_path / "report")
    assert [(clip.name, clip.flow_source) for clip in report.clips] == [("market_6 (MPI-Sintel)", "ground truth")]


def test_what_is_no_such_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not laid out like MPI-Sintel"):
        open_sintel(tmp_path)
    root = folder_with(tmp_path, "alley_2")
    (root / "training" / "flow" / "alley_2" / "frame_0003.flo").unlink()
    with pytest.raises(InputError, match=r"frame_0003\.flo' does not exist"):
        open_sintel(root)
