"""Clips as networks see them: paired views, and all views of a test clip."""
