"""Manifests: which clips a data set has, and their labels."""
