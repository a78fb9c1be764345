"""A source that breaks off, as the camera and the Jetson demo see it."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from steadystyle.demo.live import LiveSource, SourceLost
from steadystyle.video.frames import Frame, SourceInfo

INFO = SourceInfo("fake", "camera", 4, 4, None, None, None, has_audio=False)
PICTURE = np.zeros((4, 4, 3), np.uint8)


class Flaky(LiveSource):
    """Gives so many frames at each opening, then breaks off; ends after the last."""

    def __init__(self, *counts: int, newest_only: bool = False, patience: int | None = None) -> None:
        self.said: list[str] = []
        super().__init__(INFO, newest_only=newest_only, first_pause_s=0.01, patience=patience, notify=self.said.append)
        self._counts = list(counts)

    def _attempt(self) -> Iterator[Frame]:
        for index in range(self._counts.pop(0)):
            yield Frame(PICTURE, float(index))
        if self._counts:
            raise SourceLost("ended by signal 9")


def test_it_goes_on_after_each_loss_with_pauses_that_double_until_frames_come() -> None:
    with Flaky(2, 0, 0, 3, 1) as source:
        assert [frame.time_s for frame in source] == [0, 1, 0, 1, 2, 0]
    assert (source.received, source.reopened, source.lost, source.gone) == (6, 2, False, False)
    pauses = [float(sentence.split()[-2]) for sentence in source.said]
    assert pauses == pytest.approx([0.01, 0.02, 0.04, 0.01], abs=0.05)
    assert len(pauses) == 4 and all("signal 9" in sentence for sentence in source.said)


def test_it_gives_up_after_so_many_failed_restarts() -> None:
    with Flaky(1, 0, 0, 5, patience=2) as source:
        assert len(list(source)) == 1
    assert source.lost and "did not come back after 2 restarts (ended by signal 9)" in source.note


def test_the_newest_frame_wins_and_the_end_is_told() -> None:
    with Flaky(50, newest_only=True) as source:
        taken = []
        for frame in source:
            taken.append(frame.time_s)
            time.sleep(0.05)
    assert taken[-1] == 49 and taken == sorted(taken)
    assert source.dropped == 50 - len(taken) > 0
    assert source.ended and source.take(0) is None


def test_an_error_of_the_thread_is_raised_where_frames_are_taken() -> None:
    class Broken(Flaky):
        def _attempt(self) -> Iterator[Frame]:
            raise ZeroDivisionError
            yield

    with Broken() as source, pytest.raises(ZeroDivisionError):
        source.start()
        source.take(None)


def test_stopping_ends_a_pause() -> None:
    class Slow(Flaky):
        def _attempt(self) -> Iterator[Frame]:
            raise SourceLost("is away")
            yield

    source = Slow()
    source._first_pause_s = 60
    source.start()
    time.sleep(0.1)
    before = time.monotonic()
    source.close()
    assert time.monotonic() - before < 5 and source.ended and source.gone
