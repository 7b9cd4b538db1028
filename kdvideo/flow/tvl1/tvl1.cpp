// TV-L1 for CPUs: one pair of frames at a time, threads over pairs. The numbers are those of eager.py, which also has
// the equations.
//
// An iteration does few operations on many numbers: one after another, iterations would wait for memory. So one sweep
// over the rows does many of them: iteration k works one row above iteration k - 1, where everything that it reads was
// just written and is still in the cache. Every row is read in the state in which separate sweeps would leave it, so the
// numbers do not depend on how many iterations a sweep has. u is scaled by gain = tau / theta, which saves two multiplications per iteration.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

constexpr int LANES = 16;   // rows are padded to whole vectors; spare lanes hold finite numbers that are never read
constexpr int MARGIN = 4;   // of the texture: what a cubic kernel up to two pixels outside of the frame touches
constexpr float TINY = 1e-7f;   // below this squared gradient a pixel carries no motion, see eager.py
constexpr float EDGE = 0.01f;   // pixels: one at the edge that does not move must not fall outside by rounding
constexpr int CACHE = 256 * 1024;  // bytes of the rows that a sweep works on: a part of a core's own second-level cache
// Image, its two derivatives, nothing: all three are sampled with one multiplication per tap.
typedef float Texel __attribute__((vector_size(16)));

enum Border { MASK, ZEROS, REPEAT };

struct Preset {
    float tau, lambda, theta, tolerance, step;  // tolerance 0: none
    int warps, iterations, rounds, median, bilinear, border;
};

struct Aligned {
    float *data = nullptr;
    ~Aligned() { std::free(data); }
    float *reserve(size_t floats) {
        std::free(data);
        data = static_cast<float *>(std::aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64));
        if (data) std::fill(data, data + floats, 0.f);
        return data;
    }
};

// Planes of (height, width) with a zero row above and LANES zeros left of every row: p is zero outside of the frame, so
// the divergence needs no border cases.
struct Planes {
    Aligned memory;
    int height, width, stride;
    size_t size;
    bool resize(int count, int h, int w) {
        height = h, width = w, stride = LANES + (w + LANES) / LANES * LANES;
        size = static_cast<size_t>(h + 1) * stride;
        return memory.reserve(size * count) != nullptr;
    }
    float *row(int plane, int y) { return memory.data + plane * size + static_cast<size_t>(y + 1) * stride + LANES; }
};

// u = v + theta div p with v = u - clip(rho / |grad I1|^2, +-lambda theta) grad I1, from the old u and the old p.
// __restrict: no row overlaps another, which the compiler must know to vectorize.
void primal_row(float *__restrict u, float *__restrict v, const float *__restrict ux, const float *__restrict uy,
                const float *__restrict uy_above, const float *__restrict vx, const float *__restrict vy,
                const float *__restrict vy_above, const float *__restrict rho, const float *__restrict sx,
                const float *__restrict sy, const float *__restrict weight, float tau, float limit, int lanes) {
    for (int x = 0; x < lanes; x++) {
        float step = (rho[x] + sx[x] * u[x] + sy[x] * v[x]) * weight[x];
        step = step > limit ? limit : step;
        step = step < -limit ? -limit : step;
        u[x] += tau * (ux[x] - ux[x - 1] + uy[x] - uy_above[x]) - sx[x] * step;
        v[x] += tau * (vx[x] - vx[x - 1] + vy[x] - vy_above[x]) - sy[x] * step;
    }
}

// p = (p + tau/theta grad u) / (1 + tau/theta |grad u|), with the new u of this row and of the row below.
void dual_row(float *__restrict px, float *__restrict py, const float *__restrict u, const float *__restrict below,
              int lanes) {
    for (int x = 0; x < lanes; x++) {
        const float gx = u[x + 1] - u[x], gy = below[x] - u[x];
        // The vector units' approximate root of a denormal number may be infinite; 1e-30 is below all that counts.
        const float scale = 1 / (1 + std::sqrt(gx * gx + gy * gy + 1e-30f));
        px[x] = (px[x] + gx) * scale, py[x] = (py[x] + gy) * scale;
    }
}

enum Plane { U, V, U_X, U_Y, V_X, V_Y, RHO, SLOPE_X, SLOPE_Y, WEIGHT, PLANES };

struct Level {
    const Preset &preset;
    float gain;
    Planes planes;
    Aligned texture;
    int height = 0, width = 0, lanes = 0, pitch = 0;

    explicit Level(const Preset &p) : preset(p), gain(p.tau / p.theta) {}

    bool start(int h, int w) {
        height = h, width = w, lanes = (w + LANES - 1) / LANES * LANES, pitch = w + 2 * MARGIN;
        return planes.resize(PLANES, h, w) && texture.reserve(static_cast<size_t>(h + 2 * MARGIN) * pitch * 4);
    }

    Texel *texel(int y, int x) {
        return reinterpret_cast<Texel *>(texture.data) + static_cast<size_t>(y + MARGIN) * pitch + x + MARGIN;
    }

    // The differences are taken before the warp and sampled with the image, as OpenCV does.
    void load_texture(const float *image) {
        for (int y = -MARGIN; y < height + MARGIN; y++)
            for (int x = -MARGIN; x < width + MARGIN; x++) {
                int row = std::clamp(y, 0, height - 1), column = std::clamp(x, 0, width - 1);
                if (preset.border == ZEROS && (row != y || column != x)) continue;
                auto at = [&](int r, int c) {
                    return image[static_cast<size_t>(std::clamp(r, 0, height - 1)) * width + std::clamp(c, 0, width - 1)];
                };
                *texel(y, x) = Texel{at(row, column), (at(row, column + 1) - at(row, column - 1)) / 2,
                                     (at(row + 1, column) - at(row - 1, column)) / 2, 0};
            }
    }

    // Keys' kernel with a = -0.75, as OpenCV and torch have it, at the four taps around a sample.
    static void cubic(float t, float *weight) {
        const float a = -0.75f, s = 1 - t, outer = 1 + t, last = 2 - t;
        weight[0] = ((a * outer - 5 * a) * outer + 8 * a) * outer - 4 * a;
        weight[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
        weight[2] = ((a + 2) * s - (a + 3)) * s * s + 1;
        weight[3] = ((a * last - 5 * a) * last + 8 * a) * last - 4 * a;
    }

    Texel sample(float x, float y) {
        // Outside of the frame nothing is known. With a zero slope the data term does not pull, and smoothness alone
        // continues the flow of the pixels beside. Negated, so that it holds for NaN too.
        if (preset.border == MASK && !(x > -EDGE && x < width - 1 + EDGE && y > -EDGE && y < height - 1 + EDGE))
            return Texel{};
        // From two pixels outside on all samples are equal; the bound keeps the taps within the texture's margin.
        x = std::clamp(x, -2.f, width + 1.f), y = std::clamp(y, -2.f, height + 1.f);
        const int left = static_cast<int>(std::floor(x)), top = static_cast<int>(std::floor(y));
        float wx[4], wy[4];
        if (preset.bilinear) {
            const Texel *near = texel(top, left), *below = near + pitch;
            const float fx = x - left, fy = y - top;
            return (near[0] * (1 - fx) + near[1] * fx) * (1 - fy) + (below[0] * (1 - fx) + below[1] * fx) * fy;
        }
        cubic(x - left, wx), cubic(y - top, wy);
        const Texel *from = texel(top - 1, left - 1);
        Texel sum{};
        for (int j = 0; j < 4; j++, from += pitch)
            sum += (from[0] * wx[0] + from[1] * wx[1] + from[2] * wx[2] + from[3] * wx[3]) * wy[j];
        return sum;
    }

    // rho(u) = I1(x + u0) + grad I1 . (u - u0) - I0. All divisions are made here, once per warp, not per iteration.
    void linearize(const float *previous) {
        for (int y = 0; y < height; y++) {
            const float *u = planes.row(U, y), *v = planes.row(V, y), *image = previous + static_cast<size_t>(y) * width;
            float *rho = planes.row(RHO, y), *sx = planes.row(SLOPE_X, y), *sy = planes.row(SLOPE_Y, y);
            float *weight = planes.row(WEIGHT, y);
            for (int x = 0; x < width; x++) {
                const float fu = u[x] / gain, fv = v[x] / gain;
                const Texel warped = sample(x + fu, y + fv);
                const float square = std::max(warped[1] * warped[1] + warped[2] * warped[2], TINY);
                rho[x] = warped[0] - image[x] - warped[1] * fu - warped[2] * fv;
                sx[x] = warped[1] / gain, sy[x] = warped[2] / gain;
                weight[x] = gain * gain / square;
            }
        }
    }

    void primal(int y) {
        const float limit = preset.lambda * preset.theta * gain * gain;
        float *u = planes.row(U, y), *v = planes.row(V, y);
        primal_row(u, v, planes.row(U_X, y), planes.row(U_Y, y), planes.row(U_Y, y - 1), planes.row(V_X, y),
                   planes.row(V_Y, y), planes.row(V_Y, y - 1), planes.row(RHO, y), planes.row(SLOPE_X, y),
                   planes.row(SLOPE_Y, y), planes.row(WEIGHT, y), preset.tau, limit, lanes);
        u[width] = u[width - 1], v[width] = v[width - 1];  // no gradient across the edge
    }

    void dual(int y) {
        const int below = std::min(y + 1, height - 1);
        dual_row(planes.row(U_X, y), planes.row(U_Y, y), planes.row(U, y), planes.row(U, below), lanes);
        dual_row(planes.row(V_X, y), planes.row(V_Y, y), planes.row(V, y), planes.row(V, below), lanes);
    }

    // The primal of a row needs the dual of this row and of the one above; the dual needs the primal of this row and of
    // the one below. So the dual follows one row behind the primal, and the next iteration one row behind that.
    void sweep(int iterations) {
        for (int front = 0; front < height + iterations; front++)
            for (int k = std::max(0, front - height); k < std::min(iterations, front + 1); k++) {
                const int y = front - k;
                if (y < height) primal(y);
                if (y > 0) dual(y - 1);
            }
    }

    // As many iterations per sweep as have their rows in the cache together.
    void iterate() {
        const int most = std::max<int>(1, CACHE / (PLANES * planes.stride * sizeof(float)));
        for (int left = preset.iterations; left > 0; left -= most) sweep(std::min(most, left));
    }

    // One iteration per sweep: whether to stop is decided after each.
    bool iterate_to_tolerance() {
        std::vector<float> before(static_cast<size_t>(2) * height * width);
        const double limit = std::pow(preset.tolerance * gain, 2.0) * height * width;
        for (int i = 0; i < preset.iterations; i++) {
            copy_out(before.data(), 1);
            sweep(1);
            double change = 0;
            const float *old = before.data();
            for (int c = 0; c < 2; c++)
                for (int y = 0; y < height; y++, old += width)
                    for (int x = 0; x < width; x++) change += std::pow(planes.row(U + c, y)[x] - old[x], 2.0);
            if (change <= limit) return true;
        }
        return false;
    }

    void median() {
        const int side = preset.median, half = side / 2;
        std::vector<float> image(static_cast<size_t>(2) * height * width), window(side * side);
        copy_out(image.data(), 1);
        for (int c = 0; c < 2; c++)
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++) {
                    float *to = window.data();
                    for (int r = y - half; r <= y + half; r++)
                        for (int q = x - half; q <= x + half; q++)
                            *to++ = image[(static_cast<size_t>(c) * height + std::clamp(r, 0, height - 1)) * width +
                                          std::clamp(q, 0, width - 1)];
                    std::nth_element(window.begin(), window.begin() + window.size() / 2, window.end());
                    planes.row(U + c, y)[x] = window[window.size() / 2];
                }
    }

    // The median filter comes before the iterations, as in OpenCV.
    void minimize() {
        for (int round = 0; round < preset.rounds; round++) {
            if (preset.median > 1) median();
            if (preset.tolerance > 0) {
                if (iterate_to_tolerance()) return;
            } else
                iterate();
        }
    }

    void copy_out(float *flow, float scale) {
        for (int c = 0; c < 2; c++)
            for (int y = 0; y < height; y++, flow += width)
                for (int x = 0; x < width; x++) flow[x] = planes.row(U + c, y)[x] * scale;
    }

    // The flow (2,h,w) of the coarser level as the start of this one: bilinear, half-pixel centers.
    void copy_in(const std::vector<float> &flow, int h, int w) {
        for (int c = 0; c < 2; c++) {
            const float *from = flow.data() + static_cast<size_t>(c) * h * w;
            for (int y = 0; y < height; y++) {
                const float sy = std::max(0.f, (y + 0.5f) * h / height - 0.5f);
                const int y0 = std::min(static_cast<int>(sy), h - 1), y1 = std::min(y0 + 1, h - 1);
                const float fy = sy - y0, *top = from + static_cast<size_t>(y0) * w, *low = from + static_cast<size_t>(y1) * w;
                float *to = planes.row(U + c, y);
                for (int x = 0; x < width; x++) {
                    const float sx = std::max(0.f, (x + 0.5f) * w / width - 0.5f);
                    const int x0 = std::min(static_cast<int>(sx), w - 1), x1 = std::min(x0 + 1, w - 1);
                    const float fx = sx - x0;
                    const float upper = top[x0] * (1 - fx) + top[x1] * fx, lower = low[x0] * (1 - fx) + low[x1] * fx;
                    to[x] = (upper * (1 - fy) + lower * fy) * gain / preset.step;
                }
            }
        }
    }
};

// Pairs share nothing but the frames, so a flow does not depend on the threads or on what else is in the batch.
struct Job {
    const float *const *levels;  // (clips, frames, h, w) each, finest first
    const int *sizes;            // h and w of each level
    int level_count, frames;
    Preset preset;
    float *out;  // (pairs, 2, h, w)

    bool solve(int64_t pair) const {
        const int64_t first = pair / (frames - 1) * frames + pair % (frames - 1);
        std::vector<float> flow;
        int h = 0, w = 0;
        Level level(preset);
        for (int i = level_count - 1; i >= 0; i--) {
            const int height = sizes[2 * i], width = sizes[2 * i + 1];
            const size_t pixels = static_cast<size_t>(height) * width;
            if (!level.start(height, width)) return false;
            if (!flow.empty()) level.copy_in(flow, h, w);
            level.load_texture(levels[i] + (first + 1) * pixels);
            for (int warp = 0; warp < preset.warps; warp++) level.linearize(levels[i] + first * pixels), level.minimize();
            h = height, w = width;
            flow.resize(2 * pixels);
            level.copy_out(i ? flow.data() : out + pair * 2 * pixels, 1 / level.gain);
        }
        return true;
    }
};

}  // namespace

extern "C" int tvl1_solve(const float *const *levels, const int *sizes, int level_count, int64_t clips, int frames,
                          const Preset *preset, int threads, float *out) {
    const Job job{levels, sizes, level_count, frames, *preset, out};
    std::atomic<int64_t> next_pair{0};
    std::atomic<bool> failed{false};
    const int64_t pairs = clips * (frames - 1);
    auto work = [&] {
        try {
            for (int64_t pair; !failed && (pair = next_pair++) < pairs;)
                if (!job.solve(pair)) failed = true;
        } catch (...) {  // out of memory
            failed = true;
        }
    };
    std::vector<std::thread> pool;
    try {
        for (int i = 1; i < std::min<int64_t>(threads, pairs); i++) pool.emplace_back(work);
    } catch (...) {  // fewer threads do as well
    }
    work();
    for (auto &thread : pool) thread.join();
    return failed ? 1 : 0;
}
