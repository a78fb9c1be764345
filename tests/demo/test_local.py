from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.common.arrays import resized
from steadystyle.common.files import InputError
from steadystyle.demo.local import run_demo
from steadystyle.demo.requests import FileRequest
from steadystyle.runtimes.registry import bundled_models
from steadystyle.video.frames import read_frames, read_image, write_image, write_video

WRITTEN = ["contact-sheet.png", "looks.png", "side-by-side.mp4", "source.mp4", "stylized.mp4"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_bundled_scene_is_measured_against_its_own_motion(tmp_path: Path, any_size_artifact: Path) -> None:
    steps: list[str] = []
    result = run_demo(
        FileRequest(output=tmp_path / "demo", model=str(any_size_artifact), frames=8, height=90),
        progress=lambda step, done, total: steps.append(step),
    )
    assert names_in(tmp_path / "demo") == WRITTEN
    assert (result.width, result.height, result.frames) == (160, 90, 8)
    assert result.flow_source == "ground truth"
    assert result.fps_alone > 0
    assert result.fps_end_to_end > 0
    assert "stylize" in steps
    errors = {row.name: row.errors for row in result.rows}
    assert list(errors) == ["stylized", "identity", "blur", "still"]
    assert all(set(row) == {1, 5} for row in errors.values())
    # A still picture of a moving scene is far off along its motion; the scene itself is nearly not.
    assert errors["identity"][5] < 0.5 * errors["still"][5]
    # The frames are there, in order, and the stylized ones beside them.
    source, both = read_frames(tmp_path / "demo" / "source.mp4"), read_frames(tmp_path / "demo" / "side-by-side.mp4")
    assert len(source) == len(both) == len(read_frames(tmp_path / "demo" / "stylized.mp4")) == 8
    assert both[0].shape == (90, 320, 3)
    assert np.abs(both[0][:, :156].astype(int) - source[0][:, :156]).mean() < 8
    sheet = read_image(tmp_path / "demo" / "contact-sheet.png")
    assert sheet.shape == (3 * (225 + 24), 4 * 400, 3)
    # Each fast style in its row, each look in its column: the painting, and what is nearer to the source.
    fast = [model.name for model in bundled_models() if not model.name.endswith("-huang")]
    looks = read_image(tmp_path / "demo" / "looks.png")
    assert looks.shape == (len(fast) * (225 + 24), 4 * 400, 3)
    shown = resized(source[4], (400, 225), enlarge=cv2.INTER_AREA).astype(int)
    for row in range(len(fast)):
        cells = np.split(looks[row * 249 + 24 : (row + 1) * 249].astype(int), 4, axis=1)
        plain, kept, half, large = (float(np.abs(cell - shown).mean()) for cell in cells)
        assert half < 0.6 * plain, fast[row]
        assert kept < plain, fast[row]
        assert large > half, fast[row]


def test_a_clip_is_made_smaller_and_its_flow_estimated(
    tmp_path: Path, any_size_artifact: Path, textured_clip: Path
) -> None:
    result = run_demo(
        FileRequest(
            source=str(textured_clip), model=str(any_size_artifact), output=tmp_path / "demo", frames=7, height=48
        )
    )
    assert (result.width, result.height, result.frames) == (80, 48, 7)
    assert result.flow_source == "DIS medium"
    assert set(result.rows[0].errors) == {1, 5}
    assert any("160x96" in note and "80x48" in note for note in result.notes)
    assert any("first 7" in note for note in result.notes)


@pytest.mark.parametrize(("count", "intervals"), [(1, set()), (3, {1})])
def test_a_clip_too_short_for_a_figure_goes_without_it(
    tmp_path: Path, any_size_artifact: Path, textured_frames: list[NDArray[np.uint8]], count: int, intervals: set[int]
) -> None:
    write_video(tmp_path / "short.mp4", textured_frames[:count])
    result = run_demo(
        FileRequest(source=str(tmp_path / "short.mp4"), model=str(any_size_artifact), output=tmp_path / "demo")
    )
    assert result.frames == count
    assert {interval for row in result.rows for interval in row.errors} == intervals
    assert names_in(tmp_path / "demo") == WRITTEN


@pytest.mark.parametrize(("source", "model"), [("nowhere.mp4", "ARTIFACT"), (None, "nothing-bundled")])
def test_what_cannot_be_opened_leaves_nothing_behind(
    tmp_path: Path, any_size_artifact: Path, source: str | None, model: str
) -> None:
    with pytest.raises(InputError):
        run_demo(
            FileRequest(
                source=source,
                model=model.replace("ARTIFACT", str(any_size_artifact)),
                output=tmp_path / "demo",
                frames=2,
                height=48,
            )
        )
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("linked", [False, True])
def test_the_source_is_not_written_over(
    tmp_path: Path, any_size_artifact: Path, textured_frames: list[NDArray[np.uint8]], linked: bool
) -> None:
    source = tmp_path / "source.mp4"
    write_video(source, textured_frames)
    before = source.read_bytes()
    given = tmp_path / "other.mp4" if linked else source
    if linked:
        given.symlink_to(source)
    with pytest.raises(InputError, match=r"source\.mp4' is the input: choose another -o"):
        run_demo(FileRequest(source=str(given), model=str(any_size_artifact), output=tmp_path))
    assert source.read_bytes() == before
    assert names_in(tmp_path) == sorted({given.name, "source.mp4"})


def test_pictures_are_not_written_over(tmp_path: Path, any_size_artifact: Path) -> None:
    for name in ("a.png", "contact-sheet.png"):
        write_image(tmp_path / name, np.full((48, 48, 3), 90, np.uint8))
    before = (tmp_path / "contact-sheet.png").read_bytes()
    with pytest.raises(InputError, match=r"contact-sheet\.png' is the input"):
        run_demo(FileRequest(source=str(tmp_path), model=str(any_size_artifact), output=tmp_path))
    assert (tmp_path / "contact-sheet.png").read_bytes() == before


def test_a_demo_that_breaks_off_leaves_nothing_behind(
    tmp_path: Path, any_size_artifact: Path, textured_clip: Path
) -> None:
    def break_off(step: str, done: int, total: int | None) -> None:
        if step == "measure":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_demo(
            FileRequest(source=str(textured_clip), model=str(any_size_artifact), output=tmp_path / "demo"),
            progress=break_off,
        )
    assert names_in(tmp_path) == []


@pytest.fixture
def textured_frames() -> list[NDArray[np.uint8]]:
    texture = np.random.default_rng(0).integers(0, 256, (13, 22, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    return [np.ascontiguousarray(texture[:96, t : t + 160]) for t in range(12)]


@pytest.fixture
def textured_clip(tmp_path_factory: pytest.TempPathFactory, textured_frames: list[NDArray[np.uint8]]) -> Path:
    path = tmp_path_factory.mktemp("clip") / "textured.mp4"
    write_video(path, textured_frames)
    return path
