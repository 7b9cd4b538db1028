# mypy: disable-error-code="import-untyped,no-untyped-def,no-untyped-call,untyped-decorator"
"""The kernels of the Triton solver: one thread per pixel of a pair, without communication between pixels.

Axis 1 of the grid counts the pairs, axis 0 the blocks of a pair's pixels in row order: a block's loads are
contiguous whatever the width. Planes lie one after another, (N,planes,H,W). u is scaled by gain = tau / theta, as in
eager.py, which also has the equations.

All are bound by memory: the images are read once per warp, and an iteration moves 21 numbers a pixel.
"""

import triton
import triton.language as tl

from kdvideo.flow.tvl1 import eager

TINY = tl.constexpr(eager.TINY)
EDGE = tl.constexpr(eager.EDGE)

# Not compiled anew for sizes and addresses divisible by 16: all frame sizes have the same code, ready at the first use.
ARGUMENTS = ["previous", "following", "flow", "duals", "data", "height", "width"]


@triton.jit(do_not_specialize=ARGUMENTS)
def linearize(
    previous,  # (N,H,W) I0
    following,  # (N,H,W) I1
    flow,  # (N,2,H,W) u0
    data,  # (N,4,H,W) out: rho at u = 0, grad I1 / gain, gain^2 / |grad I1|^2
    height,
    width,
    gain,
    CUBIC: tl.constexpr,
    BORDER: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute rho(u) = I1(x + u0) + grad I1 . (u - u0) - I0, with I1 and its central differences at x + u0."""
    pixel, x, y, valid = _pixels(height, width, BLOCK)
    pixels, pair = height * width, tl.program_id(1).to(tl.int64)
    previous, following = previous + pair * pixels, following + pair * pixels
    flow, data = flow + pair * 2 * pixels, data + pair * 4 * pixels + pixel
    u = tl.load(flow + pixel, mask=valid, other=0.0) / gain
    v = tl.load(flow + pixels + pixel, mask=valid, other=0.0) / gain
    # From two pixels outside on all samples are equal; the bound keeps the conversion to integers safe.
    sample_x = tl.minimum(tl.maximum(x + u, -2.0), width + 1.0)
    sample_y = tl.minimum(tl.maximum(y + v, -2.0), height + 1.0)
    left, top = tl.floor(sample_x), tl.floor(sample_y)
    part_x, part_y = sample_x - left, sample_y - top
    image = tl.zeros([BLOCK], tl.float32)
    slope_x = tl.zeros([BLOCK], tl.float32)
    slope_y = tl.zeros([BLOCK], tl.float32)
    for j in tl.static_range(0 if CUBIC else 1, 4 if CUBIC else 3):
        row = top.to(tl.int32) + (j - 1)
        here = _clip(row, height)
        above, below = tl.maximum(here - 1, 0) * width, tl.minimum(here + 1, height - 1) * width
        weight_y = _weight(part_y, j, CUBIC)
        if BORDER == "zeros":
            weight_y = tl.where(row == here, weight_y, 0.0)
        here = here * width
        for i in tl.static_range(0 if CUBIC else 1, 4 if CUBIC else 3):
            column = left.to(tl.int32) + (i - 1)
            center = _clip(column, width)
            weight = weight_y * _weight(part_x, i, CUBIC)
            if BORDER == "zeros":
                weight = tl.where(column == center, weight, 0.0)
            east, west = tl.minimum(center + 1, width - 1), tl.maximum(center - 1, 0)
            # The slopes are differences of I1, taken here, so that no image of them is written and read.
            image += weight * tl.load(following + here + center)
            slope_x += weight * (tl.load(following + here + east) - tl.load(following + here + west))
            slope_y += weight * (tl.load(following + below + center) - tl.load(following + above + center))
    slope_x, slope_y = slope_x / 2, slope_y / 2
    # Outside of the frame nothing is known: without a slope the data term does not pull.
    if BORDER == "mask":
        inside_x = (x + u > -EDGE) & (x + u < width - 1 + EDGE)
        inside = inside_x & (y + v > -EDGE) & (y + v < height - 1 + EDGE)
        image = tl.where(inside, image, 0.0)
        slope_x = tl.where(inside, slope_x, 0.0)
        slope_y = tl.where(inside, slope_y, 0.0)
    rho = image - tl.load(previous + pixel, mask=valid, other=0.0) - slope_x * u - slope_y * v
    tl.store(data, rho, mask=valid)
    tl.store(data + pixels, slope_x / gain, mask=valid)
    tl.store(data + 2 * pixels, slope_y / gain, mask=valid)
    square = slope_x * slope_x + slope_y * slope_y
    tl.store(data + 3 * pixels, gain * gain / tl.maximum(square, TINY), mask=valid)


@triton.jit(do_not_specialize=ARGUMENTS)
def update_primal(flow, duals, data, height, width, tau, limit, BLOCK: tl.constexpr):
    """Compute v = u - clip(rho / |grad I1|^2, +-lambda theta) grad I1, then u = v + theta div p, in place."""
    pixel, x, y, valid = _pixels(height, width, BLOCK)
    pixels, pair = height * width, tl.program_id(1).to(tl.int64)
    flow, duals, data = (
        flow + pair * 2 * pixels + pixel,
        duals + pair * 4 * pixels + pixel,
        data + pair * 4 * pixels + pixel,
    )
    u = tl.load(flow, mask=valid, other=0.0)
    v = tl.load(flow + pixels, mask=valid, other=0.0)
    rho = tl.load(data, mask=valid, other=0.0)
    slope_x = tl.load(data + pixels, mask=valid, other=0.0)
    slope_y = tl.load(data + 2 * pixels, mask=valid, other=0.0)
    weight = tl.load(data + 3 * pixels, mask=valid, other=0.0)
    step = (rho + slope_x * u + slope_y * v) * weight
    step = tl.minimum(tl.maximum(step, -limit), limit)
    not_first_x, not_first_y = valid & (x > 0), valid & (y > 0)
    divergence_u = _divergence(duals, pixels, width, valid, not_first_x, not_first_y)
    divergence_v = _divergence(duals + 2 * pixels, pixels, width, valid, not_first_x, not_first_y)
    tl.store(flow, u + tau * divergence_u - slope_x * step, mask=valid)
    tl.store(flow + pixels, v + tau * divergence_v - slope_y * step, mask=valid)


@triton.jit(do_not_specialize=ARGUMENTS)
def update_dual(flow, duals, height, width, BLOCK: tl.constexpr):
    """Compute p = (p + tau/theta grad u) / (1 + tau/theta |grad u|) for both components, in place."""
    pixel, x, y, valid = _pixels(height, width, BLOCK)
    pixels, pair = height * width, tl.program_id(1).to(tl.int64)
    flow, duals = flow + pair * 2 * pixels + pixel, duals + pair * 4 * pixels + pixel
    not_last_x, not_last_y = valid & (x < width - 1), valid & (y < height - 1)
    for c in tl.static_range(2):
        here = tl.load(flow + c * pixels, mask=valid, other=0.0)
        right = tl.load(flow + c * pixels + 1, mask=not_last_x, other=0.0)
        below = tl.load(flow + c * pixels + width, mask=not_last_y, other=0.0)
        slope_x = tl.where(not_last_x, right - here, 0.0)
        slope_y = tl.where(not_last_y, below - here, 0.0)
        # 1e-30 is below every gradient that counts, and keeps denormal numbers out of the approximate root.
        scale = 1 / (1 + tl.sqrt(slope_x * slope_x + slope_y * slope_y + 1e-30))
        x_plane, y_plane = duals + 2 * c * pixels, duals + (2 * c + 1) * pixels
        p_x = tl.load(x_plane, mask=valid, other=0.0)
        p_y = tl.load(y_plane, mask=valid, other=0.0)
        tl.store(x_plane, (p_x + slope_x) * scale, mask=valid)
        tl.store(y_plane, (p_y + slope_y) * scale, mask=valid)


@triton.jit
def _pixels(height, width, BLOCK: tl.constexpr):
    """Return the block's pixels: index, column, row, and whether there is such a pixel."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    return pixel, pixel % width, pixel // width, pixel < height * width


@triton.jit
def _divergence(p, pixels, width, valid, not_first_x, not_first_y):
    """Return div p by backward differences, p being zero outside: the adjoint of forward ones in `update_dual`."""
    here_x = tl.load(p, mask=valid, other=0.0)
    here_y = tl.load(p + pixels, mask=valid, other=0.0)
    left = tl.load(p - 1, mask=not_first_x, other=0.0)
    above = tl.load(p + pixels - width, mask=not_first_y, other=0.0)
    return here_x - left + here_y - above


@triton.jit
def _clip(index, count):
    return tl.minimum(tl.maximum(index, 0), count - 1)


@triton.jit
def _weight(part, TAP: tl.constexpr, CUBIC: tl.constexpr):
    """Return the weight of the tap TAP - 1 pixels after the one at or before the sample.

    Keys' kernel with a = -0.75, as OpenCV and torch have it, multiplied out, or the linear kernel.
    """
    distance = tl.abs(part - (TAP - 1))
    if not CUBIC:
        weight = 1 - distance
    elif TAP == 1 or TAP == 2:
        weight = (1.25 * distance - 2.25) * distance * distance + 1
    else:
        weight = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3
    return weight
