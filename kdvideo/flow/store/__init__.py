"""Flow on disk: our own store and the folders of other tools."""
