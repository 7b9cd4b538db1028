"""Two small networks with class names that are hostile to HTML."""

from __future__ import annotations

import pytest
import torch

from kdvideo import flow, models

CLASSES = ["spin", "<img src=x onerror=alert(1)>", "orbit"]
VIEW = {"frames": 8, "fps": 12.5, "short_side": 48, "crop": 44, "flow_bound": 5.0}


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder, found = tmp_path_factory.mktemp("networks"), {}
    for name, channels in (("rgb", 3), ("flow", 2)):
        torch.manual_seed(channels)
        network = models.s3dg(3, in_channels=channels, depth_multiplier=0.125, min_depth=8)
        seen = VIEW | {"stream": name, "flow": flow.TVL1Estimator().fingerprint, "range": [-1.0, 1.0]}
        (folder / name).mkdir()
        found[name] = str(folder / name / "model.safetensors")
        models.checkpoints.save(network, found[name], classes=CLASSES, input_spec=seen)
    return found
