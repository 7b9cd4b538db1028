"""Two-stream features without flow: a network learns to give the pooled features of a flow network from RGB.

Synthetic videos of six classes: two cues, the look and the motion of an object, are there or absent independently. A
linear probe on the features of RGB, of flow, of both, and of RGB with the features that were learned without flow:

    L = mean over clips and channels of (f_s(rgb) - f_t(flow))^2, no labels

    python examples/features.py               # --clips 150 --steps 400 for a longer one

Crasto et al., "MARS: Motion-Augmented RGB Stream for Action Recognition", CVPR 2019, whose first stage it is.
`kdvideo features` writes the features of whole videos with any network.
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=40, help="of each class, for training")
    parser.add_argument("--steps", type=int, default=150, help="of a training")
    options = parser.parse_args()
    if min(options.clips, options.steps) < 1:
        parser.error("--clips and --steps must be at least 1")

import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd
from kdvideo import flow
from kdvideo.data import synthetic

FRAMES, SIZE, FPS = 8, 32, 8.0
POOLED = {"10": "pooled"}  # module path -> role


def render(count: int, split: str, seed: int) -> tuple[Tensor, Tensor]:
    """Render `count` clips of each class: uint8 (B, T, 3, H, W), and labels (B)."""
    cues, first = synthetic.IndependentCues(), 100_000 * seed + 10_000 * (split == "test")
    drawn = [cues.draw(name, count, synthetic.CLASSES, split, seed) for name in synthetic.CLASSES]
    frames = [
        synthetic.render(motion, appearance=look, seed=first + n, frames=FRAMES, size=SIZE, fps=FPS, distractor=0)
        for n, (motion, look) in enumerate(pair for pairs in drawn for pair in pairs)
    ]
    return torch.stack(frames), torch.arange(len(synthetic.CLASSES)).repeat_interleave(count)


def flow_of(videos: Tensor) -> Tensor:
    """Estimate the flow between the frames, (B, 2, T-1, H, W) in [-1, 1]."""
    return flow.to_unit(flow.tvl1(videos, preset="fast"), bound=4.0).movedim(2, 1)


def network(in_channels: int) -> nn.Sequential:
    """Build a small 3-D network; module 10 gives its pooled features (B, 64), module 11 the logits."""
    layers: list[nn.Module] = []
    for c_in, c_out in ((in_channels, 16), (16, 32), (32, 64)):
        layers += [nn.Conv3d(c_in, c_out, 3, stride=(1, 2, 2), padding=1), nn.BatchNorm3d(c_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(64, len(synthetic.CLASSES)))


def train(inputs: Tensor, target: Tensor, steps: int) -> kd.Student:
    """Train a network on labels (B), or on features (B, 64) of another one; return it with its pooled layer tapped."""
    student = kd.Student(network(inputs.shape[1]), POOLED)
    optimizer = torch.optim.AdamW(student.parameters(), weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
    for _ in range(steps):
        at = torch.randint(len(inputs), (32,))
        s, t = student(inputs[at]), target[at]
        loss = F.cross_entropy(s.logits, t) if t.ndim == 1 else kd.functional.feature_mse(s.features["pooled"], t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return student.eval()


@torch.no_grad()
def features(student: kd.Student, inputs: Tensor) -> Tensor:
    """Return the pooled features (B, 64)."""
    return torch.cat([student(batch).features["pooled"] for batch in torch.split(inputs, 64)])


def probe(train: Tensor, labels: Tensor, test: Tensor, truth: Tensor) -> float:
    """Return the accuracy in percent of a linear probe: ridge regression on standardized features."""
    train, test = ((one - train.mean(0)) / (train.std(0) + 1e-6) for one in (train, test))
    gram = train.T @ train + 0.1 * len(train) * torch.eye(train.shape[1])  # ridge
    weights = torch.linalg.solve(gram, train.T @ (F.one_hot(labels).float() - 1 / len(synthetic.CLASSES)))
    return 100 * float(((test @ weights).argmax(1) == truth).float().mean())


def compare(clips: int, steps: int, *, tested: int = 40, seed: int = 0) -> tuple[float, dict[str, tuple[float, float]]]:
    """Train the three networks; return the cosine, and accuracy (%) and time of a clip (s) by name of the features."""
    torch.manual_seed(seed)
    (videos, labels), (others, truth) = render(clips, "train", seed), render(tested, "test", seed)
    rgb = [(v.float() / 127.5 - 1).movedim(2, 1) for v in (videos, others)]
    began = time.process_time()  # of one thread: other programs do not count
    seen = {"rgb": rgb, "flow": [flow_of(v) for v in (videos, others)]}
    flow_cost = (time.process_time() - began) / (len(videos) + len(others))
    networks = {name: train(inputs[0], labels, steps) for name, inputs in seen.items()}
    target = features(networks["flow"], seen["flow"][0])
    networks["flow-free"] = train(seen["rgb"][0], target, 2 * steps)
    found, cost = {}, {}
    for name, student in networks.items():
        began = time.process_time()
        found[name] = [features(student, part) for part in seen["flow" if name == "flow" else "rgb"]]
        cost[name] = (time.process_time() - began) / (len(videos) + len(others)) + flow_cost * (name == "flow")
    wanted, given = (found[name][1] - target.mean(0) for name in ("flow", "flow-free"))
    rows = {}
    for names in (("rgb",), ("flow",), ("flow-free",), ("rgb", "flow"), ("rgb", "flow-free")):
        parts = [torch.cat([found[name][i] for name in names], 1) for i in (0, 1)]
        rows[" + ".join(names)] = probe(parts[0], labels, parts[1], truth), sum(cost[name] for name in names)
    return float(F.cosine_similarity(wanted, given).mean()), rows


if __name__ == "__main__":
    cosine, rows = compare(options.clips, options.steps)
    print(f"cosine to the features of flow, less their mean: {cosine:.3f}")
    for name, (rate, cost) in rows.items():
        print(f"  {name:16} {rate:5.1f} %   {cost * FPS / FRAMES:.4f} of real time")
