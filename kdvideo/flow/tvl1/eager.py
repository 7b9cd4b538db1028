"""TV-L1 in plain torch operations, on any device.

Every pair is solved by element-wise arithmetic alone, so a flow does not depend on what else is in the batch.
The other solvers are checked against this one.

With rho(u) = I1(x + u0) + grad I1 . (u - u0) - I0 the data term linearized at u0, each iteration is

    v = u - clip(rho(u) / |grad I1|^2, +-lambda theta) grad I1      the data term, pixel by pixel
    u = v + theta div p                                             the smoothness term, by its dual variable p
    p = (p + tau / theta grad u) / (1 + tau / theta |grad u|)

Legend: N pairs, H W space, L = N (H + 1) (W + 1).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

from kdvideo.flow.tvl1.presets import TVL1Settings
from kdvideo.flow.tvl1.pyramid import Levels, coarse_to_fine, pairs, pyramid

CPU_CHUNK = 100_000  # pixels of a level that a core works on at a time, for its cache
CPU_SHARE = 4_000_000  # most pixels of one thread's task, for memory
GPU_CHUNK = 4_000_000  # enough to hide the launches
TINY = 1e-7  # below this squared gradient (OpenCV's FLT_EPSILON) a pixel carries no motion
EDGE = 0.01  # pixels: one at the edge that does not move must not fall outside by rounding


def solve(clips: Tensor, preset: TVL1Settings) -> Tensor:
    """Compute the flow (B,T-1,2,H,W) of gray clips (B,T,H,W) in [0, 255]; on a CPU, threads share the pairs."""
    levels = [pairs(level) for level in pyramid(clips, preset)]
    shape = (clips.shape[0], clips.shape[1] - 1, 2, *clips.shape[-2:])
    if clips.device.type != "cpu":
        return solve_pairs(levels, preset, GPU_CHUNK).view(shape)
    threads, count = torch.get_num_threads(), len(levels[0][0])
    share = min(-(-count // threads), max(1, CPU_SHARE // (shape[-1] * shape[-2])))
    return over_pairs(lambda part: solve_pairs(part, preset, CPU_CHUNK), levels, share).view(shape)


def over_pairs(work: Callable[[Levels], Tensor], levels: Levels, share: int) -> Tensor:
    """Run `work` on at most `share` pairs at a time, on as many threads as torch would use, each on its own.

    Threads within an operation wait for the slowest of them after every operation; threads over pairs never wait.
    """
    threads = torch.get_num_threads()
    split = [[torch.split(frames, share) for frames in level] for level in levels]
    parts = [[(a[i], b[i]) for a, b in split] for i in range(len(split[0][0]))]
    if threads == 1:
        return torch.cat([work(part) for part in parts])
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(work, parts)))
    finally:
        torch.set_num_threads(threads)  # the initializer's effect is not confined to its thread


def solve_pairs(levels: Levels, preset: TVL1Settings, chunk_pixels: int) -> Tensor:
    """Compute the flow (N,2,H,W) of N pairs."""
    # With a tolerance each pair decides when to stop: together they would depend on one another.
    chunk = chunk_pixels if preset.tolerance is None else 1
    return coarse_to_fine(levels, preset, lambda a, b, flow: refine(a, b, flow, preset), chunk)


def refine(previous: Tensor, following: Tensor, flow: Tensor, preset: TVL1Settings) -> Tensor:
    """Refine a flow (N,2,H,W) on one level of frames (N,H,W): warp, linearize, minimize; `preset.warps` times."""
    sampled = frame_and_slopes(following)
    state = _State(flow, preset)
    for _ in range(preset.warps):
        warped = warp(sampled, flow, preset)
        state.linearize(warped, previous)
        state.minimize()
        flow = state.flow()
    return flow


def frame_and_slopes(image: Tensor) -> Tensor:
    """Return (N,3,H,W) of frames (N,H,W): the frame and its central differences along x and y.

    The differences are taken before the warp and sampled with the frame, as OpenCV does: differences of a warped
    frame would mix the motion's own edges in.
    """
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return torch.stack([image, x, y], 1)


def warp(planes: Tensor, flow: Tensor, preset: TVL1Settings) -> Tensor:
    """Sample `planes` (N,3,H,W) at x + flow(x), with the preset's border and interpolation."""
    height, width = planes.shape[-2:]
    x = flow[:, 0] + torch.arange(width, device=flow.device, dtype=flow.dtype)
    y = flow[:, 1] + torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    grid = torch.stack([(x * 2 + 1) / width - 1, (y * 2 + 1) / height - 1], -1)
    outside = "zeros" if preset.border == "zeros" else "border"
    warped = F.grid_sample(planes, grid, preset.interpolation, outside, align_corners=False)
    # Coordinates from -1 to 1 do not come back to the pixel: rounding puts some of the edge outside, where black pulls
    # them further out. Pixels that do not move need no sampling.
    warped = torch.where((flow == 0).all(1, keepdim=True), planes, warped)
    if preset.border != "mask":
        return warped
    # Outside of the frame nothing is known. With all three planes at zero the data term has no direction to pull in,
    # and smoothness alone continues the flow of the pixels beside.
    inside = (x > -EDGE) & (x < width - 1 + EDGE) & (y > -EDGE) & (y < height - 1 + EDGE)
    return warped * inside[:, None]


class _State:
    """The unknowns of one level in padded flat buffers.

    Every image has one extra row and column, and planes are kept flat, so that a neighbor is a constant offset and
    every operation one contiguous sweep. In the extra row and column u repeats its edge and the dual p is zero: the
    gradient (zero across the edge) and the divergence need no border cases.
    `u` is scaled by gain = tau / theta, which saves two multiplications per iteration: theta div p becomes tau div p,
    and tau / theta grad u becomes grad u.
    """

    def __init__(self, flow: Tensor, preset: TVL1Settings) -> None:
        count, _, height, width = flow.shape
        self.preset, self.gain = preset, preset.tau / preset.theta
        margin = width + 1
        length = count * (height + 1) * (width + 1)

        def image(planes: Tensor) -> Tensor:
            return planes.view(*planes.shape[:-1], count, height + 1, width + 1)[..., :-1, :-1]

        def at(planes: Tensor, offset: int) -> Tensor:
            return planes[..., margin + offset : margin + offset + length]

        u, p = flow.new_zeros(2, length + 2 * margin), flow.new_zeros(2, 2, length + 2 * margin)
        self.u, self.u_next = at(u, 0), (at(u, 1), at(u, margin))
        self.p, self.p_here, self.p_before = at(p, 0), at(p, 0).unbind(), (at(p[0], -1), at(p[1], -margin))
        px, py = self.p.view(2, 2, count, height + 1, width + 1)
        padded = self.u.view(2, count, height + 1, width + 1)
        self.p_outside = (px[..., -1], py[..., -1, :])
        self.u_outside = ((padded[..., -1], padded[..., -2]), (padded[..., -1, :], padded[..., -2, :]))
        data = flow.new_zeros(5, length)
        self.offset, self.slope_u, self.slope_v, self.direction = data[0], data[1], data[2], data[3:]
        self.gradient, self.norm = flow.new_empty(2, 2, length), flow.new_empty(2, length)
        self.gradient_x, self.gradient_y = self.gradient.unbind()
        self.step = flow.new_empty(length)
        self.u_image, self.data_image = image(self.u), image(data)
        self.u_image.copy_(flow.transpose(0, 1)).mul_(self.gain)

    def flow(self) -> Tensor:
        """Return the flow (N,2,H,W) in pixels."""
        return (self.u_image / self.gain).transpose(0, 1)

    def linearize(self, warped: Tensor, previous: Tensor) -> None:
        """Set rho(u) / |grad I1|^2 as an affine function of u, and the direction of a step, -grad I1.

        The division is made here, once per warp, not in every iteration.
        """
        image, x, y = warped.unbind(1)
        u, v = (self.u_image / self.gain).unbind(0)
        residual = image - previous - x * u - y * v
        square = (x * x + y * y).clamp_min_(TINY)
        torch.div(residual, square, out=self.data_image[0])
        torch.div(x, square * self.gain, out=self.data_image[1])
        torch.div(y, square * self.gain, out=self.data_image[2])
        torch.mul(x, -self.gain, out=self.data_image[3])
        torch.mul(y, -self.gain, out=self.data_image[4])

    def minimize(self) -> None:
        """Alternate the median filter and the primal-dual iterations, the filter first, as OpenCV does."""
        for _ in range(self.preset.rounds):
            if self.preset.median > 1:
                self.u_image.copy_(median_filter(self.u_image, self.preset.median))
            if self.iterate():
                break

    def iterate(self) -> bool:
        """Run the iterations of one round and return whether the tolerance was reached."""
        tolerance = self.preset.tolerance
        for _ in range(self.preset.iterations):
            before = None if tolerance is None else self.u_image.clone()
            self.update_primal()
            self.update_dual()
            if before is not None and tolerance is not None:
                change = (self.u_image - before).square_().sum() / before[0].numel()
                if float(change) <= (tolerance * self.gain) ** 2:
                    return True
        return False

    def update_primal(self) -> None:
        """Compute v = u - clip(rho / |grad I1|^2, +-lambda theta) grad I1, then u = v + theta div p, in place."""
        u, step, tau, limit = self.u, self.step, self.preset.tau, self.preset.lambda_ * self.preset.theta
        torch.addcmul(self.offset, self.slope_u, u[0], out=step)
        step.addcmul_(self.slope_v, u[1]).clamp_(-limit, limit)
        u.addcmul_(self.direction, step)
        for here, before in zip(self.p_here, self.p_before, strict=True):
            u.add_(here, alpha=tau).sub_(before, alpha=tau)

    def update_dual(self) -> None:
        """Compute p = (p + tau/theta grad u) / (1 + tau/theta |grad u|), with the u just computed, in place."""
        for outside, edge in self.u_outside:
            outside.copy_(edge)
        torch.sub(self.u_next[0], self.u, out=self.gradient_x)
        torch.sub(self.u_next[1], self.u, out=self.gradient_y)
        torch.mul(self.gradient_x, self.gradient_x, out=self.norm)
        self.norm.addcmul_(self.gradient_y, self.gradient_y).sqrt_().add_(1)
        self.p.add_(self.gradient).div_(self.norm)
        # The flat sweep took the extra row and column along: there it crossed into the next row or image.
        for p in self.p_outside:
            p.zero_()


def median_filter(planes: Tensor, side: int) -> Tensor:
    """Return the median of every `side` x `side` window of (2,N,H,W), with repeated edges."""
    height, width = planes.shape[-2:]
    padded = F.pad(planes, (side // 2,) * 4, mode="replicate")
    windows = F.unfold(padded.reshape(-1, 1, *padded.shape[-2:]), side)
    return windows.median(1).values.view(*planes.shape[:2], height, width)
