"""The check of the flow that figures rest on."""

from pathlib import Path

import numpy as np
import pytest

from steadystyle.studies import flow_check
from steadystyle.studies.flow_check import EstimatedClip, end_point_error, main
from steadystyle.video.flow import write_flo
from steadystyle.video.images import write_image
from steadystyle.video.synthetic.motions import SCENES


def test_end_point_error_is_the_mean_length_where_it_is_known_and_counts() -> None:
    exact = np.zeros((2, 2, 2), np.float32)
    found = np.array([[[3, 4], [0, 0]], [[6, 8], [30, 40]]], np.float32)
    assert end_point_error(found, exact) == pytest.approx((5 + 0 + 10 + 50) / 4)
    exact[1, 1] = np.nan
    assert end_point_error(found, exact) == pytest.approx(5)
    assert end_point_error(found, exact, np.array([[True, False], [False, True]])) == pytest.approx(5)
    assert np.isnan(end_point_error(found, exact, np.zeros((2, 2), bool)))


def test_tables_hold_every_pair_and_every_scene(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pan"
    scene = SCENES["pan"](width=160, height=96)
    write_image(folder / "frame10.png", scene.frame(2))
    write_image(folder / "frame11.png", scene.frame(1))
    write_flo(folder / "flow10.flo", scene.pair(1, 1).flow)
    chosen = {"pan": SCENES["pan"], "still": SCENES["still"]}
    for name, value in (("SCENES", chosen), ("_HEIGHT", 96), ("_FRAMES", 7)):
        monkeypatch.setattr(flow_check, name, value)
    main(["great-wave", "--middlebury", str(folder)])
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    given = next([float(cell) for cell in line[1:]] for line in lines if line[0] == "pan" and len(line) == 5)
    assert given[2] < 0.5 * given[0], "the folder's flow was taken the wrong way round"
    methods = [(line[0], line[1]) for line in lines if line[0] in chosen and len(line) > 5]
    assert methods == [(scene, method) for scene in chosen for method in ("identity", "great-wave")]
    flows = {line[0]: [float(cell) for cell in line[1:]] for line in lines if "apart" in line[0]}
    assert set(flows) == {f"{name}, {interval} apart" for name in chosen for interval in (1, 5)}
    assert flows["still, 1 apart"][0] == 0 and flows["pan, 5 apart"][0] > 3 * flows["pan, 1 apart"][0]
    assert flows["pan, 1 apart"][2] < 0.5 * flows["pan, 1 apart"][0], "DIS found nothing of the motion"


def test_a_scene_measured_as_a_file_has_estimated_flow() -> None:
    scene = SCENES["pan"](width=160, height=96)
    frames = scene.frame(1), scene.frame(2)
    found = EstimatedClip(scene, 4).pair(1, 1, *frames)
    exact = scene.pair(1, 1)
    assert not np.array_equal(found.flow, exact.flow)
    assert end_point_error(found.flow, exact.flow, found.valid) < 0.5
