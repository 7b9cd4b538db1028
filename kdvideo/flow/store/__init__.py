"""Flow on disk: stores with sidecars and checksums, their codecs, and the JPEG folders of other tools."""
