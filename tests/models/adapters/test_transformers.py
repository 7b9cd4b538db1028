"""The adapter for transformers' video networks, with random weights; masked features of UMT and MVD between them."""

import pytest
import torch
import transformers
from torch.nn import functional as F

import kdvideo as kd
from kdvideo import models

SIZES = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "num_labels": 5}
CLIP = {"image_size": 32, "num_frames": 8, "intermediate_size": 64}
PREDICTOR = {"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1, "num_pooler_layers": 1}
CONFIGS = {
    "VideoMAE": {"patch_size": 16, **CLIP},
    "VJEPA2": {"crop_size": 32, "frames_per_clip": 8, "patch_size": 16, **PREDICTOR},
    "Timesformer": {"patch_size": 16, **CLIP},
    "Vivit": {"tubelet_size": [2, 16, 16], **CLIP},
}


def build(name):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SIZES, **CONFIGS[name])
    return models.from_transformers(getattr(transformers, f"{name}ForVideoClassification")(config)).eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_and_tokens_are_transformers_own(name):
    """Fails when axes are swapped, when a layer's name is another's, or when a token is miscounted."""
    network, clip = build(name), torch.randn(2, 3, 8, 32, 32)
    names = network.layer_names
    output = kd.Teacher(network, {names["stem"]: "stem", names["layer0"]: "first", names["layer1"]: "last"})(clip)
    with torch.no_grad():
        expected = network.network(clip.transpose(1, 2), output_hidden_states=True)
    assert torch.equal(output.logits, expected.logits)
    assert torch.equal(output.features["stem"], expected.hidden_states[0])
    assert torch.equal(output.features["first"], expected.hidden_states[1])
    grid = kd.projectors.ToGrid(network.grid, prefix=network.prefix)(output.features["last"])
    assert grid.shape == (2, 48, *network.grid)


def test_the_order_of_the_grid():
    """Fails when `grid` names its axes in another order than the tokens have."""
    network = build("VideoMAE")
    clip = torch.zeros(1, 3, 8, 32, 32)
    moved = clip.clone()
    moved[:, :, 6:, :16, 16:] = 1  # the last of 4 steps, the first row, the second column
    found = kd.FeatureExtractor(network, {network.layer_names["stem"]: "stem"})
    changed = (found(moved).features["stem"] - found(clip).features["stem"]).abs().sum(-1) > 1e-6
    assert changed.view(network.grid).nonzero().tolist() == [[3, 0, 1]]


@pytest.mark.parametrize(
    ("name", "processor", "options"),
    [
        (
            "VideoMAE",
            "VideoMAEImageProcessor",
            {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
        ),
        ("VJEPA2", "VJEPA2VideoProcessor", {"do_resize": False}),
        ("Vivit", "VivitImageProcessor", {}),
        ("Vivit", "VivitImageProcessor", {"do_normalize": False}),
    ],
)
def test_input_spec_scales_as_the_processor(name, processor, options):
    """Fails when black and white are swapped, or channels are."""
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    processor = getattr(transformers, processor)(**sizes, **options)
    frames = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)
    found = processor(frames if name == "VJEPA2" else list(frames), return_tensors="pt")
    (expected,) = (value for key, value in found.items() if key.startswith("pixel_values"))
    spec = models.from_transformers(build(name).network, processor=processor).input_spec
    torch.testing.assert_close(spec.prepare(frames.transpose(0, 1)), expected[0].transpose(0, 1), rtol=0, atol=1e-4)
    assert (spec.frames, spec.size) == (8, 32)


def test_other_networks_and_clips_are_refused():
    """Fails when a network without classifier, or a clip of another size, is taken."""
    with pytest.raises(ValueError, match="got Linear"):
        models.from_transformers(torch.nn.Linear(2, 2))
    config = transformers.VideoMAEConfig(**SIZES, **CONFIGS["VideoMAE"])
    with pytest.raises(ValueError, match="must be a video classifier"):
        models.from_transformers(transformers.VideoMAEModel(config))
    with pytest.raises(ValueError, match=r"\(8, 32, 32\)"):
        build("VideoMAE")(torch.zeros(1, 3, 16, 32, 32))


def test_unmasked_teacher_is_a_cosine_on_the_visible_tokens():
    """Fails when tokens that the mask leaves out count: UMT, the squared error of unit tokens that the student saw."""
    student, teacher = torch.randn(2, 16, 8), torch.randn(2, 16, 8)
    visible = torch.rand(2, 16) < 0.4
    loss = 2 * kd.functional.feature_cosine(student, teacher, dim=-1, mask=visible)
    error = (F.normalize(student, dim=-1) - F.normalize(teacher, dim=-1)).square().sum(-1)
    torch.testing.assert_close(loss, error[visible].mean())
    # A student that drops tokens gives the visible ones only: gather the teacher's.
    seen = torch.arange(16).expand(2, 16)[:, ::4, None].expand(-1, -1, 8)
    gathered = 2 * kd.functional.feature_cosine(student.gather(1, seen), teacher.gather(1, seen), dim=-1)
    torch.testing.assert_close(gathered, error[:, ::4].mean())


def test_masked_video_distillation_is_an_error_on_the_hidden_tokens():
    """Fails when the mask is turned round: MVD, the error to layer-normalized tokens that the student did not see."""
    student, teacher = torch.randn(2, 16, 8), 3 * torch.randn(2, 16, 8) + 1
    hidden = torch.rand(2, 16) < 0.8
    target = F.layer_norm(teacher, (8,))
    loss = kd.functional.feature_mse(student, target, dim=-1, mask=hidden)
    torch.testing.assert_close(loss, F.mse_loss(student[hidden], target[hidden]))
    smooth = kd.functional.foundation_feature(student, target, cosine=0, smooth_l1=1, beta=2, dim=-1, mask=hidden)
    torch.testing.assert_close(smooth, F.smooth_l1_loss(student[hidden], target[hidden], beta=2))
