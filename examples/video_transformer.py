r"""A video transformer of Hugging Face teaches S3D-G or X3D-S: its logits of many views are computed once.

With no argument teacher and clips are tiny and made up: the student learns to give its answers. With a name, or a
folder of `save_pretrained`, the teacher is the Hub's or yours:

    python examples/video_transformer.py
    python examples/video_transformer.py --teacher MCG-NJU/videomae-base-finetuned-kinetics --student x3d_s \
        --clips videos/train --cache logits --epochs 600 --out x3d_s.safetensors

A long schedule on the same views for both, without labels: Beyer, Zhai, Royer, Markeeva, Anil, Kolesnikov, "Knowledge
distillation: A good teacher is patient and consistent", CVPR 2022.
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", help="of the Hub, or a folder (default: a tiny random one)")
    parser.add_argument("--student", default="s3dg", help="s3dg or a backbone of pytorchvideo, such as x3d_s")
    parser.add_argument("--clips", help="folder of videos, one folder for each class (default: synthetic ones)")
    parser.add_argument("--fps", type=float, default=6.25, help="of the clips; VideoMAE saw every fourth frame")
    parser.add_argument("--views", type=int, default=4, help="of each clip")
    parser.add_argument("--cache", help="folder of the teacher's logits, which is kept (default: a temporary one)")
    parser.add_argument("--epochs", type=int, default=48, help="in each of which every view is seen once")
    parser.add_argument("--out", help="file of the student's weights")
    options = parser.parse_args()

import tempfile
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

import kdvideo as kd
from kdvideo import data, models
from kdvideo.data import synthetic

DEVICE, WORKERS = ("cuda", 8) if torch.cuda.is_available() else ("cpu", 0)


def hub_teacher(name: str | None) -> models.VideoTransformer:
    """Load a teacher from the Hub or a folder, or build a tiny one."""
    import transformers

    if name:
        network = transformers.AutoModelForVideoClassification.from_pretrained(name)
        return models.from_transformers(network, processor=transformers.AutoImageProcessor.from_pretrained(name))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    clip = {"image_size": 32, "patch_size": 16, "num_frames": 8, "num_labels": 5, "initializer_range": 0.5}
    config = transformers.VideoMAEConfig(**sizes, **clip)
    return models.from_transformers(transformers.VideoMAEForVideoClassification(config))


def hub_student(name: str, teacher: models.VideoTransformer, spec: models.InputSpec) -> models.Network:
    """Build the student, for the teacher's classes and with its input."""
    k = teacher.num_classes
    tiny: Any = {"depth_multiplier": 0.125, "min_depth": 8} if spec.size < 64 else {}
    student: models.Network = models.s3dg(k, **tiny) if name == "s3dg" else models.pytorchvideo(name, num_classes=k)
    student.input_spec, student.classes = spec, teacher.classes
    return student.to(DEVICE)


def batches(clips: data.PairedClips, spec: models.InputSpec) -> Iterator[tuple[torch.Tensor, list[str], torch.Tensor]]:
    """Yield every view of every clip once, as both networks are fed, with its clip and number."""
    items = [(view, clip) for view in range(clips.distinct_views or 1) for clip in range(len(clips))]
    for batch in DataLoader(clips, 8, sampler=[items[k] for k in torch.randperm(len(items))], num_workers=WORKERS):
        yield spec.prepare(batch["rgb"].to(DEVICE)), batch["clip"], batch["view"]


def train(student: models.Network, cache: kd.TeacherCache, clips: data.PairedClips, epochs: int) -> None:
    """Train the student from the cache."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(1, epochs + 1):
        right: list[bool] = []
        for rgb, names, views in batches(clips, student.input_spec):
            logits, target = student(rgb), cache.read(names, views, device=DEVICE).logits
            optimizer.zero_grad()
            kd.functional.soft_target(logits, target, temperature=2.0).backward()
            optimizer.step()
            right += (logits.argmax(1) == target.argmax(1)).tolist()
        rate.step()
        if epoch % max(epochs // 4, 1) == 0:
            print(
                f"epoch {epoch}: the student names the teacher's class: {100 * sum(right) / len(right):.0f} %",
                flush=True,
            )


def main(options: argparse.Namespace, folder: str) -> None:
    """Fill the cache, and train the student from it."""
    torch.manual_seed(0)
    network = hub_teacher(options.teacher).to(DEVICE)
    teacher, spec = kd.Teacher(network), network.input_spec.updated({"fps": options.fps})
    student = hub_student(options.student, network, spec)
    root = options.clips or synthetic.write_dataset(f"{folder}/clips", clips_per_class={"train": 2}) / "train"
    size: Any = {"frames": spec.frames, "fps": options.fps, "short_side": spec.size * 8 // 7, "crop": spec.size}
    size["in_memory"] = not options.clips
    clips = data.PairedClips(
        data.from_folder(root), train=True, dtype=torch.uint8, distinct_views=options.views, **size
    )
    fingerprint = {"teacher": kd.cache.weights_fingerprint(network), "views": clips.view_fingerprint}
    cache = kd.TeacherCache(options.cache or f"{folder}/logits", fingerprint=fingerprint)
    with cache.writer() as writer:
        for rgb, names, views in batches(clips, spec):
            if cache.missing(names, views):
                writer.add(names, views, teacher(rgb))
    print(f"cached: {options.views} views of {len(clips)} clips; the teacher runs no more", flush=True)
    train(student, cache, clips, options.epochs)
    if options.out:
        models.checkpoints.save(student, options.out, classes=student.classes, input_spec=spec.to_dict())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        try:
            main(options, folder)
        except (OSError, ValueError, KeyboardInterrupt) as error:
            raise SystemExit(f"video_transformer.py: {str(error) or 'stopped by Ctrl-C'}") from None
