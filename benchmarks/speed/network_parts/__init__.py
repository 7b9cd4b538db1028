"""The parts of `benchmarks.speed.models`."""
