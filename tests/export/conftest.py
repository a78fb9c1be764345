"""One thread for torch: tensors this small lose more to waiting for a second one than they gain."""

import torch

torch.set_num_threads(1)
