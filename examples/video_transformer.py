"""A video transformer of Hugging Face teaches S3D-G or X3D-S: its logits of many views are computed once.

With no argument the teacher is a tiny VideoMAE that has learned nothing, and the clips are noise: the student learns to
give its answers. With a name it is the Hub's, as it was trained; give clips of yours then.

    python examples/video_transformer.py
    python examples/video_transformer.py --teacher MCG-NJU/videomae-base-finetuned-kinetics --student x3d_s --epochs 600

A long schedule on the same views for both, without labels: Beyer, Zhai, Royer, Markeeva, Anil, Kolesnikov, "Knowledge
distillation: A good teacher is patient and consistent", CVPR 2022.
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", help="of the Hub (default: a tiny random one)")
    parser.add_argument("--student", default="s3dg", help="s3dg or a backbone of pytorchvideo, such as x3d_s")
    parser.add_argument("--epochs", type=int, default=24)
    options = parser.parse_args()

import tempfile

import torch
from torch import Tensor

import kdvideo as kd
from kdvideo import models

CLIPS, VIEWS = 8, 4


def hub_teacher(name: str | None) -> models.VideoTransformer:
    """Load a teacher from the Hub, or build a tiny one."""
    import transformers

    if name:
        network = transformers.AutoModelForVideoClassification.from_pretrained(name)
        return models.from_transformers(network, processor=transformers.AutoImageProcessor.from_pretrained(name))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.VideoMAEConfig(
        image_size=32, patch_size=16, num_frames=8, num_labels=5, initializer_range=0.3, **sizes
    )
    return models.from_transformers(transformers.VideoMAEForVideoClassification(config))


def hub_student(name: str, teacher: models.VideoTransformer) -> models.Network:
    """Build the student, for the teacher's classes and with its input."""
    tiny = teacher.input_spec.size < 64
    if name == "s3dg":
        width = 0.125 if tiny else 1.0
        student: models.Network = models.s3dg(teacher.num_classes, dropout=0.0, depth_multiplier=width, min_depth=8)
    else:
        student = models.pytorchvideo(name, num_classes=teacher.num_classes, pretrained=False)
    student.input_spec, student.classes = teacher.input_spec, teacher.classes
    return student


def view_of(clip: int, view: int, spec: models.InputSpec) -> Tensor:
    """Return a view of a clip as both networks are fed; put your reader here."""
    draws = torch.Generator().manual_seed(1000 * clip + view)
    coarse = torch.randint(256, (3, spec.frames, 4, 4), generator=draws, dtype=torch.uint8)
    side = spec.size // 4
    return spec.prepare(coarse.repeat_interleave(side, -1).repeat_interleave(side, -2))


def main(options: argparse.Namespace) -> None:
    """Fill the cache, train the student from it, and compare."""
    torch.manual_seed(0)
    network = hub_teacher(options.teacher)
    teacher, spec = kd.Teacher(network), network.input_spec
    print(f"teacher: {network.config['name']}, {spec.frames} frames of {spec.size} pixels")
    clips = [f"clip-{number}" for number in range(CLIPS)]
    seen = {view: torch.stack([view_of(clip, view, spec) for clip in range(CLIPS)]) for view in range(VIEWS)}
    student, criterion = hub_student(options.student, network), kd.SoftTarget(temperature=2.0)
    optimizer = torch.optim.AdamW(student.parameters(), lr=5e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * VIEWS)
    with tempfile.TemporaryDirectory() as folder:
        fingerprint = {"teacher": kd.cache.weights_fingerprint(teacher.model), "views": "noise 1"}
        cache = kd.TeacherCache(folder, fingerprint=fingerprint)
        with cache.writer() as writer:
            for view, batch in seen.items():
                writer.add(clips, [view] * CLIPS, teacher(batch))
        print(f"cached: {VIEWS} views of {CLIPS} clips, the teacher runs no more")
        for epoch in range(options.epochs):
            total = 0.0
            for view in torch.randperm(VIEWS).tolist():
                target = kd.Output(cache.read(clips, [view] * CLIPS).logits, {})
                loss = criterion(kd.Output(student(seen[view]), {}), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
                total += loss.item() / VIEWS
            if epoch % max(options.epochs // 4, 1) == 0 or epoch == options.epochs - 1:
                print(f"epoch {epoch + 1:3d}  loss {total:.4f}")
    with torch.no_grad():
        agree = [student(batch).argmax(1) == teacher(batch).logits.argmax(1) for batch in seen.values()]
    print(f"the student names the teacher's class: {100 * float(torch.cat(agree).float().mean()):.0f} %")


if __name__ == "__main__":
    main(options)
