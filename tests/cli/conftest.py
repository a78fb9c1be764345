"""What the tests of the command line share: running it, refusing it, a training of a few steps."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle import cli
from steadystyle.common.files import keep_inputs
from steadystyle.video.frames import write_image


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line that a refused command leaves on stderr."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


Cli = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command in an empty folder; what libraries print by themselves on stderr counts too."""
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def command(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            cli.main([str(argument) for argument in arguments])
        for number, handler in before.items():
            signal.signal(number, handler)
        keep_inputs()
        out, err = capfd.readouterr()
        assert isinstance(leaving.value.code, int)
        return Outcome(leaving.value.code, out, err)

    return command


@pytest.fixture
def refused(run: Cli, tmp_path: Path) -> Cli:
    """Runs a command that must be refused: exit code 2, one sentence, nothing written."""

    def command(*arguments: object) -> Outcome:
        before = sorted(tmp_path.rglob("*"))
        outcome = run(*arguments)
        assert outcome.code == 2, outcome
        assert outcome.out == ""
        assert "Traceback" not in outcome.err
        assert outcome.sentence
        assert sorted(tmp_path.rglob("*")) == before
        return outcome

    return command


@pytest.fixture
def training(tmp_path: Path, random_loss_network: Path) -> list[object]:
    """A training command that only lacks a style image `style.png` and what it is to train on."""
    write_image(tmp_path / "style.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    command = ["train", "--recipe", "huang2017", "--style", "style.png", "--loss-network", random_loss_network]
    return [*command, "-o", "runs/x", "--steps", 1]


def textured(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
