"""Video transformers of Hugging Face's transformers, called on one clip and giving logits."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kdvideo.models.adapters.adapter import Adapter, Fixed
from kdvideo.models.network import InputSpec

BLOCKS = {  # model type -> its blocks, of which V-JEPA 2 and TimeSformer return tuples
    "timesformer": "timesformer.encoder.layer.{}[0]",
    "videomae": "videomae.encoder.layer.{}",
    "vivit": "vivit.layers.{}",
    "vjepa2": "vjepa2.encoder.layer.{}[0]",
}


class VideoTransformer(Adapter):
    """A classifier of transformers on clips, (B, 3, T, H, W) -> (B, K) logits.

    Attributes:
        grid: (T', H', W') of the tokens that its layers give, (B, prefix + T' H' W', C).
        prefix: the number of tokens before the grid.

    Examples:
        >>> from transformers import VideoMAEConfig, VideoMAEForVideoClassification
        >>> sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        >>> config = VideoMAEConfig(image_size=32, patch_size=16, num_frames=8, num_labels=5, **sizes)
        >>> network = from_transformers(VideoMAEForVideoClassification(config))
        >>> isinstance(network, VideoTransformer), network.grid, network.prefix
        (True, (4, 2, 2), 0)
    """

    grid: tuple[int, int, int]
    prefix: int

    def forward(self, clip: Tensor) -> Tensor:
        """Compute the logits of clips.

        Args:
            clip: float (B, 3, T, H, W), normalized by `input_spec`.

        Returns:
            (B, K).
        """
        self.check(clip)
        logits: Tensor = self.network(self.feed(clip), return_dict=True).logits
        return logits


def from_transformers(network: nn.Module, *, processor: Callable[..., Any] | None = None) -> VideoTransformer:
    """Wrap a video classifier of transformers: VideoMAE, V-JEPA 2, TimeSformer or ViViT.

    The clip is fed as any network's here: scale and normalize frames with `input_spec.prepare`. Every layer is named,
    "layer0" the first, and gives tokens, which `kd.projectors.ToGrid(network.grid, prefix=network.prefix)` makes a
    map; TimeSformer orders them otherwise, time fastest. The network keeps its own `save_pretrained`.

    Args:
        network: as `AutoModelForVideoClassification.from_pretrained(name)` gives it; it is shared, not copied.
        processor: of the weights, as `AutoImageProcessor` or `AutoVideoProcessor` gives it: `input_spec` scales as it
            does. None, for weights of your own: values from -1 to 1.

    Returns:
        The network under `network`; `input_spec` has its frames and size; `classes` are its labels.

    Raises:
        ValueError: another network, or one without a classifier; at forward, a clip of another size.

    Examples:
        >>> import torch
        >>> from transformers import VideoMAEConfig, VideoMAEForVideoClassification
        >>> sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        >>> config = VideoMAEConfig(image_size=32, patch_size=16, num_frames=8, num_labels=5, **sizes)
        >>> network = from_transformers(VideoMAEForVideoClassification(config))
        >>> network(torch.zeros(2, 3, 8, 32, 32)).shape, network.layer_names["layer1"], network.grid
        (torch.Size([2, 5]), 'network.videomae.encoder.layer.1', (4, 2, 2))
    """
    config: Any = getattr(network, "config", None)
    kind = getattr(config, "model_type", type(network).__name__)
    if kind not in BLOCKS or not isinstance(getattr(network, "classifier", None), nn.Linear):
        raise ValueError(
            f"network must be a video classifier among {sorted(BLOCKS)}, got {kind}: load it with "
            "transformers.AutoModelForVideoClassification"
        )
    size, grid = _sizes(config)
    spec = InputSpec(size[0] or 1, size[1])
    stem = f"{kind}.encoder.embeddings" if kind == "vjepa2" else f"{kind}.embeddings"
    blocks = {f"layer{i}": BLOCKS[kind].format(i) for i in range(config.num_hidden_layers)}
    adapter = VideoTransformer(
        network,
        builder=None,
        config={"architecture": "transformers", "name": kind, "num_classes": config.num_labels, "in_channels": 3},
        input_spec=_as_processed(spec, processor) if processor else spec,
        layer_names={"stem": stem, **blocks, "head": "classifier"},
        feed=_frames_first,
        fixed=size,
    )
    adapter.grid, adapter.prefix = grid, int(kind in ("timesformer", "vivit"))
    adapter.classes = tuple(config.id2label[i] for i in range(config.num_labels))
    return adapter


def _as_processed(spec: InputSpec, processor: Callable[..., Any]) -> InputSpec:
    """Return the specification that scales as a processor does, whose options vary: black and white show it."""
    ends = []
    for value in (0, 255):
        frames = [torch.full((3, spec.size, spec.size), value, dtype=torch.uint8)] * spec.frames
        found = processor(torch.stack(frames) if "Video" in type(processor).__name__ else frames, return_tensors="pt")
        (video,) = (value for key, value in found.items() if key.startswith("pixel_values"))
        ends.append(video[0, 0].mean((1, 2)).double())
    black, span = ends[0], ends[1] - ends[0]
    mean, std = (tuple(values.tolist()) for values in (-black / span, 1 / span))
    return replace(spec, value_range=(0.0, 1.0), mean=mean, std=std)


def _frames_first(clip: Tensor) -> Tensor:
    return clip.transpose(1, 2)


def _sizes(config: Any) -> tuple[Fixed, tuple[int, int, int]]:
    """Return (T, H, W) of the clip and of the grid of tokens."""
    frames = config.frames_per_clip if config.model_type == "vjepa2" else config.num_frames
    size = config.crop_size if config.model_type == "vjepa2" else config.image_size
    tubelet = getattr(config, "tubelet_size", 1)  # TimeSformer has patches of one frame
    t, h, w = tubelet if isinstance(tubelet, (list, tuple)) else (tubelet, config.patch_size, config.patch_size)
    return (frames, size, size), (frames // t, size // h, size // w)
