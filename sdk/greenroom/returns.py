"""Whether a function that promises an output has a `return` that could give one."""

from __future__ import annotations

import ast
import dis
import inspect
from typing import TYPE_CHECKING, Any, Final

from greenroom.definition_errors import MissingReturn
from greenroom.lines import defined

if TYPE_CHECKING:
    from types import CodeType

    from greenroom.types import Interface

_RETURN_VALUE: Final = dis.opmap["RETURN_VALUE"]
_LOAD_CONST: Final = dis.opmap["LOAD_CONST"]
_RETURN_CONST: Final = dis.opmap.get("RETURN_CONST", -1)


def check_returns(function: Any, interface: Interface, name: str) -> None:
    """Refuse a function whose annotation promises outputs while its body has no `return` with a value.

    Raises:
        MissingReturn: So it is.
    """
    if not interface.outputs:
        return
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    # The bytecode answers for nearly every function in microseconds; only `return None` needs a look at the source.
    if code is None or _returns_values(code) or _says_so(function):
        return
    annotation = getattr(function, "__annotations__", {}).get("return")
    told = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    raise MissingReturn(name, told).at(defined(function))


def _returns_values(code: CodeType) -> bool:
    """Whether the bytecode returns anything but the constant None."""
    raw = code.co_code
    for place in range(0, len(raw), 2):
        if raw[place] == _RETURN_CONST and code.co_consts[raw[place + 1]] is not None:
            return True
        if raw[place] == _RETURN_VALUE:
            none = place >= 2 and raw[place - 2] == _LOAD_CONST and code.co_consts[raw[place - 1]] is None
            if not none:
                return True
    return False


def _says_so(function: Any) -> bool:
    import textwrap

    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # No source here: nothing can be said.
        return True
    body = getattr(tree.body[0], "body", None)
    return not isinstance(body, list) or _has_return(tree.body[0]) or isinstance(body[-1], ast.Raise)


def _has_return(node: ast.AST) -> bool:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Return) and child.value is not None:
            return True
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)) and _has_return(
            child
        ):
            return True
    return False
