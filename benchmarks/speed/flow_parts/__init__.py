"""The parts of `benchmarks.speed.flow`."""
