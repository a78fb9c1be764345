"""The process that measures this machine's peak for `roofline.py`; prints the best of several runs as JSON."""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

PRODUCT_SIDE = 1024  # large, but short enough to run between two disturbances
COPY_MIB = 128
_REPEATS = 5
_SECONDS = 2.0


def main(threads: int) -> None:
    """Measure and print; `threads` is for the copy, the matrix product's are set in the environment."""
    rng = np.random.default_rng(0)
    left, right = (rng.random((PRODUCT_SIDE, PRODUCT_SIDE), np.float32) for _ in range(2))
    product = np.empty_like(left)
    operations = 2 * PRODUCT_SIDE**3  # a multiply-accumulate counts as two
    gflops = operations / _quickest(lambda: np.matmul(left, right, out=product)) / 1e9

    source = np.ones(COPY_MIB * 2**20, np.uint8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:  # numpy copies without the GIL

        def copy() -> None:
            list(pool.map(lambda part: np.copyto(*part), parts))

        moved = 2 * source.nbytes  # read and written
        gb_per_s = moved / _quickest(copy) / 1e9
    print(json.dumps({"gflops": gflops, "gb_per_s": gb_per_s}))


def _quickest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of at least five runs and two seconds, after one warm-up."""
    work()
    taken: list[float] = []
    while len(taken) < _REPEATS or sum(taken) < _SECONDS:
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return min(taken)


if __name__ == "__main__":
    main(int(sys.argv[1]))
