"""The metadata of artifacts: written, read back, and refused when it does not fit."""

import dataclasses
import json

import pytest

from steadystyle.common.files import InputError
from steadystyle.runtimes.artifact import ArtifactMetadata

METADATA = ArtifactMetadata(
    name="great-wave",
    style="wave.jpg",
    architecture="huang2017",
    sizes={},
    precision="fp32",
    width=640,
    height=360,
    checkpoint_sha256="ab" * 32,
    calibration_sha256=None,
    steps=100,
    producer="steadystyle 0",
    verification={"psnr_db": 80.5, "source": "harbour"},
)


@pytest.mark.parametrize("sides", [(640, 360), (None, None)])
def test_it_comes_back_as_it_was_written(sides: tuple[int | None, int | None]) -> None:
    metadata = dataclasses.replace(METADATA, width=sides[0], height=sides[1])
    assert ArtifactMetadata.from_json(metadata.to_json()) == metadata


def test_a_later_writer_may_add_fields() -> None:
    values = json.loads(METADATA.to_json()) | {"colour": "warm"}
    assert ArtifactMetadata.from_json(json.dumps(values)) == METADATA


def test_names_of_files() -> None:
    assert METADATA.file_name(".onnx") == "great-wave-640x360-fp32.onnx"
    assert dataclasses.replace(METADATA, width=None, height=None).file_name() == "great-wave-any-fp32"


def test_a_figure_that_json_cannot_hold_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        dataclasses.replace(METADATA, verification={"psnr_db": float("inf")}).to_json()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format_version": 2}, "format version 2"),
        ({"name": None}, "'name'"),
        ({"steps": "many"}, "'steps'"),
        ({"steps": True}, "'steps'"),
        ({"sizes": [3]}, "'sizes'"),
        ({"width": 640.5}, "'width'"),
        ({"width": None}, "no size"),
        ({"height": 0}, "no size"),
        ({"layout": "CHW"}, "CHW RGB"),
        ({"colour_order": "BGR"}, "HWC BGR"),
        ({"verification": []}, "'verification'"),
        ({"float_layers": "tail"}, "'float_layers'"),
        ({"sensitivity": []}, "'sensitivity'"),
        ({"content_sha256": None}, "'content_sha256'"),
        ({"style_size": 0}, "'style_size'"),
        ({"style_size": 448.5}, "'style_size'"),
        ({"sizes": {"blocks": "3"}}, "'sizes'"),
        ({"look": []}, "'look'"),
        ({"look": {"strength": 1.5}}, "'look'"),
        ({"look": {"stroke": "2"}}, "'look'"),
        ({"look": {"stroke": 1}}, "'look'"),
        ({"look": {"keep_colors": 2}}, "'look'"),
        ({"look": {"only": "person"}}, "'look'"),
        ({"verification": {"psnr_db": float("inf")}}, "not finite"),
        ({"name": "../x"}, "is not allowed"),
        ({"precision": "../x"}, "is not allowed"),
    ],
)
def test_values_that_do_not_fit_are_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        ArtifactMetadata.from_json(json.dumps(json.loads(METADATA.to_json()) | change))


def test_a_file_of_before_is_of_the_size_that_all_were_trained_for() -> None:
    values = json.loads(dataclasses.replace(METADATA, style_size=448).to_json())
    assert ArtifactMetadata.from_json(json.dumps(values)).style_size == 448
    del values["style_size"]
    del values["look"]
    assert ArtifactMetadata.from_json(json.dumps(values)) == METADATA
    assert METADATA.style_size == 384


@pytest.mark.parametrize(
    "field", sorted({field.name for field in dataclasses.fields(METADATA)} - {"style_size", "look"})
)
def test_every_field_is_needed(field: str) -> None:
    values = json.loads(METADATA.to_json())
    del values[field]
    with pytest.raises(InputError, match="export it again"):
        ArtifactMetadata.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null"])
def test_text_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="export it again"):
        ArtifactMetadata.from_json(text)
