"""Views of clips as networks see them: paired RGB and flow, and all views of a test clip."""
