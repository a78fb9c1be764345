"""What a step minimizes: which pixels count, what the two kinds of steps ask for."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from steadystyle.common.files import InputError
from steadystyle.train.loss.network import LossNetwork
from steadystyle.train.loss.objective import VARIATION_WEIGHT, Objective, check_style_image, loss_offset
from steadystyle.train.recipe import Recipe
from steadystyle.train.recipes import changed

CPU = torch.device("cpu")
Batch = dict[str, NDArray[Any]]


def picture(side: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


@pytest.fixture
def paint(recipe: Recipe) -> Recipe:
    return changed(
        recipe, crop=64, border=8, both_frames=False, shift_share=0.5, colour_weight=1.0, tone_weight=1.0,
        content_scale=2,
        style_quarter_weight=1.0, style_quarter_layers=("relu1_2",),
    )  # fmt: skip


def moving(side: int) -> Batch:
    batch: Batch = {"first": picture(side)[None], "second": picture(side, 1)[None]}
    return batch | {"flow": np.zeros((1, 2, side, side), np.float32), "valid": np.ones((1, 1, side, side), np.float32)}


def test_what_is_painted_in_the_border_counts_nothing(paint: Recipe, loss_network: LossNetwork) -> None:
    objective = Objective(loss_network, picture(48), changed(paint, teacher_weight=1.0), CPU)
    objective.teacher = torch.nn.Identity()

    def painting(border: float, inside: float) -> dict[str, float]:
        def network(x: torch.Tensor) -> torch.Tensor:
            y = x * 0.5
            y[:, :, 10:20, 10:20] += inside * torch.arange(1, 1 + len(y)).view(-1, 1, 1, 1)
            y[:, :, :8] += border
            y[:, :, :, -8:] += border
            return y

        return {key: float(value) for key, value in objective(network, moving(64), 100.0)[0].items()}

    plain = painting(0.0, 0.0)
    assert set(plain) == {
        "teacher", "variation", "colour", "tone", "style", "style_half", "style_quarter", "content", "temporal",
    }  # fmt: skip
    assert painting(0.5, 0.0) == plain
    assert all(value != plain[key] for key, value in painting(0.0, 0.1).items())


def test_the_window_of_the_losses_moves_over_all_that_is_behind_the_border(
    paint: Recipe, loss_network: LossNetwork
) -> None:
    # At a quarter of the size the last columns of 41 are left out, and colours are means of 4x4.
    fine = changed(paint, style_quarter_weight=0.0, content_weight=0.0)
    objective, seen = Objective(loss_network, picture(48), fine, CPU), np.zeros((64, 64), bool)
    for offset in {loss_offset(paint, step) for step in range(100)}:
        place = torch.zeros(1, 1, 64, 64, requires_grad=True)
        torch.autograd.backward(objective(place.add, moving(64), 0.0, offset=offset)[1])
        reached = np.asarray(place.grad)[0, 0] != 0
        rows, columns = np.flatnonzero(reached.any(1)), np.flatnonzero(reached.any(0))
        assert (rows[0], rows[-1], columns[0], columns[-1]) == (
            8 + offset[0], 48 + offset[0], 8 + offset[1], 48 + offset[1]
        )  # fmt: skip
        seen |= reached
    assert seen[8:56, 8:56].all() and not seen[:8].any() and not seen[:, 56:].any()


@pytest.mark.parametrize("shift", [(3, -5), (-7, 7), (0, 4), (2, 0)])
def test_a_shift_step_compares_the_same_places_and_sees_their_mean(
    paint: Recipe, loss_network: LossNetwork, shift: tuple[int, int]
) -> None:
    objective = Objective(loss_network, picture(48), paint, CPU)
    wide, (dx, dy) = picture(90), shift
    batch = {
        "first": wide[10:74, 10:74][None], "second": wide[10 + dy : 74 + dy, 10 + dx : 74 + dx][None],
        "shift": np.array([shift]),
    }  # fmt: skip
    follows = objective(lambda x: x * 0.5, batch, 100.0)[0]
    assert follows["shift"] == 0 and "temporal" not in follows

    def grid(x: torch.Tensor, strength: float) -> torch.Tensor:
        """Columns in turn brighter and darker, wherever the picture is: bound to the grid."""
        return x * 0.5 + strength * (1.0 - 2.0 * (torch.arange(x.shape[-1]) % 2))

    bound = objective(lambda x: grid(x, 0.1), batch, 100.0)[0]
    # Moved by an odd number of columns, the two patterns are opposite and their mean has nothing of them.
    assert float(bound["shift"]) == pytest.approx(0.2**2 if dx % 2 else 0.0, abs=1e-6)
    unbound = [float(bound[key] - follows[key]) for key in ("style", "variation", "style_half")]
    assert all(abs(difference) < 1e-5 for difference in unbound) == bool(dx % 2)


def test_larger_strokes_have_a_larger_style_image_and_weigh_more_at_a_quarter(
    paint: Recipe, loss_network: LossNetwork
) -> None:
    style = picture(96).repeat(2, 0).repeat(2, 1)
    grams, totals = [], []
    for stroke in (1.0, 2.0):
        objective = Objective(loss_network, style, changed(paint, stroke=stroke), CPU)
        grams.append(objective.style_grams)
        terms, total = objective(lambda x: x, moving(64), 0.0)
        others = ("content", "colour", "tone", "variation", "style_half")
        weights = {**paint.to_dict()["loss"], "variation": VARIATION_WEIGHT}
        rest = float(total) - sum(weights[key] * float(terms[key]) for key in others)
        expected = paint.loss.style / stroke * float(terms["style"]) + stroke * float(terms["style_quarter"])
        totals.append((rest, expected))
    assert not torch.allclose(grams[0]["style_half"]["relu2_2"], grams[1]["style_half"]["relu2_2"])
    assert all(rest == pytest.approx(expected, rel=1e-3) for rest, expected in totals)


def test_a_style_image_of_one_colour_is_refused() -> None:
    with pytest.raises(InputError, match="of one colour"):
        check_style_image(np.full((90, 60, 3), (200, 10, 10), np.uint8))
    ink = np.full((90, 60, 3), 255, np.uint8)
    ink[::3] = 0
    check_style_image(ink)
