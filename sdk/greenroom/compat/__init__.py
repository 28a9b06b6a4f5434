"""`union` and `flytekit`, served by Greenroom: for programs that were written for them, unchanged.

In force under `greenroom run`, `greenroom exec` and on replicas; for tests, `pytest -p greenroom.compat`; elsewhere
`greenroom.compat.install()` before the first import of theirs.
"""

from greenroom.compat.children import child_environment, leave_children, reach_children
from greenroom.compat.finder import install, is_installed, uninstall

__all__ = ["child_environment", "install", "is_installed", "leave_children", "reach_children", "uninstall"]

_by_pytest = False


def pytest_load_initial_conftests() -> None:
    """For `pytest -p greenroom.compat`: before the first conftest.py is imported."""
    pytest_configure()


def pytest_configure() -> None:
    """For `pytest_plugins = ["greenroom.compat"]`."""
    global _by_pytest
    if not is_installed():
        install()
        reach_children()
        _by_pytest = True


def pytest_unconfigure() -> None:
    """Leave the process as it was."""
    global _by_pytest
    if _by_pytest:
        uninstall()
        leave_children()
        _by_pytest = False
