import pytest
import torch
from torch import nn
from torch.nn import functional as F

import kdvideo as kd
from kdvideo import projectors

FEATURE = torch.randn(2, 3, 4, 6, 5, generator=torch.Generator().manual_seed(0))


def test_conv_is_a_linear_map_of_the_channels() -> None:
    projector = projectors.conv(3, 7)
    expected = F.linear(FEATURE.movedim(1, -1), projector.weight.flatten(1), projector.bias).movedim(-1, 1)
    torch.testing.assert_close(projector(FEATURE), expected)
    assert projectors.conv(3, 7, bias=False).bias is None


def test_linear_maps_vectors_and_tokens() -> None:
    assert projectors.linear(3, 7)(torch.zeros(2, 3)).shape == (2, 7)
    assert projectors.linear(3, 7)(torch.zeros(2, 9, 3)).shape == (2, 9, 7)
    assert projectors.linear(3, 7, bias=False).bias is None


def test_conv_bn_normalises_and_takes_another_norm() -> None:
    out = projectors.conv_bn(3, 7)(FEATURE)
    torch.testing.assert_close(out.mean((0, 2, 3, 4)), torch.zeros(7), atol=1e-5, rtol=0)
    projector = projectors.conv_bn(3, 7, norm=nn.InstanceNorm3d)
    assert isinstance(projector[1], nn.InstanceNorm3d)
    assert projector[0].bias is None


def test_pool_takes_means_and_keeps_axes() -> None:
    out = projectors.pool((2, None, None))(FEATURE)
    torch.testing.assert_close(out, FEATURE.unflatten(2, (2, 2)).mean(3))


def test_interpolate_grows_and_keeps_axes() -> None:
    ramp = torch.arange(4.0).reshape(1, 1, 4, 1, 1).expand(1, 1, 4, 3, 3)
    out = projectors.Interpolate((8, None, None))(ramp)
    assert out.shape == (1, 1, 8, 3, 3)
    torch.testing.assert_close(out[0, 0, 1:-1, 0, 0], torch.linspace(0.25, 2.75, 6))


@pytest.mark.parametrize("resize", [projectors.pool((2, 3, 3)), projectors.Interpolate((8, 12, 10))])
def test_projectors_compose_and_match_the_teacher(resize: nn.Module) -> None:
    projector = nn.Sequential(projectors.conv(3, 7), resize)
    feature = FEATURE.clone().requires_grad_()
    out = projector(feature)
    teacher = kd.Output(None, {"x": torch.zeros_like(out)})
    kd.FeatureMSE("x")(kd.Output(None, {"x": out}), teacher).backward()
    assert feature.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [(), (5,), (6, 5), (4, 6, 5)])
def test_conv_maps_each_position_of_any_map(size: tuple[int, ...]) -> None:
    feature = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(0))
    for projector in (projectors.conv(3, 3), projectors.conv_bn(3, 3).eval(), projectors.orthogonal(3, 3)):
        out = projector(feature)
        for example in range(3):
            torch.testing.assert_close(projector(feature[example : example + 1])[0], out[example])
        flat = projector(feature.movedim(1, -1).reshape(-1, 3)).reshape(3, *size, 3).movedim(-1, 1)
        torch.testing.assert_close(flat, out)


def test_a_trained_conv_is_read_and_written_as_ever() -> None:
    old, new = nn.Conv3d(3, 7, 1), projectors.conv(3, 7)
    new.load_state_dict(old.state_dict())
    assert torch.equal(new(FEATURE), old(FEATURE))
    assert list(projectors.conv_bn(3, 7).state_dict()) == list(
        nn.Sequential(nn.Conv3d(3, 7, 1, bias=False), nn.BatchNorm3d(7)).state_dict()
    )


def test_a_wrong_rank_or_width_is_refused() -> None:
    image = FEATURE[:, :, 0]
    with pytest.raises(ValueError, match=r"must be given \(batch, 4, \.\.\.\).*got \(2, 3, 6, 5\): use linear"):
        projectors.conv(4, 7)(image)
    for resize in (projectors.pool((1, 4, 4)), projectors.Interpolate((None, 4, 4))):
        with pytest.raises(
            ValueError, match=r"\(B, C, T, H, W\), got \(2, 3, 6, 5\): give one number for each of its 2"
        ):
            resize(image)
    for size in ((), (1, 2, 3, 4), (0, 2), (2, -1)):
        with pytest.raises(ValueError, match="1 to 3 positive"):
            projectors.pool(size)


def test_pool_and_interpolate_of_images_and_signals() -> None:
    image = FEATURE[:, :, 0]
    torch.testing.assert_close(projectors.pool((3, None))(image), image.unflatten(2, (3, 2)).mean(3))
    assert projectors.Interpolate((12, 10))(image).shape == (2, 3, 12, 10)
    assert projectors.pool((2,))(image[..., 0]).shape == (2, 3, 2)
    assert projectors.Interpolate((9,))(image[..., 0]).shape == (2, 3, 9)


def test_tokens_become_the_map_they_were_made_of_and_back() -> None:
    tokens = projectors.ToTokens()(FEATURE)
    assert torch.equal(tokens[1, 1 * 30 + 2 * 5 + 3], FEATURE[1, :, 1, 2, 3])
    assert torch.equal(projectors.ToGrid((4, 6, 5), prefix=0)(tokens), FEATURE)
    summary = projectors.ToTokens(prefix=2)(FEATURE)
    torch.testing.assert_close(summary[:, 1], FEATURE.mean((2, 3, 4)))
    assert torch.equal(projectors.ToGrid((4, 6, 5), prefix=2)(summary), FEATURE)
    pooled = projectors.OnGrid(projectors.pool((2, 3, 5)), (4, 6, 5), prefix=2)(summary)
    assert torch.equal(pooled[:, :2], summary[:, :2])
    assert torch.equal(pooled[:, 2:], projectors.ToTokens()(projectors.pool((2, 3, 5))(FEATURE)))


def test_a_wrong_number_of_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(batch, 1 \+ 9, channels\) for the grid \(3, 3\), got \(2, 9, 4\)"):
        projectors.ToGrid((3, 3))(torch.zeros(2, 9, 4))
    for wrong in (
        lambda: projectors.ToGrid((3, 0)),
        lambda: projectors.ToGrid(()),
        lambda: projectors.ToTokens(prefix=-1),
    ):
        with pytest.raises(ValueError, match="must be"):
            wrong()


def test_orthogonal_keeps_lengths_all_through_training() -> None:
    projector = projectors.orthogonal(3, 5, dim=-1)
    tokens = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))
    goal = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.SGD(projector.parameters(), lr=0.5)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(loss := (projector(tokens) - goal).square().mean())
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.95 * losses[0]
    torch.testing.assert_close(projector.weight.T @ projector.weight, torch.eye(3))
    torch.testing.assert_close(projector(tokens).norm(dim=-1), tokens.norm(dim=-1))
    again = projectors.orthogonal(3, 5, dim=-1)
    again.load_state_dict(projector.state_dict())
    assert torch.equal(again(tokens), projector(tokens))
    with pytest.raises(ValueError, match="1 to out_channels = 3, got 5"):
        projectors.orthogonal(5, 3)
    with pytest.raises(ValueError, match="3 channels on axis -1"):
        projector(goal)
    assert projector(tokens.bfloat16()).dtype == torch.bfloat16
