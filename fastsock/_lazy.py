"""Names of a package that are imported when they are first used, so that nobody waits for more."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["importer", "names_of"]


def names_of(homes: Mapping[str, str]) -> list[str]:
    """Return the public names in ``homes``, which has the names of each module, blanks between."""
    return sorted(name for name in _home_of(homes) if not name.startswith("_"))


def importer(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return the package's ``__getattr__`` (PEP 562): it imports a name from its home, once.

    A module in ``homes`` without names is one itself. Where a module needs what only Linux has,
    the name raises ImportError that says so.
    """
    home_of = _home_of(homes)

    def find(name: str) -> object:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = import_module(home)
        except ModuleNotFoundError as error:
            if sys.platform == "linux" or not (error.name or "").startswith("fastsock."):
                raise
            raise ImportError(
                f"{package}.{name} needs Linux, and this is {sys.platform}: clients work here,"
                " fastsock.Client and rpc.connect"
            ) from None
        value = module if not homes[home] else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return find


def _home_of(homes: Mapping[str, str]) -> dict[str, str]:
    home_of = {name: home for home, names in homes.items() for name in names.split()}
    return home_of | {home.rpartition(".")[2]: home for home, names in homes.items() if not names}
