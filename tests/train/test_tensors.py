import numpy as np
import torch

from steadystyle.common.arrays import resized, scaled
from steadystyle.train.tensors import frame_to_tensor, to_frame, to_tensor


def test_a_frame_is_a_tensor_and_back() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    one, batch = frame_to_tensor(frame), to_tensor(frame[None], torch.device("cpu"))
    assert one.shape == (1, 3, 5, 7) and one.dtype == torch.uint8
    assert torch.equal(one.float() / 255, batch) and batch.is_contiguous()
    assert torch.equal(frame_to_tensor(torch.from_numpy(frame)), one)
    assert torch.equal(frame_to_tensor(frame[:, ::-1]), one.flip(3))
    np.testing.assert_array_equal(to_frame(batch[0]), frame)


def test_a_picture_is_scaled_as_it_is_resized() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    np.testing.assert_array_equal(scaled(picture, 0.5), resized(picture, (30, 20)))
    np.testing.assert_array_equal(scaled(picture, 2.0), resized(picture, (120, 80)))
    assert scaled(picture, 0.33).shape == (13, 20, 3)
