"""Measurements of kdvideo and their records."""
