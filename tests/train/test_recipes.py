import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from steadystyle.common.files import InputError
from steadystyle.train.checkpoint import load_checkpoint
from steadystyle.train.loss import objective
from steadystyle.train.loss.objective import needed_layers
from steadystyle.train.pairs import MOTION
from steadystyle.train.recipe import WARMUP_STEPS, Recipe, Schedule
from steadystyle.train.recipes import (
    GONE,
    RECIPE_FOLDER,
    changed,
    copy_recipe,
    difference,
    load_recipe,
    recipe_from_dict,
    recipe_names,
)
from steadystyle.train.trainer import GRADIENT_NORM, PREVIEW_EVERY

DATA = Path(__file__).with_name("data")
MODELS = sorted((Path(objective.__file__).parents[2] / "runtimes" / "models").glob("*.safetensors"))


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_loads_and_survives_a_round_trip(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe_from_dict(recipe.to_dict()) == recipe


def test_the_two_recipes_of_the_literature_ship() -> None:
    assert load_recipe("huang2017").loss.temporal > 0
    assert load_recipe("johnson2016").loss.temporal == 0


def test_values_are_overridden_as_their_own_type(tmp_path: Path) -> None:
    changes = {"steps": "7", "noise": "2", "content_layers": "[relu2_2]", "sizes": "{blocks: 2}"}
    recipe = load_recipe("huang2017", changes)
    assert (recipe.schedule.steps, recipe.data.noise, recipe.loss.content_layers) == (7, 2.0, ("relu2_2",))
    assert recipe.network.sizes == {"blocks": 2}
    (tmp_path / "mine.yaml").write_text("steps: 3\n")
    assert load_recipe(str(tmp_path / "mine.yaml")) == Recipe(name="mine", schedule=Schedule(steps=3))


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
        ({"shift_share": "0.5", "temporal_weight": "0"}, "shift_share needs a weight loss.temporal"),
        ({"border": "110"}, "at least 24 px"),
        ({"grid_weight": "5"}, "'grid_weight' is gone; in its place there is data.shift_share"),
        ({"contrast": "1.1"}, "'contrast' is gone; in its place there is loss.colour"),
        ({"border_jitter": "8"}, "'border_jitter' is gone"),
        ({"luminance": "true"}, "'luminance' is gone; in its place there is nothing: it had no effect"),
        ({"motion": "0.1"}, "'motion' is gone; photos always move by 0.03"),
        ({"preview_every": "9"}, "'preview_every' is gone; previews are painted every 500 steps"),
        ({"loss.temporl": "1"}, r"no value 'loss\.temporl': it has loss\.content, .*loss\.temporal"),
        ({"loss": "3"}, "section 'loss' holds content, .*temporal"),
        ({"loss": "{temporal_weight: 3}"}, r"no value 'loss\.temporal_weight'"),
        ({"loss.temporal": "1", "temporal_weight": "2"}, r"loss\.temporal is given twice"),
        ({"steps": "{"}, "not a YAML mapping"),
        ({"steps": "9" * 30}, "steps=9+.* does not fit"),
        ({"steps": "9" * 5000}, "not a YAML mapping: Exceeds the limit"),
        ({"steps": "2000000000"}, "steps=2000000000 does not fit"),
        ({"noise": ".inf"}, "noise=inf does not fit"),
        ({"noise": ".nan"}, "noise=nan does not fit"),
        ({"noise": "9" * 400}, "noise=9+.* does not fit"),
        ({"batch": "100000"}, "batch must be at most 1024"),
        ({"clip_height": "100000"}, "clip_height must be at most 4320"),
        ({"clip_intervals": "[]"}, "clip_intervals must be numbers of frames"),
        ({"clip_intervals": "[0]"}, "clip_intervals must be numbers of frames"),
        ({"seed": "-1"}, "seed must not be negative"),
        ({"learning_rate": "0.0"}, "learning_rate must be positive"),
        ({"sizes": "{blocks: 1000000}"}, "takes 0 to 64 for its size 'blocks'"),
        ({"sizes": "{quarter: 100000}"}, "takes 1 to 4096 for its size 'quarter'"),
        ({"content_layers": f"[{'x,' * 200}]"}, "content_layers=.* does not fit"),
        ({"about": "x" * 2000}, "about=.* does not fit"),
        ({"steps": "&a 3"}, "anchors .* are not allowed"),
        ({"steps": "2026-13-45"}, "not a YAML mapping: month must be"),
        ({"steps": "!!timestamp x"}, "not a YAML mapping"),
        ({"steps": "!!int ''"}, "not a YAML mapping"),
        ({"steps": "!!python/name:os.system"}, "not a YAML mapping: could not determine a constructor"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_recipe("huang2017", changes)


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (LAUGHS, "anchors .* are not allowed"),
        ("steps: &a [*a]", "anchors .* are not allowed"),
        ("steps: " + "[" * 20000, "nested more than 64 levels deep"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(1000)), "nested more than 64 levels deep"),
        ("# " + "x" * (1 << 20) + "\nsteps: 3\n", "larger than 1 MB"),
        ("", "not a YAML mapping"),
        ("[1, 2]", "not a YAML mapping"),
        ("? [a]\n: 1\n", "not a YAML mapping"),
        ("1: 2", "no value '1'"),
        ("\x1b[2J: 2", "not a YAML mapping"),
    ],
)
def test_a_hostile_recipe_is_refused_at_once(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    began = time.monotonic()
    with pytest.raises(InputError, match=sentence) as refusal:
        load_recipe(str(tmp_path / "mine.yaml"))
    assert time.monotonic() - began < 2 and len(str(refusal.value)) < 1000
    assert "\n" not in str(refusal.value) and "\x1b" not in str(refusal.value)


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
    assert needed_layers(load_recipe("paint")) == {"relu1_2", "relu2_2", "relu3_3", "relu4_3"}
    assert needed_layers(load_recipe("paint", {"style_half_weight": "0", "style_quarter_weight": "0"})) == {
        "relu1_2", "relu2_2", "relu3_3",
    }  # fmt: skip


@pytest.mark.parametrize("key", ["temporal_weight", "loss.temporal"])
def test_a_value_has_a_flat_and_a_dotted_name(key: str) -> None:
    assert load_recipe("paint", {key: "100"}) == changed(load_recipe("paint", {"loss": "{temporal: 100}"}))
    assert changed(load_recipe("paint"), {key: 100}).loss.temporal == 100.0


def test_recipes_that_were_flat_are_read(tmp_path: Path) -> None:
    flat = load_recipe(str(DATA / "paint-flat.yaml"), {"name": "paint"})
    assert flat == load_recipe("paint") and difference(flat, load_recipe("paint")) is None
    (tmp_path / "paint.yaml").write_text(yaml.safe_dump(load_recipe("paint").to_dict()))
    assert load_recipe(str(tmp_path / "paint.yaml")) == load_recipe("paint")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.stem)
def test_what_bundled_checkpoints_record_is_read(model: Path) -> None:
    header = load_checkpoint(model).header
    values = header.recipe_values
    nested = {"loss": values, "schedule": {}, **values} if "loss" not in values else values  # older ones are flat
    assert header.style_size == nested["loss"].get("style_size", 384) * nested["loss"].get("stroke", 1.0)
    gone = {key for key in values if key in GONE and key != "preview_every" and values[key] != GONE[key][0]}
    if gone:  # trained by terms that are no more
        with pytest.raises(InputError, match=f"the recipe value '({'|'.join(gone)})' is gone"):
            recipe_from_dict(values)
    else:
        recipe = recipe_from_dict(values)
        wanted = (
            nested["schedule"].get("steps", values.get("steps")),
            nested["loss"].get("style", values.get("style_weight")),
        )
        assert (recipe.schedule.steps, recipe.loss.style) == wanted
        assert json.loads(json.dumps(recipe.to_dict())) == recipe.to_dict()


def test_values_that_became_constants_are_those() -> None:
    constants = {
        "warmup_steps": WARMUP_STEPS,
        "gradient_norm": GRADIENT_NORM,
        "variation_weight": objective.VARIATION_WEIGHT,
        "teacher_layers": list(objective.TEACHER_LAYERS),
        "motion": MOTION,
        "preview_every": PREVIEW_EVERY,
    }
    assert {key: GONE[key][0] for key in constants} == constants


def test_a_recipe_is_copied_to_edit_and_never_over_another(tmp_path: Path) -> None:
    mine = tmp_path / "new" / "mine.yaml"
    copy_recipe("edge", mine)
    assert mine.read_bytes() == (RECIPE_FOLDER / "edge.yaml").read_bytes()
    assert difference(load_recipe(str(mine), {"name": "edge"}), load_recipe("edge")) is None
    mine.write_text("edited: by me")
    with pytest.raises(InputError, match="exists and is kept as it is"):
        copy_recipe("paint", mine)
    assert mine.read_text() == "edited: by me"
    with pytest.raises(InputError, match=r"does not end in \.yaml"):
        copy_recipe("paint", tmp_path / "mine.txt")
    with pytest.raises(InputError, match="unknown recipe 'oil'"):
        copy_recipe("oil", tmp_path / "oil.yaml")
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["new", "mine.yaml"]
