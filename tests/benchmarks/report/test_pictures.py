import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.benchmarks.measure.steadiness import Moment
from steadystyle.benchmarks.report.pictures import Grid, moment_grids, sheet
from steadystyle.video.flow import FlowPair

Frame = NDArray[np.uint8]
WIDTH, HEIGHT = 80, 50


def gray(level: int) -> Frame:
    return np.full((HEIGHT, WIDTH, 3), level, np.uint8)


@pytest.fixture
def moment() -> Moment:
    """A still source; one method copies it, the other flashes in its lower right corner in the last frame."""
    flash = gray(90)
    flash[38:48, 60:76] = 220
    frames = {
        "identity": [gray(100)] * 3,
        "copies": [gray(100)] * 3,
        "flashes": [gray(90), gray(90), flash],
    }
    still = FlowPair(np.zeros((HEIGHT, WIDTH, 2), np.float32), np.ones((HEIGHT, WIDTH), np.bool_))
    return Moment(start=7, worst="flashes", frames=frames, pairs=[still, still])


def test_error_maps_are_white_where_a_method_changes(moment: Moment) -> None:
    maps, _ = moment_grids("clip", moment)
    assert maps.columns == ["frame 7", "change 7 → 8", "change 8 → 9"]
    rows = dict(maps.rows)
    assert list(rows) == ["source", "copies", "flashes"]
    before, after = rows["flashes"][1:]
    assert before.max() == 0
    assert (after[38:48, 60:76] == 255).all()
    assert after.astype(bool).sum() == 160
    assert all(image.max() == 0 for row in ("source", "copies") for image in rows[row][1:])


def test_zooms_show_the_spot_in_all_frames_of_all_methods(moment: Moment) -> None:
    _, zooms = moment_grids("clip", moment)
    assert zooms.columns == ["frame 7", "frame 8", "frame 9", "change 8 → 9"]
    shapes = {image.shape[:2] for _, images in zooms.rows for image in images}
    assert len(shapes) == 1
    height, width = shapes.pop()
    assert height % 3 == width % 3 == 0 and height < 3 * HEIGHT / 2
    flash = dict(zooms.rows)["flashes"]
    # Each of the 160 flashing pixels is there, three by three.
    assert (flash[2][..., 0] == 220).sum() == 160 * 9
    assert (flash[3] == 255).sum() == 160 * 9
    assert "flashes" in zooms.caption


def test_tiny_frames_have_pictures_too() -> None:
    frames = {"identity": [np.zeros((1, 2, 3), np.uint8)] * 3}
    still = FlowPair(np.zeros((1, 2, 2), np.float32), np.ones((1, 2), np.bool_))
    for grid in moment_grids("tiny", Moment(0, "identity", frames, [still, still])):
        assert sheet(grid).ndim == 3


def test_a_sheet_holds_every_image_and_writes_beside_them() -> None:
    images: list[Frame] = [np.full((20, 30, 3), (10 * k, 200, 30), np.uint8) for k in range(1, 4)]
    mask: Frame = np.full((20, 30), 77, np.uint8)
    page = sheet(Grid("g", "t", "c", ["one", "two"], [("first", images[:2]), ("second", [images[2], mask])]))
    assert page.dtype == np.uint8
    for image in images:
        assert (page == image[0, 0]).all(axis=2).sum() == 600
    assert (page == 77).all(axis=2).sum() >= 600  # an edge of a letter may have the same shade
    # The headings: dark on white.
    assert page.min() < 100 and (page == 255).all(axis=2).sum() > 1000
