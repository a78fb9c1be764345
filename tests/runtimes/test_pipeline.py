"""Decode | stylize | encode: order, overlap, and what happens when a stage fails."""

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.runtimes import pipeline
from steadystyle.runtimes.artifact import ArtifactMetadata
from steadystyle.runtimes.pipeline import run
from steadystyle.runtimes.stylizer import Stylizer
from steadystyle.video.frames import (
    Frame,
    FrameSink,
    FrameSource,
    SourceInfo,
    open_sink,
    open_source,
    read_frames,
    write_video,
)

Image = NDArray[np.uint8]


class Source(FrameSource):
    """Frames filled with their number, 0.1 s apart; `before` is called ahead of each."""

    def __init__(self, count: int, before: Callable[[int], None] = lambda index: None, side: int = 2) -> None:
        self.info = SourceInfo("numbers", "video", side, side, None, count, None, False)
        self.before = before
        self.made = 0

    def _frames(self) -> Iterator[Frame]:
        for index in range(self.info.frames or 0):
            self.before(index)
            self.made += 1
            yield Frame(np.full((self.info.height, self.info.width, 3), index % 256, np.uint8), index / 10)


class Sink(FrameSink):
    """Keeps what it is given; `before` is called ahead of each."""

    def __init__(self, before: Callable[[int], None] = lambda index: None) -> None:
        super().__init__(Path("nowhere"))
        self.before = before
        self.frames: list[tuple[float, int]] = []

    def _write(self, frame: Frame) -> None:
        self.before(len(self.frames))
        self.frames.append((frame.time_s, int(frame.image[0, 0, 0])))


def negative(frame: Image) -> Image:
    return np.asarray(255 - frame, np.uint8)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("count", [0, 1, 3, 25])
def test_every_frame_in_its_order_with_its_time(count: int) -> None:
    sink = Sink()
    seen: list[tuple[float, int]] = []
    progress: list[tuple[int, int | None]] = []
    report = run(
        Source(count),
        negative,
        sink,
        on_frame=lambda frame, image: seen.append((frame.time_s, int(image[0, 0, 0]))),
        progress=lambda done, total: progress.append((done, total)),
    )
    assert sink.frames == [(index / 10, 255 - index) for index in range(count)]
    assert seen == sink.frames
    assert progress == [(done, count) for done in range(1, count + 1)]
    assert report.frames == len(report.stylize_ms) == count
    assert report.seconds > 0
    assert report.fps == pytest.approx(count / report.seconds)
    assert report.notes == []


def test_without_a_sink() -> None:
    assert run(Source(9), negative, None, queue_size=1).frames == 9


def test_the_stages_work_side_by_side() -> None:
    # The first frame is not written before the fourth is decoded, nor stylized before the second is: one after the
    # other this would never end.
    decoded = [threading.Event() for _ in range(10)]
    source = Source(10, lambda index: decoded[index].set())

    def stylize(frame: Image) -> Image:
        assert decoded[min(int(frame[0, 0, 0]) + 1, 9)].wait(10)
        return frame

    def encode(index: int) -> None:
        assert decoded[min(index + 3, 9)].wait(10)

    sink = Sink(encode)
    run(source, stylize, sink)
    assert len(sink.frames) == 10


def test_a_slow_encoder_holds_up_the_decoder() -> None:
    source = Source(60)
    ahead: list[int] = []
    run(source, negative, Sink(lambda index: ahead.append(source.made - index)), queue_size=3)
    # In each of two queues three, and one in the hands of each stage.
    assert max(ahead) <= 2 * 3 + 3


def test_fewer_of_large_frames_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2 * pipeline._MOST_BYTES <= 512 * 2**20
    frame = 64 * 64 * 3
    for room, waiting in ((frame // 2, 1), (2 * frame, 2), (2.9 * frame, 2), (100 * frame, 4)):
        monkeypatch.setattr(pipeline, "_MOST_BYTES", room)
        source, ahead = Source(40, side=64), list[int]()

        def encode(index: int, source: Source = source, ahead: list[int] = ahead) -> None:
            time.sleep(0.005)
            ahead.append(source.made - index)

        run(source, negative, Sink(encode))
        # In each of two queues so many, and one in the hands of each stage.
        assert 2 * waiting < max(ahead) <= 2 * waiting + 3


def test_memory_does_not_grow_with_the_length() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        run(Source(count, side=64), negative, Sink())
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(5)
    frame = 64 * 64 * 3
    assert peak(400) < peak(40) + 12 * frame


class BrokenError(Exception):
    """What a stage raises in these tests."""


def broken_at(number: int, error: BaseException) -> Callable[[int], None]:
    def before(index: int) -> None:
        if index == number:
            raise error

    return before


@pytest.mark.parametrize("number", [0, 1, 30, 59])
@pytest.mark.parametrize("stage", ["decode", "stylize", "encode", "on_frame", "progress"])
def test_an_error_in_any_stage_ends_all_and_is_raised(stage: str, number: int) -> None:
    error = BrokenError(stage)
    break_it = {name: broken_at(number if name == stage else -1, error) for name in _STAGES}

    def stylize(frame: Image) -> Image:
        break_it["stylize"](int(frame[0, 0, 0]))
        return frame

    with pytest.raises(BrokenError) as raised:
        run(
            Source(60, break_it["decode"]),
            stylize,
            Sink(break_it["encode"]),
            on_frame=lambda frame, image: break_it["on_frame"](int(image[0, 0, 0])),
            progress=lambda done, total: break_it["progress"](done - 1),
            queue_size=2,
        )
    assert raised.value is error


_STAGES = ("decode", "stylize", "encode", "on_frame", "progress")


@pytest.mark.parametrize("stage", ["decode", "stylize", "encode"])
def test_an_error_while_the_queues_are_full(stage: str) -> None:
    # The encoder (or stylizer) stands still until everything before it is stuck on a full queue, then one stage fails.
    error = BrokenError(stage)
    source = Source(100)

    def wait_until_stuck() -> None:
        made = -1
        while made != source.made:
            made = source.made
            time.sleep(0.15)

    def stylize(frame: Image) -> Image:
        if stage == "stylize" and frame[0, 0, 0] == 5:
            wait_until_stuck()
            raise error
        return frame

    def encode(index: int) -> None:
        wait_until_stuck()
        if stage == "encode":
            raise error

    source.before = broken_at(4, error) if stage == "decode" else lambda index: None
    sink = Sink(encode if stage != "stylize" else lambda index: None)
    with pytest.raises(BrokenError) as raised:
        run(source, stylize, sink, queue_size=1)
    assert raised.value is error


def test_of_several_errors_the_first_is_raised() -> None:
    failed = threading.Event()

    def encode(index: int) -> None:
        failed.set()
        raise BrokenError("first")

    def stylize(frame: Image) -> Image:
        if frame[0, 0, 0] > 0:
            failed.wait(10)
            time.sleep(0.1)  # so that the pipeline has noticed the first
            raise BrokenError("second")
        return frame

    with pytest.raises(BrokenError, match="first"):
        run(Source(5), stylize, Sink(encode))


def test_ctrl_c_ends_all() -> None:
    def stylize(frame: Image) -> Image:
        if frame[0, 0, 0] == 7:
            raise KeyboardInterrupt
        return frame

    sink = Sink()
    with pytest.raises(KeyboardInterrupt):
        run(Source(10**6), stylize, sink)
    assert len(sink.frames) <= 8


class Small(Stylizer):
    """Takes 4x2 only."""

    metadata = ArtifactMetadata("n", "s", "a", {}, "fp32", 4, 2, "", None, 0, "test")
    engine = "numpy"

    def _stylize(self, frame: Image) -> Image:
        return negative(frame)


def test_notes_tell_of_a_resize_and_of_a_broken_file() -> None:
    source = Source(3)
    source.note = "the file breaks off"
    report = run(source, Small(), Sink())
    assert len(report.notes) == 2
    assert "4x2" in report.notes[0]
    assert "2x2" in report.notes[0]
    assert report.notes[1] == "the file breaks off"


def test_from_video_to_video(tmp_path: Path) -> None:
    flat = [np.full((24, 32, 3), 20 * index, np.uint8) for index in range(10)]
    write_video(tmp_path / "in.mp4", flat, 10)
    with open_source(tmp_path / "in.mp4") as source, open_sink(tmp_path / "out.mp4", source) as sink:
        run(source, negative, sink)
    stylized = read_frames(tmp_path / "out.mp4")
    assert len(stylized) == 10
    for before, after in zip(flat, stylized, strict=True):
        assert abs(255 - int(before.mean()) - float(after.mean())) < 4


def test_a_failed_run_leaves_no_file(tmp_path: Path) -> None:
    write_video(tmp_path / "in.mp4", [np.zeros((24, 32, 3), np.uint8)] * 5)

    def fail(frame: Image) -> Image:
        raise BrokenError("engine")

    with (
        pytest.raises(BrokenError),
        open_source(tmp_path / "in.mp4") as source,
        open_sink(tmp_path / "out.mp4", source) as sink,
    ):
        run(source, fail, sink)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
