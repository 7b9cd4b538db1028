"""The C++ solver under the address and undefined behaviour sanitizers (slow)."""

import subprocess
from pathlib import Path

import pytest

from kdvideo.flow.tvl1 import cpp

MAIN = """
#include "{source}"
#include <cstdio>
#include <random>

int main() {{
    std::mt19937 random(0);
    std::uniform_real_distribution<float> gray(0, 255);
    for (int border = 0; border < 3; border++)
        for (int bilinear = 0; bilinear < 2; bilinear++)
            for (int w : {{1, 2, 15, 16, 17, 40}})
                for (int h : {{1, 3, 16, 33}}) {{
                    const int sizes[4] = {{h, w, (h + 1) / 2, (w + 1) / 2}};
                    std::vector<float> fine(3 * h * w), coarse(3 * sizes[2] * sizes[3]), flow(4 * h * w);
                    for (auto &pixel : fine) pixel = gray(random);
                    for (auto &pixel : coarse) pixel = gray(random);
                    const float *levels[2] = {{fine.data(), coarse.data()}};
                    const float tolerance = w % 2 ? .01f : 0.f;
                    const int median = h % 2 ? 5 : 1;
                    const Preset preset{{.25f, .15f, .3f, tolerance, .5f, 5, 20, 2, median, bilinear, border}};
                    if (tvl1_solve(levels, sizes, 2, 1, 3, &preset, 2, flow.data())) return 1;
                    for (float value : flow)
                        if (!(value == value)) return 2;
                }}
    std::puts("clean");
}}
"""


@pytest.mark.slow
@pytest.mark.skipif(bool(cpp.build_error()), reason="no C++ compiler here")
def test_nothing_is_read_or_written_outside(tmp_path: Path) -> None:
    (tmp_path / "main.cpp").write_text(MAIN.format(source=cpp.SOURCE.resolve()))
    flags = ["-std=c++17", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-pthread"]
    built = subprocess.run(
        ["c++", *flags, "main.cpp", "-o", "main"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if built.returncode:
        pytest.skip(f"no sanitizers here: {built.stderr[-200:]}")
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "clean\n"), done.stderr[-2000:]
