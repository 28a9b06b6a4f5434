"""What functions are called: the same name wherever the file that defines them was started from."""

from __future__ import annotations

import os
import sys
from typing import Any


def module_of(function: Any) -> str:
    """The module that a function is defined in; the file's own name for what was run as a script."""
    module = getattr(function, "__module__", None) or "__main__"
    return main_module() if module == "__main__" else str(module)


def main_module() -> str:
    """The name under which the program's first module could be imported; `__main__` if it is no file."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        name: str = spec.name
        return name.removesuffix(".__main__")
    path = getattr(main, "__file__", None)
    return os.path.basename(path).partition(".")[0] if path else "__main__"


def name_of(function: Any) -> str:
    """`module.function`, or `module.Class.function`; functions within functions go by their own name."""
    qualname = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    if qualname is None:  # A partial, or an object that can be called.
        inner = getattr(function, "func", None)
        return name_of(inner) if inner is not None else f"{module_of(function)}.{type(function).__name__}"
    return f"{module_of(function)}.{qualname.rsplit('<locals>.', 1)[-1]}"


def place_of(entity: object, module: str) -> tuple[str, str] | None:
    """Module and name at which something without a name of its own stands; None if no module holds it."""
    for name, value in vars(sys.modules.get(module, object)).items():
        if value is entity and module != "__main__":
            return module, name
    return None


def find(module: str, qualname: str) -> Any:
    """What stands at `module`, `qualname` in this process; None if nothing does."""
    import importlib

    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found
