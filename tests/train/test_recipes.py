from pathlib import Path

import pytest

from steadystyle.common.files import InputError
from steadystyle.train.recipes import Recipe, load_recipe, recipe_from_dict, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_loads_and_survives_a_round_trip(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe_from_dict(recipe.to_dict()) == recipe


def test_the_two_recipes_of_the_literature_ship() -> None:
    assert load_recipe("huang2017").temporal_weight > 0
    assert load_recipe("johnson2016").temporal_weight == 0


def test_values_are_overridden_as_their_own_type(tmp_path: Path) -> None:
    changes = {"steps": "7", "noise": "2", "content_layers": "[relu2_2]", "sizes": "{blocks: 2}"}
    recipe = load_recipe("huang2017", changes)
    assert (recipe.steps, recipe.noise, recipe.content_layers, recipe.sizes) == (7, 2.0, ("relu2_2",), {"blocks": 2})
    (tmp_path / "mine.yaml").write_text("steps: 3\n")
    assert load_recipe(str(tmp_path / "mine.yaml")) == Recipe(name="mine", steps=3)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"step": "7"}, "no value 'step'"),
        ({"steps": "many"}, "steps='many' does not fit"),
        ({"steps": "0"}, "steps must be at least 1"),
        ({"architecture": "vgg"}, "unknown network 'vgg'"),
        ({"sizes": "{wide: 2}"}, "no size 'wide'"),
        ({"crop": "16"}, "crop must be"),
        ({"clip_share": "2"}, "clip_share must lie"),
        ({"precision": "int8"}, "precision must be auto"),
        ({"stroke": "9"}, "size of strokes must lie between 0.75 and 2, not 9"),
        ({"content_scale": "3"}, "content_scale must be 1 or 2"),
        ({"shift_share": "0.5", "temporal_weight": "0"}, "shift_share needs a temporal_weight"),
        ({"border": "110"}, "at least 24 px"),
        ({"grid_weight": "5"}, "'grid_weight' is gone; in its place there is shift_share"),
        ({"contrast": "1.1"}, "'contrast' is gone; in its place there is colour_weight"),
        ({"border_jitter": "8"}, "'border_jitter' is gone"),
        ({"luminance": "true"}, "'luminance' is gone; in its place there is nothing: it had no effect"),
        ({"steps": "{"}, "not a YAML mapping"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_recipe("huang2017", changes)


def test_unknown_recipe_names_the_known() -> None:
    with pytest.raises(
        InputError,
        match="unknown recipe 'huang': choose one of edge, huang2017, huang2017-paint, johnson2016, paint, or",
    ):
        load_recipe("huang")


def test_a_recipe_that_is_gone_names_what_took_its_place() -> None:
    for old, new in (("edge-finetune", "paint"), ("edge-steady", "paint"), ("huang2017-steady", "huang2017-paint")):
        with pytest.raises(InputError, match=f"the recipe '{old}' is gone: '{new}' takes its place"):
            load_recipe(old)


def test_layers_are_those_of_terms_that_weigh() -> None:
    assert load_recipe("paint").layers == {"relu1_2", "relu2_2", "relu3_3", "relu4_3"}
    assert load_recipe("paint", {"style_half_weight": "0", "style_quarter_weight": "0"}).layers == {
        "relu1_2", "relu2_2", "relu3_3",
    }  # fmt: skip
