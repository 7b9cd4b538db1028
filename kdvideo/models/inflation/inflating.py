"""timm's 2-D classifiers as 3-D networks that start from the 2-D weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from kdvideo._extras import needed
from kdvideo.models.adapters.timm import DOWNLOADS, check_name
from kdvideo.models.inflation.converter import Converter, TemporalRule, i3d_kernels
from kdvideo.models.inflation.filters import Fill, average
from kdvideo.models.network import InputSpec, Network, check_clip
from kdvideo.models.stem import average_filters, replace_stem

FRAMES = 64  # of I3D's clips in training


class Inflated(Network):
    """A 3-D network under `network`, with the module paths of the 2-D one it was made of.

    Args:
        network: the 3-D network.
        config: as in `Network`.
        layer_names: as in `Network`.
        input_spec: as in `Network`.

    Examples:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
        >>> video = inflate(net)
        >>> isinstance(video, Inflated), video(torch.zeros(2, 3, 8, 9, 9)).shape
        (True, torch.Size([2, 5]))
    """

    def __init__(
        self, network: nn.Module, *, config: dict[str, Any], layer_names: dict[str, str], input_spec: InputSpec
    ) -> None:
        super().__init__()
        self.network = network
        self.builder, self.config = inflated, config
        self.layer_names = layer_names
        self.input_spec = input_spec

    def forward(self, clip: Tensor) -> Tensor:
        """Compute the logits of clips.

        Args:
            clip: float (B, C, T, H, W), normalized by `input_spec`.

        Returns:
            (B, K).
        """
        check_clip(clip, channels=self.in_channels)
        logits: Tensor = self.network(clip)
        return logits


def inflate(
    network: nn.Module,
    *,
    temporal: TemporalRule | Mapping[str, Any] = i3d_kernels,
    fill: Fill = average,
    name: str | None = None,
    **options: Any,
) -> Inflated:
    """Make a 2-D classifier 3-D: (B, C, T, H, W) -> (B, K), on a still video the same as the 2-D one on the picture.

    W³ᴰ_thw = W²ᴰ_hw / N for t = 1 … N.

    A k x k convolution gets a temporal kernel of N = k; batch norm, activations and pools act on each frame, global
    pools average over all. The given network is left as it is. Time is padded by repeating the edge frames, so that
    a still video is exact at the borders too; I3D pads zeros, and differs there at the first and last frames.

    Args:
        network: convolutions, batch norm, pools and a linear classifier of one picture (B, C, H, W), such as timm's.
        temporal: (kernel, stride) in time of each convolution and pool: a function of module path and 2-D layer, or
            a mapping from paths, where those not named keep (1, 1). With a stride of s, ceil(T / s) frames result.
            The default, `i3d_kernels`, is I3D's for convolutions and has no temporal stride.
        fill: 2-D kernel (O, I, H, W) and N -> 3-D kernel (O, I, N, H, W): `average` or `center`; what holds on a
            still video holds for any that sums to the 2-D kernel.
        name: timm's name of this network, by which its `config` rebuilds it; checked. Without a name its
            configuration cannot be built, only its state_dict be saved.
        options: further arguments of timm's builder by which the network was made.

    Returns:
        The 3-D network, with its own weights.

    Raises:
        ValueError: a layer or an operation that is not known to work in 3-D, named by its path; a bad kernel or
            stride; a name that gives another network.

    Examples:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
        >>> picture, video = torch.rand(2, 3, 9, 9), inflate(net)
        >>> still = picture.unsqueeze(2).expand(-1, -1, 6, -1, -1)
        >>> torch.allclose(video(still), net(picture), atol=1e-5), video.network[0].weight.shape
        (True, torch.Size([4, 3, 3, 3, 3]))

    Source:
        Carreira, Zisserman: Quo Vadis, Action Recognition?, CVPR 2017, arXiv 1705.07750.
    """
    model = _inflate(network, temporal, fill, name=name, options=options)
    if name is not None:
        _check_rebuilds(model)
    return model


def inflated(
    name: str,
    *,
    num_classes: int = 400,
    in_channels: int = 3,
    pretrained: bool = False,
    temporal: TemporalRule | Mapping[str, Any] = i3d_kernels,
    fill: Fill = average,
    **options: Any,
) -> Inflated:
    """Build one of timm's 2-D classifiers and `inflate` it: (B, C, T, H, W) -> (B, K) logits.

    Args:
        name: timm's name, for instance "resnet50", "inception_v3" or, with a tag, "resnet50.a1_in1k".
        num_classes: K; where it is not that of the published weights, the classifier starts afresh.
        in_channels: 3 for RGB, 2 for optical flow; published filters are averaged, as `resize_stem` does.
        pretrained: start from timm's published weights, which timm downloads and keeps.
        temporal: see `inflate`.
        fill: see `inflate`.
        options: further keyword arguments of timm's builder, e.g. `drop_path_rate=0.1`.

    Returns:
        The network; `layer_names` has timm's own names of its stages.

    Raises:
        ValueError: a name unknown to timm, or a network that cannot be inflated, such as a vision transformer.

    Examples:
        >>> import torch
        >>> with torch.device("meta"):
        ...     model = inflated("resnet18", num_classes=5)
        ...     model(torch.empty(2, 3, 8, 64, 64)).shape
        torch.Size([2, 5])
        >>> model.layer_names["layer3"], model.config["temporal"]["conv1"]
        ('network.layer3', [7, 1])

    Source:
        Wightman: PyTorch Image Models, doi 10.5281/zenodo.4414861. Carreira, Zisserman, CVPR 2017, arXiv 1705.07750.
    """
    with needed("kdvideo.models.inflated"):
        import timm  # takes seconds, so not at import

    if name is None:
        raise ValueError("name must be timm's, got None: a network that was inflated without name= cannot be rebuilt")
    check_name(name)
    rgb_first = pretrained and in_channels != 3  # timm's own way would cycle and scale the published filters
    channels = 3 if rgb_first else in_channels
    network = timm.create_model(name, pretrained=pretrained, num_classes=num_classes, in_chans=channels, **options)
    if rgb_first:
        stems = network.pretrained_cfg.get("first_conv") or ()
        paths = [stems] if isinstance(stems, str) else stems
        replace_stem(network, in_channels, paths=paths, filters=average_filters)
    return _inflate(network, temporal, fill, name=name, options=options)


def _inflate(
    network: nn.Module,
    temporal: TemporalRule | Mapping[str, Any],
    fill: Fill,
    *,
    name: str | None,
    options: dict[str, Any],
) -> Inflated:
    converter = Converter(temporal, fill)
    converted = converter(network)
    stem, head = _ends(network)
    first = network.get_submodule(stem)
    channels = first.get_parameter("weight").shape[1] * getattr(first, "groups", 1)
    sizes = {"num_classes": network.get_submodule(head).get_parameter("weight").shape[0], "in_channels": channels}
    config = {"architecture": "inflated", "name": name, **sizes, "temporal": converter.temporal}
    config |= {key: value for key, value in options.items() if key not in DOWNLOADS}
    features = [row["module"] for row in getattr(network, "feature_info", None) or []]
    layers = features or [layer for layer, _ in network.named_children()]
    names = {"stem": stem, **{layer: layer for layer in layers}, "head": head}
    layer_names = {short: f"network.{path}" for short, path in names.items()}
    return Inflated(converted, config=config, layer_names=layer_names, input_spec=_input_spec(network, channels))


def _ends(network: nn.Module) -> tuple[str, str]:
    """Return the paths of the first convolution and of the classifier: timm's, or the first and last that there are."""
    published = getattr(network, "pretrained_cfg", None) or {}
    convolutions = [path for path, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    linears = [path for path, m in network.named_modules() if isinstance(m, nn.Linear)]
    ends = [published.get("first_conv") or convolutions[:1], published.get("classifier") or linears[-1:]]
    paths = [path for end in ends for path in ([end] if isinstance(end, str) else list(end)[:1])]
    if len(paths) < 2 or not all(hasattr(network.get_submodule(path), "weight") for path in paths):
        found = f"convolutions {convolutions[:1]} and linear layers {linears[-1:]}"
        raise ValueError(f"the network must be a classifier, with a convolution and a linear layer, got {found}")
    return paths[0], paths[1]


def _input_spec(network: nn.Module, channels: int) -> InputSpec:
    published = getattr(network, "pretrained_cfg", None) or {}
    size = published.get("input_size", (3, 224, 224))[-1]
    if channels != 3:  # no published weights see these: the range of kdvideo's own flow networks, no normalization
        return InputSpec(FRAMES, size)
    mean, std = (tuple(published.get(key, ())) for key in ("mean", "std"))
    return InputSpec(FRAMES, size, value_range=(0.0, 1.0), mean=mean, std=std)


def _check_rebuilds(model: Inflated) -> None:
    mine, theirs = _outline(model), _outline(model.rebuild())
    different = [path for path in mine | theirs if mine.get(path) != theirs.get(path)]
    if different:
        raise ValueError(
            f"name= must be of the given network, got {model.config['name']!r}, which differs from it at "
            f"{different[:3]}: give the options it was made with, or no name"
        )


def _outline(model: Network) -> dict[str, str]:
    """Describe what each module is and does, apart from its numbers."""
    modules = {p: f"{type(m).__name__}({m.extra_repr()}) {getattr(m, 'code', '')}" for p, m in model.named_modules()}
    return {**modules, "input_spec": str(model.input_spec)}
