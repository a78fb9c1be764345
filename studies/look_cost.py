"""What does each look cost a frame, against the network alone?

    python -m studies.look_cost CLIP [MODEL ...] [--rounds 100]

Frames of 640x360, two threads of the engine. All looks take each frame in turn, in random order, in one process. It
prints the median, and the medians of the differences from and the ratios to the network alone.
"""

import argparse
import random
import statistics
import time

import cv2
import numpy as np

from steadystyle.runtimes.look import PLAIN, Look
from steadystyle.runtimes.registry import DEFAULT_MODEL, open_stylizer
from steadystyle.video.frames import read_frames

from . import run_study

LOOKS = {
    "plain": PLAIN,
    "strength 0.5": Look(strength=0.5),
    "colours kept": Look(keep_colors=True),
    "stroke 2": Look(stroke=2),
    "only a person": Look(only="person"),
}
_SIZE, _THREADS, _FRAMES, _WARM_UP = (640, 360), 2, 40, 5


def costs(clip: str, model: str, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a frame by look, one for each round."""
    frames = [np.asarray(cv2.resize(frame, _SIZE), np.uint8) for frame in read_frames(clip, max_frames=_FRAMES)]
    stylizers = {name: open_stylizer(model, threads=_THREADS, look=look) for name, look in LOOKS.items()}
    for stylizer in stylizers.values():
        for frame in frames[:_WARM_UP]:
            stylizer(frame)
    spent: dict[str, list[float]] = {name: [] for name in LOOKS}
    for number in range(rounds):
        frame = frames[number % len(frames)]
        for name in random.sample(list(LOOKS), len(LOOKS)):
            began = time.perf_counter()
            stylizers[name](frame)
            spent[name].append((time.perf_counter() - began) * 1e3)
    return spent


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("models", nargs="*", metavar="MODEL", default=[DEFAULT_MODEL])
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    for model in options.models:
        spent = costs(options.clip, model, options.rounds)
        print(f"| {model} | ms | more than plain, ms | ratio |\n| --- | ---: | ---: | ---: |")
        for name, times in spent.items():
            pairs = list(zip(times, spent["plain"], strict=True))
            more, ratio = (
                statistics.median(values) for values in zip(*((a - b, a / b) for a, b in pairs), strict=True)
            )
            print(f"| {name} | {statistics.median(times):.2f} | {more:+.2f} | {ratio:.3f} |")


if __name__ == "__main__":
    run_study(main)
