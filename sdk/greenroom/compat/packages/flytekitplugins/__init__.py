"""In front of an installed package of this name in child processes of tasks; see `greenroom.compat.children`."""

from importlib import import_module

import_module("_greenroom_alias").hand_over(__name__)
