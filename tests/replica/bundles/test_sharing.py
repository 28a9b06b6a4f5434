"""Several bundles in one runner: what has not changed between them is the same module, what has is imported anew."""

from __future__ import annotations

import gc
import itertools
import sys
import weakref
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenroom_replica.bundles import BlobMissing, ImportFailed

from .conftest import Runner

PROGRAM = {
    "flow.py": "import models, steps\ndef version(): return 1\n",
    "models.py": "import base\nclass Model(base.Base): pass\n",
    "base.py": "class Base: pass\n",
    "steps.py": "from helpers import help_\n",
    "helpers.py": "help_ = 'v1'\n",
}


def edit(files: dict[str, Any], **texts: str) -> dict[str, Any]:
    """The program with some modules' texts replaced."""
    return {**files, **{f"{name}.py": text for name, text in texts.items()}}


def test_an_edit_elsewhere_keeps_classes(runner: Runner) -> None:
    """
    When the script alone is edited, its modules and their classes are the very same objects.
    """
    first = runner.load(PROGRAM)
    second = runner.load(edit(PROGRAM, flow="import models, steps\ndef version(): return 2\n"))

    assert (first.version(), second.version()) == (1, 2)
    assert first.models is second.models
    assert first.steps is second.steps
    assert runner.imported == ["base", "models", "helpers", "steps", "flow", "flow"]


def test_an_edit_reaches_those_that_import_it(runner: Runner) -> None:
    """
    A changed module is new, and so are all that import it, however indirectly; others stay.
    """
    first = runner.load(PROGRAM)
    second = runner.load(edit(PROGRAM, helpers="help_ = 'v2'\n"))

    assert second.steps.help_ == "v2"
    assert first.steps.help_ == "v1"
    assert first.models is second.models


def test_going_back_finds_the_first_bundle_as_it_was(runner: Runner) -> None:
    """
    Switching back and forth imports nothing, and every module sees its own bundle's modules.
    """
    first = runner.use(PROGRAM)
    first.module("flow")
    second = runner.use(edit(PROGRAM, helpers="help_ = 'v2'\n"))
    second.module("flow")
    runner.imported.clear()

    for active, expected in [(first, "v1"), (second, "v2"), (first, "v1")]:
        again = runner.bundles.activate(active.hash, active.manifest, active.origin)
        assert again is active
        assert again.module("helpers").help_ == expected
        assert sys.modules["__main__"] is active.module("flow")
    assert runner.imported == []


def test_submodules_follow_their_bundle(runner: Runner) -> None:
    """
    A package that two bundles share shows each its own submodules.
    """
    files = {"flow.py": "import pkg\n", "pkg/__init__.py": "state = []\n", "pkg/part.py": "n = 1\n"}
    first = runner.use(files)
    package = first.module("pkg")
    first.module("pkg.part")
    second = runner.use({**files, "pkg/part.py": "n = 2\n"})

    assert second.module("pkg") is package
    assert not hasattr(package, "part")
    assert second.module("pkg.part").n == 2
    assert package.part.n == 2
    runner.bundles.activate(first.hash, first.manifest, first.origin)
    assert package.part.n == 1


def test_modules_that_import_each_other_change_together(runner: Runner) -> None:
    """
    A cycle is shared as a whole or not at all.
    """
    files = {
        "flow.py": "import left\n",
        "left.py": "import right\nname = 'left'\n",
        "right.py": "import left\ndef get(): return left.name\n",
    }
    first = runner.load(files)
    same = runner.load(edit(files, flow="import left  # edited\n"))
    second = runner.load(edit(files, left="import right\nname = 'LEFT'\n"))

    assert same.left is first.left
    assert second.left.right is not first.left.right
    assert (first.left.right.get(), second.left.right.get()) == ("left", "LEFT")


def test_a_module_that_appears_is_taken(runner: Runner) -> None:
    """
    A module that tried in vain to import another one is new once that is there.
    """
    files = {"flow.py": "import tries\n", "tries.py": "try:\n    import fast\nexcept ImportError:\n    fast = None\n"}
    first = runner.load(files)
    second = runner.load({**files, "fast.py": ""})

    assert first.tries.fast is None
    assert second.tries.fast is sys.modules["fast"]


def test_data_that_was_read_while_importing_counts(runner: Runner) -> None:
    """
    A module is new when a file of the bundle that it read while it was imported has changed; another file is nothing.
    """
    files: dict[str, Any] = {
        "flow.py": "import settings\n",
        "settings.py": "from pathlib import Path\nvalue = (Path(__file__).parent / 'a.txt').read_text()\n",
        "a.txt": "1",
        "b.txt": "1",
    }
    first = runner.load(files)
    same = runner.load({**files, "b.txt": "2"})
    second = runner.load({**files, "a.txt": "2"})

    assert same.settings is first.settings
    assert same is first
    assert (first.settings.value, second.settings.value) == ("1", "2")


def test_a_folder_that_was_listed_while_importing_counts(runner: Runner) -> None:
    """
    A module that listed a folder while it was imported is new when a file is added there.
    """
    files: dict[str, Any] = {
        "flow.py": "import os\nfound = sorted(os.listdir(os.path.join(os.path.dirname(__file__), 'data')))\n",
        "data/a.txt": "",
    }
    first = runner.load(files)
    second = runner.load({**files, "data/b.txt": ""})

    assert (first.found, second.found) == (["a.txt"], ["a.txt", "b.txt"])


def test_data_is_the_active_bundles_also_for_shared_modules(runner: Runner) -> None:
    """
    A shared module that opens its data in a call sees the data of the bundle that is active.
    """
    files: dict[str, Any] = {
        "flow.py": "import reader\n",
        "reader.py": "from pathlib import Path\nHERE = Path(__file__).resolve().parent\n"
        "def read(): return (HERE / 'data.txt').read_text()\n",
        "data.txt": "old",
    }
    first = runner.use(files)
    reader = first.module("reader")
    before = reader.read()
    second = runner.use({**files, "data.txt": "new"})

    assert second.module("reader") is reader
    assert (before, reader.read()) == ("old", "new")


def test_dynamic_imports_count_everything(runner: Runner) -> None:
    """
    A module that imports by name at run time may have reached any other: every edit makes it new.
    """
    files = {
        "flow.py": "import registry\n",
        "registry.py": "import importlib\nfound = importlib.import_module('plug' + 'in').value\n",
        "plugin.py": "value = 1\n",
    }
    first = runner.load(files)
    second = runner.load(edit(files, plugin="value = 2\n"))

    assert (first.registry.found, second.registry.found) == (1, 2)


def test_names_of_modules_in_texts_count(runner: Runner) -> None:
    """
    A module that names another one in a string, for a library to import it, is new when that one has changed.
    """
    files = {
        "flow.py": "import pydoc\nvalue = pydoc.locate('pkg.plugin.value')\n",
        "pkg/__init__.py": "",
        "pkg/plugin.py": "value = 1\n",
    }
    first = runner.load(files)
    second = runner.load({**files, "pkg/plugin.py": "value = 2\n"})

    assert (first.value, second.value) == (1, 2)


def test_checkouts_share_nothing(runner: Runner) -> None:
    """
    The same code from two folders is two sets of modules: each shows its own paths in tracebacks.
    """
    first = runner.load(PROGRAM, origin="/home/ada/one")
    second = runner.load(PROGRAM, origin="/home/ada/two")

    assert first.models is not second.models
    assert second.version.__code__.co_filename == "/home/ada/two/flow.py"


def test_a_renamed_module_is_another_one(runner: Runner) -> None:
    """
    The same text under another name is another module.
    """
    first = runner.load({"flow.py": "import a as m\n", "a.py": "class C: pass\n"})
    second = runner.load({"flow.py": "import b as m\n", "b.py": "class C: pass\n"})

    assert (first.m.C.__module__, second.m.C.__module__) == ("a", "b")


def test_the_least_recently_used_bundle_goes(runner: Runner) -> None:
    """
    At most four bundles live in a runner; what a later one shares of an older one stays.
    """
    actives = []
    for number in range(5):
        active = runner.use(edit(PROGRAM, flow=f"import models\nn = {number}\n"))
        active.module("flow")
        actives.append(active)

    assert runner.bundles.held == actives[1:]
    assert runner.imported.count("models") == 1
    oldest = weakref.ref(actives[0].parked["flow"])
    kept = weakref.ref(actives[1].parked["flow"])
    del active, actives
    gc.collect()
    assert oldest() is None
    assert kept() is not None


def test_a_shared_module_never_mixes_two_versions(runner: Runner) -> None:
    """
    What a shared module holds on to is what its new bundle imports too, also when that is imported late.
    """
    files = {
        "flow.py": "import top\n",
        "top.py": "import low\nclass Top(low.Low): pass\n",
        "low.py": "class Low: pass\n",
    }
    first = runner.load(files)
    second = runner.use(edit(files, flow="import top  # edited\ndef late():\n    import low\n    return low.Low\n"))
    flow = second.module("flow")

    assert flow.top is first.top
    assert issubclass(flow.top.Top, flow.late())


def test_an_import_that_fails_in_the_second_bundle_asks_for_a_fresh_runner(runner: Runner) -> None:
    """
    A module that cannot live twice in a process (it registers itself somewhere) says so; a fresh runner has it.
    """
    registers = "import warnings\nif hasattr(warnings, '_greenroom_test'): raise ValueError('twice')\n"
    registers += "warnings._greenroom_test = True\n"
    try:
        runner.load({"flow.py": registers})
        with pytest.raises(ImportFailed, match="ValueError: twice") as caught:
            runner.load({"flow.py": registers + "# edited\n"})
    finally:
        import warnings

        del warnings._greenroom_test  # type: ignore[attr-defined]

    assert caught.value.fresh_runner


def test_a_bundle_that_cannot_be_laid_out_does_no_harm(runner: Runner) -> None:
    """
    When a blob is missing the other bundles go on, and so does this one once the blob has come.
    """
    first = runner.use(PROGRAM)
    first.module("flow")
    manifest = runner.manifest({"flow.py": "new = 1\n"})
    blob = runner.blobs.blob_path(manifest.files[0].digest)
    content = blob.read_bytes()
    blob.unlink()
    path = list(sys.path)

    with pytest.raises(BlobMissing):
        runner.bundles.activate(manifest.hash, manifest, first.origin)
    assert runner.bundles.activate(first.hash, first.manifest, first.origin).module("helpers").help_ == "v1"
    assert sys.path == path
    runner.blobs.put(content)
    assert runner.bundles.activate(manifest.hash, manifest, first.origin).module("flow").new == 1


def test_a_library_of_the_same_name_does_not_hide_a_module(
    runner: Runner, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What one bundle imported as a library is another one's own module, if that has a file of the name.
    """
    (tmp_path / "site/greenroom_test_utils").mkdir(parents=True)
    (tmp_path / "site/greenroom_test_utils/__init__.py").write_text("from . import part\nwho = 'library'\n")
    (tmp_path / "site/greenroom_test_utils/part.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "site")
    text = "import greenroom_test_utils as utils\nwho = utils.who\n"
    first = runner.use({"flow.py": text})
    library = first.module("flow").utils
    second = runner.use({"flow.py": text, "greenroom_test_utils.py": "who = 'own'\n"})

    assert second.module("flow").who == "own"
    assert "greenroom_test_utils.part" not in sys.modules
    runner.bundles.activate(first.hash, first.manifest, first.origin)
    assert sys.modules["greenroom_test_utils"] is library
    assert sys.modules["greenroom_test_utils.part"] is library.part


def test_a_shared_module_brings_what_it_had_imported(runner: Runner) -> None:
    """
    Running it would have imported them: whoever looks for the module of a class by its name finds it.
    """
    files = {
        "flow.py": "from model import Model\n",
        "model.py": "from base import Base\n\n\nclass Model(Base):\n    pass\n",
        "base.py": "import root\n\n\nclass Base:\n    pass\n",
        "root.py": "",
    }
    base = runner.load(files).Model.__mro__[1]

    runner.load({**files, "flow.py": "from model import Model\nNEW = 1\n"})

    assert sys.modules["base"].Base is base
    assert "root" in sys.modules


NAMES = ("a", "b", "c", "d")


@st.composite
def programs(draw: st.DrawFn) -> dict[str, str]:
    """Small programs whose modules import each other, also in circles, and carry a number."""
    files = {}
    for name in NAMES:
        imports = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
        files[f"{name}.py"] = "".join(f"import {other}\n" for other in imports if other != name)
        files[f"{name}.py"] += f"number = {draw(st.integers(0, 1))}\n"
    return files


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(programs(), min_size=1, max_size=6), order=st.permutations(NAMES))
def test_every_module_sees_its_own_bundle(make_runner: Any, history: list[dict[str, str]], order: list[str]) -> None:
    """
    Whatever is edited, in whatever order modules are imported: a bundle's modules hold its texts, and each other.
    """
    runner = make_runner(f"runner-{next(_COUNT)}")
    for files in [*history, *history]:
        active = runner.use(files)
        for name in order:
            module = active.module(name)
            numbers = {line for line in files[f"{name}.py"].splitlines() if line.startswith("number")}
            assert numbers == {f"number = {module.number}"}
        for name, other in itertools.permutations(NAMES, 2):
            if f"import {other}\n" in files[f"{name}.py"]:
                assert getattr(active.module(name), other) is active.module(other)
    runner.bundles.close()


_COUNT = itertools.count()
