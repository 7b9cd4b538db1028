"""Hostile files: what they ask for, and what they get."""
