"""kdvideo's losses beside those of other libraries: where they agree, by which factor, and where they do not."""
