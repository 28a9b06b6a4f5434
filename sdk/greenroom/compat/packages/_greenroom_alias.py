"""Hand an import over to Greenroom's alias, or, where there is none, to the package that is installed."""

import importlib
import os
import sys


def hand_over(name: str) -> None:
    """Called by a package of this folder while it is being imported: puts the right one in its place."""
    stand_in = sys.modules.pop(name)
    if not _alias():
        here = os.path.dirname(os.path.abspath(__file__))
        sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    try:
        importlib.import_module(name)
    except BaseException:
        sys.modules[name] = stand_in  # The import system takes it away itself.
        raise


def _alias() -> bool:
    """Put the alias in force, if it is wanted and this Python has Greenroom."""
    if os.environ.get("GREENROOM_ALIAS") != "1":
        return False
    try:
        from greenroom.compat import install
    except ImportError:
        return False
    install()
    return True
