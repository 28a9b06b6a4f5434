"""The user's code on its way to replicas: which files a program is made of, and which Python runs it."""

from greenroom.bundling.describe import describe, notes
from greenroom.bundling.errors import BundleError, BundleTooLarge, FileChanged, NoSuchFile, NotBundled, TooManyFiles
from greenroom.bundling.interpreter import (
    Installed,
    Interpreter,
    compare,
    distributions,
    installed,
    interpreter_key,
)
from greenroom.bundling.make import Bundle, make_bundle
from greenroom.bundling.places import find_root, project_name
from greenroom.bundling.reference import ByName, ByValue, Reference, dumps, reference_of

__all__ = [
    "Bundle",
    "BundleError",
    "BundleTooLarge",
    "ByName",
    "ByValue",
    "FileChanged",
    "Installed",
    "Interpreter",
    "NoSuchFile",
    "NotBundled",
    "Reference",
    "TooManyFiles",
    "compare",
    "describe",
    "distributions",
    "dumps",
    "find_root",
    "installed",
    "interpreter_key",
    "make_bundle",
    "notes",
    "project_name",
    "reference_of",
]
