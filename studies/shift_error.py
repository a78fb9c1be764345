"""How well a network follows its input when that is shifted: the part of the temporal error that is the network's own.

    python -m studies.shift_error great-wave great-wave-huang --pictures PHOTOS

A network that works at a fraction of the size moves exactly with its input only by whole steps of its grid; in between,
what it paints depends on where the grid happens to lie (Zhang 2019, "Making Convolutional Networks Shift-Invariant
Again"). Here nothing else differs: windows of one picture, some pixels apart, share most of their pixels, without
noise, interpolation or estimated flow, and the results are compared where both have them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from steadystyle.benchmarks.measure.clips import Frame
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.train.clips import find_files
from steadystyle.train.pairs import IMAGE_ENDINGS
from steadystyle.video.images import read_image
from steadystyle.video.synthetic.motions import SCENES
from steadystyle.video.temporal import shift_errors

SHIFTS = (1, 2, 3, 4, 5, 6, 7, 8)
_SIZE = (640, 360)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table to standard output as Markdown, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("artifacts", nargs="*", default=["great-wave"], help="names or files")
    parser.add_argument("--pictures", type=Path, help="folder of images; without it, frames of the synthetic scenes")
    parser.add_argument("--count", type=int, default=12, help="how many of them, in order of name")
    options = parser.parse_args(arguments)
    side = max(SHIFTS)
    width, height = _SIZE[0] + side, _SIZE[1] + side
    if options.pictures:
        files = find_files(options.pictures, IMAGE_ENDINGS, "pictures")[: options.count]
        pictures = [_covering(read_image(file), width, height) for file in files]
    else:
        pictures = [SCENES[name](width=width, height=height).frame(0) for name in SCENES]
    print(f"| shift, px | {' | '.join(map(str, SHIFTS))} |")
    print(f"| --- |{' ---: |' * len(SHIFTS)}", flush=True)
    for name in options.artifacts:
        with open_stylizer(name) as stylize:
            errors = np.mean([shift_errors(stylize, picture, SHIFTS, _SIZE) for picture in pictures], axis=0)
        print(f"| {Path(name).stem} | {' | '.join(f'{error:.4f}' for error in errors)} |", flush=True)


def _covering(image: Frame, width: int, height: int) -> Frame:
    scale = max(width / image.shape[1], height / image.shape[0])
    if scale != 1:
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        to = max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale))
        image = np.asarray(cv2.resize(image, to, interpolation=method), np.uint8)
    return image[:height, :width]


if __name__ == "__main__":
    main()
