"""What does a reader do with files that are chosen by the code that they reach?

    python -m studies.fuzzing.guided FORMAT [--seconds 600] [-o FINDINGS]

As `studies.fuzz`, with its corpora and mutators, but coverage-guided, by libFuzzer: a mutated file that reaches new
code is mutated further. Needs atheris, which installs on few machines: pip install atheris. The first failure ends it.
"""

import argparse
import resource
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random

from steadystyle.common.files import InputError

from .. import run_study
from ..fuzz import MOST_MIB, MOST_SECONDS, complaint
from .formats import FORMATS
from .mutations import mutate_bytes


def main() -> None:
    """Fuzz one format until the time is over or a file fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder that keeps a failing file")
    options = parser.parse_args()
    try:
        import atheris
    except ModuleNotFoundError:
        parser.error("atheris is not installed: pip install atheris")

    form = FORMATS[options.format]
    room = Path(tempfile.mkdtemp())
    (room / "corpus").mkdir()
    with atheris.instrument_imports(include=["steadystyle"]):  # readers import their modules at the first file
        seeds = form.corpus(room / "corpus")
        for seed in seeds:
            with suppress(InputError):
                form.read(form.place(room / seed.name, seed.read_bytes()))

    def one(content: bytes) -> None:
        with tempfile.TemporaryDirectory(dir=room) as folder:
            found = complaint(form.read, form.place(Path(folder) / seeds[0].name, content))
        if found is not None:
            raise RuntimeError(found)

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        try:
            return form.mutate(content, Random(seed))[:most]
        except (
            ValueError,
            LookupError,
            TypeError,
            RecursionError,
        ):  # after earlier mutations it is no longer of the format
            return mutate_bytes(content, Random(seed))[:most]

    options.output.mkdir(parents=True, exist_ok=True)
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10  # of a large parent, and libFuzzer counts it
    memory = MOST_MIB + inherited
    limits = [f"-max_total_time={options.seconds}", f"-timeout={MOST_SECONDS:.0f}", f"-rss_limit_mb={memory}"]
    atheris.Setup(
        [sys.argv[0], str(room / "corpus"), *limits, f"-artifact_prefix={options.output}/{form.name}-"],
        one,
        custom_mutator=mutate,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    run_study(main)
