"""The fault tests of everything that kdvideo promises, run together and recorded."""
