"""A teacher that hears teaches a student that only sees: two streams of the same clips.

Clips of a drifting texture with a tone; the class is the direction, one of four, and each has its pitch. Hearing the
class is easy: a few labels train the teacher. Seeing it is harder: the same labels do not suffice for the student, but
the teacher hears the unlabelled clips too:

    L = cross_entropy(s(rgb), y) [on the clips with labels] + T^2 KL(p_t(sound) || p_s(rgb)) [on all], T = 2

    python examples/silent_student.py      # needs kdvideo[video]; writes 400 small videos into a temporary folder

After Aytar, Vondrick, Torralba, "SoundNet: Learning Sound Representations from Unlabeled Video", NeurIPS 2016,
arXiv:1610.09001, where the teacher sees and the student hears.
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import tempfile
from pathlib import Path
from statistics import mean

import av
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import default_collate

import kdvideo as kd
from kdvideo.data import AudioSpectrogram, PairedClips, from_folder

PITCHES = (400, 700, 1200, 2000)  # Hz, of right, left, down, up
DRIFTS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # pixels a frame
FRAMES, SIZE, FPS, RATE = 5, 24, 10, 8000
TRAINING, LABELED, TEST, STEPS, SEEDS = 256, 16, 144, 150, (0, 1)


def write_clip(path: Path, label: int, rng: np.random.Generator) -> None:
    """Write a texture that drifts as its class, and a noisy tone of its class."""
    texture, (x, y) = rng.uniform(90, 165, (64, 64)), DRIFTS[label]
    tone = np.sin(2 * np.pi * PITCHES[label] * np.arange(FRAMES * RATE // FPS) / RATE + rng.uniform(0, 6))
    sound = 0.2 * tone + 0.1 * rng.standard_normal(tone.shape)
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=FPS, options={"qscale": "2"})
        video.width, video.height, video.pix_fmt = SIZE, SIZE, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for t in range(FRAMES):
            image = np.roll(texture, (y * t, x * t), (0, 1))[:SIZE, :SIZE] + rng.normal(0, 60, (SIZE, SIZE))
            pixels = np.stack([image.clip(0, 255).astype(np.uint8)] * 3, -1)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(video.encode())
        frame = av.AudioFrame.from_ndarray((sound.clip(-1, 1) * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = RATE
        container.mux(audio.encode(frame))
        container.mux(audio.encode())


def read_clips(folder: Path, count: int, seed: int) -> dict[str, Tensor]:
    """Write clips, and read them with their sound: rgb (B, 3, T, H, W), sound (B, T, bands), label (B)."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        (folder / str(number % 4)).mkdir(parents=True, exist_ok=True)
        write_clip(folder / str(number % 4) / f"{number}.mkv", number % 4, rng)
    size = {"frames": FRAMES, "short_side": SIZE, "crop": SIZE}
    streams = {"sound": AudioSpectrogram(bands=24, rate=RATE)}
    clips = PairedClips(from_folder(folder), train=False, fps=FPS, streams=streams, **size)  # type: ignore[arg-type]
    order = rng.permutation(count // 4)[:, None] + np.arange(4) * (count // 4)  # the classes in turn
    found: dict[str, Tensor] = default_collate([clips[int(k)] for k in order.flatten()])
    return found


def seeing() -> nn.Sequential:
    """Build a small 3-D network: logits of (B, 3, T, H, W)."""
    return nn.Sequential(
        *(nn.Conv3d(3, 16, (3, 5, 5), stride=(1, 2, 2), padding=(1, 2, 2)), nn.BatchNorm3d(16), nn.ReLU()),
        *(nn.Conv3d(16, 32, 3, stride=(1, 2, 2), padding=1), nn.BatchNorm3d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(32, 4)),
    )


def train(net: nn.Module, clips: dict[str, Tensor], stream: str, teacher: kd.Teacher | None = None) -> nn.Module:
    """Train on the labels of the first clips and, with a teacher that hears, on its logits for all."""
    optimizer = torch.optim.Adam(net.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=STEPS)
    for _ in range(STEPS):
        batch = torch.randint(LABELED, (LABELED,))
        loss = F.cross_entropy(net(clips[stream][batch]), clips["label"][batch])
        if teacher is not None:
            batch = torch.randint(TRAINING, (32,))
            logits, heard = net(clips[stream][batch]), teacher(clips["sound"][batch]).logits
            loss = loss + kd.functional.soft_target(logits, heard, temperature=2.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return net.eval()


def main() -> None:
    """Train teacher, student alone and taught student, and print their accuracies over the seeds."""
    found: dict[str, list[float]] = {"teacher, sound": [], "student alone, RGB": [], "student taught, RGB": []}
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            training = read_clips(Path(folder, "train"), TRAINING, 2 * seed)
            test = read_clips(Path(folder, "test"), TEST, 2 * seed + 1)
        torch.manual_seed(seed)
        bands = FRAMES * 24
        hearing = nn.Sequential(nn.Flatten(), nn.LayerNorm(bands), nn.Linear(bands, 32), nn.ReLU(), nn.Linear(32, 4))
        teacher = train(hearing, training, "sound")
        alone, taught = train(seeing(), training, "rgb"), train(seeing(), training, "rgb", kd.Teacher(teacher))
        for name, net, stream in zip(found, (teacher, alone, taught), ("sound", "rgb", "rgb"), strict=True):
            found[name].append(100 * float((net(test[stream]).argmax(1) == test["label"]).float().mean()))
    for name, values in found.items():
        print(f"{name:<20} {mean(values):5.1f} %  ({', '.join(f'{one:.1f}' for one in values)})")


if __name__ == "__main__":
    main()
