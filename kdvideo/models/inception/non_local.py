"""The non-local block of NL S3D-G, pytorchvideo's, started as the identity."""

from torch import nn

from kdvideo._extras import needed


def non_local_block(channels: int) -> nn.Module:
    """Build a non-local block, y = x + BN(W softmax(theta(x)^T phi(x) / sqrt(C/2)) g(x)), with BN's gamma at 0.

    theta, phi and g are 1x1x1 convolutions to C/2 channels; phi and g see x max-pooled by (1, 2, 2).
    At the start y = x, so the block can be put into a trained network.

    Source:
        Wang, Girshick, Gupta, He: Non-local Neural Networks, CVPR 2018, arXiv 1711.07971.
    """
    with needed("a non-local block"):
        from pytorchvideo.layers.nonlocal_net import create_nonlocal

    block: nn.Module = create_nonlocal(
        dim_in=channels,
        dim_inner=max(channels // 2, 1),
        pool_size=(1, 2, 2),
        instantiation="softmax",
        norm_eps=1e-3,
        norm_momentum=1e-3,
    )
    for name in ("conv_theta", "conv_phi", "conv_g", "conv_out"):
        conv = block.get_submodule(name)
        nn.init.normal_(conv.get_parameter("weight"), std=0.01)
        nn.init.zeros_(conv.get_parameter("bias"))
    nn.init.zeros_(block.get_parameter("norm.weight"))
    return block
