"""The TV-L1 solver on one device and one thread: N pairs of grey frames in, N flows out.

Every pair is solved by element-wise arithmetic alone, so a flow does not depend on its neighbours in
the batch. Legend: N pairs, H W space, L = N (H + 1) (W + 1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdvideo.flow.presets import TVL1

TINY = 1e-7  # below this squared gradient (OpenCV's FLT_EPSILON) a pixel carries no motion


def solve(previous: Tensor, next: Tensor, preset: TVL1, chunk_pixels: int) -> Tensor:
    """Flow (N,2,H,W) of grey frames (N,1,H,W) in [0, 255], coarse to fine."""
    sizes = pyramid_sizes(previous.shape[-2:], preset)
    pairs = [torch.cat([previous, next], 1)]
    for size in sizes[1:]:
        pairs.append(_resize(pairs[-1], size))
    flow = previous.new_zeros(len(previous), 2, *sizes[-1])
    for pair, size in zip(reversed(pairs), reversed(sizes), strict=True):
        flow = rescale(flow, size)
        chunk = 1 if preset.tolerance is not None else max(1, chunk_pixels // (size[0] * size[1]))
        parts = zip(pair.split(chunk), flow.split(chunk), strict=True)
        flow = torch.cat([refine(p, f, preset) for p, f in parts])
    return flow


def pyramid_sizes(size: tuple[int, int], preset: TVL1) -> list[tuple[int, int]]:
    """(H, W) of every level, finest first."""
    sizes = [(int(size[0]), int(size[1]))]
    while preset.scales is None or len(sizes) < preset.scales:
        coarser = tuple(round(side * preset.scale_step) for side in sizes[-1])
        if min(coarser) < preset.min_size or coarser == sizes[-1]:
            break
        sizes.append((coarser[0], coarser[1]))
    return sizes


def rescale(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Flow (N,2,H,W) at another size, its values in pixels of that size."""
    if flow.shape[-2:] == size:
        return flow
    ratio = flow.new_tensor([size[1] / flow.shape[-1], size[0] / flow.shape[-2]])
    return _resize(flow, size) * ratio[:, None, None]


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images, size, mode="bilinear", align_corners=False)


def refine(pair: Tensor, flow: Tensor, preset: TVL1) -> Tensor:
    """One pyramid level: warp, linearise, minimise; `preset.warps` times."""
    previous, next = pair[:, :1], pair[:, 1:]
    fields = torch.cat([next, *_central_differences(next)], 1)
    state = _State(flow, preset)
    for _ in range(preset.warps):
        warped = _warp(fields, flow, preset)
        state.linearise(warped, previous[:, 0])
        state.minimise()
        flow = state.flow()
    return flow


def _central_differences(image: Tensor) -> tuple[Tensor, Tensor]:
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return x, y


def _warp(fields: Tensor, flow: Tensor, preset: TVL1) -> Tensor:
    height, width = fields.shape[-2:]
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype)
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    x = ((flow[:, 0] + xs) * 2 + 1) / width - 1
    y = ((flow[:, 1] + ys) * 2 + 1) / height - 1
    grid = torch.stack([x, y], -1)
    return F.grid_sample(fields, grid, preset.interpolation, preset.border, align_corners=False)


class _State:
    """The unknowns of one level in padded flat buffers.

    Every image has one extra row and column, and planes are kept flat, so that a neighbour is a
    constant offset and every operation one contiguous sweep. The dual p is zero where a difference
    would leave the image: there the divergence and the gradient need no border cases.
    `u` is scaled by tau / theta, which saves two multiplications per iteration.
    """

    def __init__(self, flow: Tensor, preset: TVL1) -> None:
        count, _, height, width = flow.shape
        self.preset, self.shape = preset, (count, height + 1, width + 1)
        self.row = width + 1
        self.length = count * (height + 1) * (width + 1)
        self.gain = preset.tau / preset.theta
        margin = self.row
        buffer = flow.new_zeros(6, margin + self.length + margin)
        self.inner = slice(margin, margin + self.length)
        self.u, self.p = buffer[:2], buffer[2:].unflatten(0, (2, 2))
        self.data = flow.new_zeros(5, self.length)
        self.gradient, self.norm = flow.new_empty(2, 2, self.length), flow.new_empty(2, self.length)
        self.step = flow.new_empty(self.length)
        x, y = self.p[:, :, self.inner].unflatten(-1, self.shape)
        self.outside = (x[..., -2], x[..., -1], y[..., -2, :], y[..., -1, :])
        self.image(self.u[:, self.inner]).copy_(flow.transpose(0, 1)).mul_(self.gain)

    def image(self, plane: Tensor) -> Tensor:
        """(k,L) as (k,N,H,W): the view without the extra row and column."""
        return plane.unflatten(-1, self.shape)[..., :-1, :-1]

    def flow(self) -> Tensor:
        """The flow (N,2,H,W) in pixels."""
        return (self.image(self.u[:, self.inner]) / self.gain).transpose(0, 1)

    def linearise(self, warped: Tensor, previous: Tensor) -> None:
        """rho(u) = I1(x + u0) + grad I1 . (u - u0) - I0, divided by |grad I1|^2."""
        image, x, y = warped.unbind(1)
        u, v = (self.image(self.u[:, self.inner]) / self.gain).unbind(0)
        residual = image - previous - x * u - y * v
        square = (x * x + y * y).clamp_min_(TINY)
        data = self.image(self.data)
        torch.div(residual, square, out=data[0])
        torch.div(x, square * self.gain, out=data[1])
        torch.div(y, square * self.gain, out=data[2])
        torch.mul(x, -self.gain, out=data[3])
        torch.mul(y, -self.gain, out=data[4])

    def minimise(self) -> None:
        """Alternate the median filter and the primal-dual iterations."""
        preset, u = self.preset, self.image(self.u[:, self.inner])
        for _ in range(preset.rounds):
            if preset.median > 1:
                u.copy_(_median(u, preset.median))
            if self.iterate():
                break

    def iterate(self) -> bool:
        """Run the iterations of one round; whether the tolerance was reached."""
        preset = self.preset
        if preset.tolerance is None:
            for _ in range(preset.iterations):
                self.update_primal()
                self.update_dual()
            return False
        pixels = self.shape[0] * (self.shape[1] - 1) * (self.shape[2] - 1)
        bound = (preset.tolerance * self.gain) ** 2 * pixels
        for _ in range(preset.iterations):
            before = self.u.clone()
            self.update_primal()
            self.update_dual()
            if float((self.u - before).square_().sum()) <= bound:
                return True
        return False

    def update_primal(self) -> None:
        """v = u - clip(rho / |grad I1|^2, +- lambda theta) grad I1, then u = v + theta div p."""
        u, step, limit = self.u[:, self.inner], self.step, self.preset.lambda_ * self.preset.theta
        torch.addcmul(self.data[0], self.data[1], u[0], out=step)
        step.addcmul_(self.data[2], u[1]).clamp_(-limit, limit)
        u.addcmul_(self.data[3:], step)
        for p, back in zip(self.p, (1, self.row), strict=True):
            u.add_(p[:, self.inner], alpha=self.preset.tau)
            u.sub_(p[:, self.inner.start - back : self.inner.stop - back], alpha=self.preset.tau)

    def update_dual(self) -> None:
        """p = (p + tau/theta grad u) / (1 + tau/theta |grad u|)."""
        u, gradient, norm = self.u[:, self.inner], self.gradient, self.norm
        for d, ahead in enumerate((1, self.row)):
            torch.sub(self.u[:, self.inner.start + ahead : self.inner.stop + ahead], u, out=gradient[d])
        torch.mul(gradient[0], gradient[0], out=norm)
        norm.addcmul_(gradient[1], gradient[1]).sqrt_().add_(1)
        self.p[:, :, self.inner].add_(gradient).div_(norm)
        for p in self.outside:
            p.zero_()


def _median(planes: Tensor, side: int) -> Tensor:
    """Median filter of (2,N,H,W) with repeated edges."""
    height, width = planes.shape[-2:]
    padded = F.pad(planes, (side // 2,) * 4, mode="replicate")
    windows = F.unfold(padded.reshape(-1, 1, *padded.shape[-2:]), side)
    return windows.median(1).values.view(*planes.shape[:2], height, width)
