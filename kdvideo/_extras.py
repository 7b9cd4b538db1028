"""What to say where a package that an extra brings is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def needed(what: str, extra: str = "video") -> Iterator[None]:
    """Turn the error of a missing package into one that names the extra to install.

    Args:
        what: needs the package, in the user's words.
        extra: of kdvideo that brings it.

    Raises:
        ModuleNotFoundError: the block imports a package that is not installed.

    Examples:
        >>> with needed("kd.models.timm"):
        ...     import no_such_package
        Traceback (most recent call last):
        ModuleNotFoundError: kd.models.timm needs no_such_package, which is not installed: pip install "kdvideo[video]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "kdvideo":
            raise
        raise _error(what, package, extra) from error


def check_installed(what: str, *packages: str, extra: str = "video") -> None:
    """Raise ModuleNotFoundError, as `needed`, unless the packages are installed; import nothing."""
    for package in packages:
        if find_spec(package) is None:
            raise _error(what, package, extra)


def _error(what: str, package: str, extra: str) -> ModuleNotFoundError:
    advice = f'{what} needs {package}, which is not installed: pip install "kdvideo[{extra}]"'
    return ModuleNotFoundError(advice, name=package)
