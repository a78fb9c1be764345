"""`stylize` as a person meets it: odd inputs that must work."""

import itertools
import json
import os
import signal
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.tests.cli.conftest import Cli, textured
from steadystyle.video import frames as frames_module
from steadystyle.video.frames import Frame, FrameSource, SourceInfo, read_frames, write_image, write_video


class EndlessCamera(FrameSource):
    """Gives the same picture for ever; Ctrl-C comes after the tenth."""

    info = SourceInfo("camera 0", "camera", 64, 48, Fraction(25), None, None, has_audio=False)

    def _frames(self) -> Iterator[Frame]:
        for index in itertools.count():
            if index == 10:
                os.kill(os.getpid(), signal.SIGINT)
            yield Frame(textured(64, 48), index / 25)


def test_ctrl_c_ends_a_camera_and_keeps_what_was_taken(
    run: Cli, tmp_path: Path, any_size_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(frames_module, "open_source", lambda spec: EndlessCamera())
        outcome = run("stylize", "0", "--model", any_size_artifact, "--json")
    assert outcome.code == 0, outcome.err
    written = tmp_path / "stylized" / "0-tiny.mp4"
    assert json.loads(outcome.out)["output"] == "stylized/0-tiny.mp4"
    assert 1 <= len(read_frames(written)) < 1000


def stylize(run: Cli, source: Path, output: Path, model: Path, *words: str) -> dict[str, object]:
    outcome = run("stylize", source, "-o", output, "--model", model, "--json", *words)
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert isinstance(report, dict)
    return report


def test_a_video_keeps_its_frames(run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path) -> None:
    report = stylize(run, clip, tmp_path / "out.mp4", any_size_artifact)
    assert report["frames"] == 12
    frames = read_frames(tmp_path / "out.mp4")
    assert len(frames) == 12
    assert frames[0].shape == (48, 64, 3)
    assert list(tmp_path.iterdir()) == [tmp_path / "out.mp4"]


@pytest.mark.parametrize(("width", "height", "count"), [(64, 48, 1), (33, 17, 3), (2, 2, 3), (130, 6, 2)])
def test_one_frame_and_odd_and_tiny_sizes(
    run: Cli, tmp_path: Path, any_size_artifact: Path, width: int, height: int, count: int
) -> None:
    with av.open(str(tmp_path / "odd.mkv"), "w") as container:  # FFV1 holds odd sizes, H.264 in 4:2:0 does not
        stream = container.add_stream("ffv1", rate=25, width=width, height=height, pix_fmt="bgr0")
        for _ in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(textured(width, height), format="rgb24")))
        container.mux(stream.encode(None))
    stylize(run, tmp_path / "odd.mkv", tmp_path / "out.mp4", any_size_artifact)
    frames = read_frames(tmp_path / "out.mp4")
    assert len(frames) == count
    assert frames[0].shape == (height + height % 2, width + width % 2, 3)


def test_rotation_metadata_is_honoured(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    with av.open(str(tmp_path / "portrait.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p")
        stream.set_display_rotation(90)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(textured(64, 48), format="rgb24")))
        container.mux(stream.encode(None))
    stylize(run, tmp_path / "portrait.mp4", tmp_path / "out.mp4", any_size_artifact)
    assert read_frames(tmp_path / "out.mp4")[0].shape == (64, 48, 3)


def test_a_variable_frame_rate_is_kept(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    times_ms = [0, 40, 140, 160, 400]
    with av.open(str(tmp_path / "vfr.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=1000, width=64, height=48, pix_fmt="yuv420p")
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_ms in times_ms:
            frame = av.VideoFrame.from_ndarray(textured(64, 48), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    stylize(run, tmp_path / "vfr.mp4", tmp_path / "out.mp4", any_size_artifact)
    with av.open(str(tmp_path / "out.mp4")) as container:
        written = [frame.time for frame in container.decode(video=0)]
    assert written == pytest.approx([time_ms / 1000 for time_ms in times_ms], abs=2e-3)


@pytest.mark.parametrize("kind", ["gray", "alpha", "16-bit"])
def test_images_of_other_kinds(run: Cli, tmp_path: Path, any_size_artifact: Path, kind: str) -> None:
    plain = textured(40, 30)
    images: dict[str, NDArray[np.uint8] | NDArray[np.uint16]] = {
        "gray": plain[..., 0],
        "alpha": np.dstack([plain, plain[..., :1]]),
        "16-bit": plain.astype(np.uint16) * 257,
    }
    assert cv2.imwrite(str(tmp_path / "in.png"), images[kind])
    stylize(run, tmp_path / "in.png", tmp_path / "out.png", any_size_artifact)
    assert read_frames(tmp_path / "out.png")[0].shape == (30, 40, 3)


def test_half_a_video_is_stylized_as_far_as_it_goes(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    with av.open(str(tmp_path / "whole.ts"), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p", options={"g": "5"})
        for index in range(40):
            image = np.roll(textured(64, 48), index, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    remux_cut_in_half(tmp_path / "whole.ts", tmp_path / "half.mkv")
    report = stylize(run, tmp_path / "half.mkv", tmp_path / "out.mp4", any_size_artifact)
    written = len(read_frames(tmp_path / "out.mp4"))
    assert 5 <= written < 40
    assert report["frames"] == written
    notes = report["notes"]
    assert isinstance(notes, list)
    assert any(str(written) in note for note in notes), notes


def remux_cut_in_half(source: Path, target: Path) -> None:
    with av.open(str(source)) as inside, av.open(str(target), "w") as outside:
        stream = outside.add_stream_from_template(inside.streams.video[0])
        for packet in inside.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                outside.mux(packet)
    target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])


def test_a_fixed_size_artifact_takes_other_sizes_and_says_so(
    run: Cli, tmp_path: Path, fixed_size_artifact: Path
) -> None:
    write_video(tmp_path / "big.mp4", [textured(80, 60)] * 3)
    report = stylize(run, tmp_path / "big.mp4", tmp_path / "out.mp4", fixed_size_artifact)
    assert read_frames(tmp_path / "out.mp4")[0].shape == (60, 80, 3)
    notes = report["notes"]
    assert isinstance(notes, list)
    assert any("64x48" in note and "80x60" in note for note in notes), notes


def test_without_o_a_named_folder_is_used(run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path) -> None:
    outcome = run("stylize", clip, "--model", any_size_artifact)
    assert outcome.code == 0, outcome.err
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.mp4")] == [Path("stylized/clip-tiny.mp4")]


def test_an_existing_output_is_overwritten_unless_no_clobber_is_given(
    run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path
) -> None:
    words = ["stylize", clip, "-o", "out.mp4", "--model", any_size_artifact]
    assert run(*words, "--no-clobber").code == 0
    (tmp_path / "out.mp4").write_bytes(b"mine")
    outcome = run(*words, "--no-clobber")
    assert (outcome.code, (tmp_path / "out.mp4").read_bytes()) == (2, b"mine")
    assert "exists" in outcome.sentence
    assert run(*words).code == 0
    assert (tmp_path / "out.mp4").stat().st_size > 100


def test_the_look_is_applied(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    cv2.imwrite("in.png", textured(64, 48)[..., ::-1])
    stylize(run, Path("in.png"), Path("plain.png"), any_size_artifact)
    for words in (("--strength", "0"), ("--strength", "0.5"), ("--keep-colors",), ("--stroke", "2")):
        outcome = run("stylize", "in.png", "-o", "look.png", "--model", any_size_artifact, *words)
        assert outcome.code == 0, outcome.err
        looked, plain = read_frames(Path("look.png"))[0], read_frames(Path("plain.png"))[0]
        assert not np.array_equal(looked, plain), words
        if words == ("--strength", "0"):
            assert np.array_equal(looked, textured(64, 48))


def test_a_video_into_a_folder_that_exists_becomes_a_file_in_it(
    run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path
) -> None:
    (tmp_path / "films").mkdir()
    stylize(run, clip, tmp_path / "films", any_size_artifact)
    assert [path.name for path in (tmp_path / "films").iterdir()] == ["clip-tiny.mp4"]


def test_codec_quality_and_preset_reach_the_file(run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path) -> None:
    words = ["stylize", clip, "-o", "out.webm", "--model", any_size_artifact]
    assert run(*words, "--codec", "vp9", "--quality", 20, "--preset", "good").code == 0
    small = (tmp_path / "out.webm").stat().st_size
    assert run(*words, "--quality", 90).code == 0
    assert (tmp_path / "out.webm").stat().st_size > small
    with av.open(str(tmp_path / "out.webm")) as container:
        assert container.streams.video[0].codec_context.name == "vp9"


def test_a_pattern_gives_pictures(run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path) -> None:
    stylize(run, clip, tmp_path / "out" / "%04d.jpg", any_size_artifact)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{n:04d}.jpg" for n in range(1, 13)]


def test_transparency_is_kept(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    alpha = np.zeros((30, 40), np.uint8)
    alpha[:, 10:] = 200
    assert cv2.imwrite(str(tmp_path / "in.png"), np.dstack([textured(40, 30), alpha]))
    stylize(run, tmp_path / "in.png", tmp_path / "out.png", any_size_artifact)
    written = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert written is not None and np.array_equal(written[:, :, 3], alpha)
    # Strength 0 is the source to the byte, soft edges too; what is wholly transparent has no colour.
    stylize(run, tmp_path / "in.png", tmp_path / "same.png", any_size_artifact, "--strength", "0")
    before, after = (cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED) for name in ("in.png", "same.png"))
    assert before is not None and after is not None and np.array_equal(after[:, 10:], before[:, 10:])


def test_a_part_of_a_folder_keeps_the_names_of_its_pictures(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    for index in range(5):
        write_image(tmp_path / "in" / f"pic{index}.png", textured(20, 20))
    stylize(run, tmp_path / "in", tmp_path / "out", any_size_artifact, "--start", "0.08", "--duration", "0.08")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["pic2.png", "pic3.png"]


def test_the_name_of_a_picture_is_no_pattern(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    write_image(tmp_path / "in.png", textured(20, 20))
    stylize(run, tmp_path / "in.png", tmp_path / "my%20dog.png", any_size_artifact)
    assert (tmp_path / "my%20dog.png").is_file()


def test_a_preview_that_cannot_be_written_is_refused_at_once(
    run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path
) -> None:
    for name, sentence in (("out.mp4", "a preview is a picture"), ("out", "a preview is a picture")):
        outcome = run("stylize", clip, "--preview", "-o", tmp_path / name, "--model", any_size_artifact)
        assert outcome.code == 2 and sentence in outcome.sentence
        assert not (tmp_path / name).exists()
