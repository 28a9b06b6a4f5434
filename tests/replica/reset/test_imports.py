# ruff: noqa: E501 - programs and tables of cases read better on one line.
"""What a module's import does stays, as the module does: also where a call imports it first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.replica.reset.lab import Lab

Runner = Callable[..., Any]


def test_a_user_module_that_a_call_imports_is_snapshotted_at_the_end_of_its_import(runner: Runner) -> None:
    """
    Its state after the import is what later calls find; what it registered elsewhere, and set in the process, stays.
    """
    flow = """
        import os, sys
        REGISTRY = {}
        PLUGINS = []
        CALLS = []
        def task(lab):
            CALLS.append("before the import")
            PLUGINS.append("by the call")
            import plugin
            lab.reset.imported("bundle", plugin)
            plugin.STATE.append("by the call")
            os.environ["BY_CALL"] = "1"
            return look()
        def look():
            plugin = sys.modules.get("plugin")
            return (sorted(REGISTRY), list(PLUGINS), list(CALLS), plugin and list(plugin.STATE),
                    os.environ.get("PLUGIN"), os.environ.get("BY_CALL"))
    """
    plugin = """
        import os
        import flow
        flow.REGISTRY["plugin"] = 1
        flow.PLUGINS.append("plugin")
        os.environ["PLUGIN"] = "1"
        STATE = ["import"]
    """

    def scenario(lab: Lab) -> Any:
        return [lab.call("task", lab), lab.call("look"), lab.call("look"), lab.report]

    during, after, again, report = runner(scenario, flow=flow, plugin=plugin)

    assert during == (["plugin"], ["by the call", "plugin"], ["before the import"], ["import", "by the call"], "1", "1")
    assert (["plugin"], ["plugin"], [], ["import"], "1", None) == after == again
    assert report is None


def test_what_a_library_does_while_a_call_imports_it_stays(runner: Runner) -> None:
    """
    Finders, warning filters and loggers of a library that a call imported are there for the next, and for other bundles.
    """
    flow = """
        import sys, warnings
        def task():
            sys.meta_path.append("by the call")
            import this_library
            return look()
        def look():
            return "finder" in sys.meta_path, "by the call" in sys.meta_path, warnings.filters[0][1]
    """
    library = """
        import logging, re, sys, warnings
        sys.meta_path.append("finder")
        warnings.filterwarnings("ignore", message="from the library")
        logging.getLogger(__name__).addHandler(logging.NullHandler())
    """

    def scenario(lab: Lab) -> Any:
        from greenroom_replica.reset import imports

        plain = imports.is_library
        imports.is_library = lambda name: name == "this_library" or plain(name)
        lab.load("other", bundle="other")
        seen = [lab.call("task"), lab.call("look"), lab.report]
        return [*seen, lab.call("look", bundle="other", module="other"), lab.report]

    during, after, report, other, last = runner(scenario, flow=flow, other=flow, this_library=library, load=("flow",))

    assert during[:2] == (True, True)
    assert (True, False) == after[:2] == other[:2]
    assert "from the library" in str(during[2]) and str(during[2]) == str(after[2]) == str(other[2])
    assert report is None and last is None


def test_an_import_that_fails_shows_the_users_lines_only(runner: Runner) -> None:
    """
    The guard that stands before imports is not seen in tracebacks.
    """
    flow = "def task():\n    import broken\ndef absent():\n    import not_there_at_all\n"

    def scenario(lab: Lab) -> Any:
        import traceback

        seen = []
        for name in ("task", "absent"):
            try:
                lab.call(name)
            except Exception as error:
                frames = traceback.extract_tb(error.__traceback__)
                seen.append([frame.name for frame in frames if "tests" not in frame.filename])
        return seen

    assert runner(scenario, flow=flow, broken="1 / 0") == [["task", "<module>"], ["absent"]]


def test_modules_that_import_each_other_are_walked_when_all_are_there(runner: Runner) -> None:
    """
    A registry that a later module of the same import fills is kept as full as it was at the end.
    """
    flow = "import registry, users\ndef task():\n    registry.NAMES.append('call')\n    return list(registry.NAMES)\n"

    def scenario(lab: Lab) -> Any:
        return [lab.call("task"), lab.call("task")]

    names = runner(
        scenario,
        flow=flow,
        registry="NAMES = []",
        users="import registry\nregistry.NAMES.append('users')",
        load=("registry", "users", "flow"),
    )

    assert names == [["users", "call"], ["users", "call"]]
