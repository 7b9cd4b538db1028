"""TV-L1 optical flow: settings, the solvers of every backend, and the pyramid that they share."""
