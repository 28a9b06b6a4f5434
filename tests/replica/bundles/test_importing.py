"""Importing a bundle's modules: as Python would from the user's own folder."""

from __future__ import annotations

import importlib
import importlib.resources
import inspect
import pickle
import pkgutil
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from greenroom_replica.bundles import ImportFailed, NotDefined

from .conftest import Runner


def test_a_program_of_several_modules(runner: Runner) -> None:
    """
    Modules beside the script, packages with relative imports, namespace packages and a src folder are all found.
    """
    flow = runner.load(
        {
            "flow.py": "import helpers, pkg.sub.deep as deep, space.part as part, laid\n"
            "total = helpers.one + deep.two + part.three + laid.four\n",
            "helpers.py": "one = 1\n",
            "pkg/__init__.py": "",
            "pkg/base.py": "base = 1\n",
            "pkg/sub/__init__.py": "",
            "pkg/sub/deep.py": "from ..base import base\nfrom . import twin\ntwo = base + twin.one\n",
            "pkg/sub/twin.py": "one = 1\n",
            "space/part.py": "three = 3\n",
            "src/laid/__init__.py": "from .inner import four\n",
            "src/laid/inner.py": "four = 4\n",
        },
        roots=("", "src"),
    )

    assert flow.total == 10
    assert sys.modules["space"].__file__ is None


def test_what_stands_under_main_is_not_run(runner: Runner) -> None:
    """
    The user's script is imported under its module's name, and `__main__` means it afterwards.
    """
    active = runner.use({"flow.py": 'ran = False\nif __name__ == "__main__":\n    ran = True\nclass Thing: pass\n'})

    flow = active.module("__main__")

    assert not flow.ran
    assert flow.__name__ == "flow"
    assert sys.modules["__main__"] is flow
    assert flow.Thing is pickle.loads(b"c__main__\nThing\n.")


def test_circular_and_conditional_imports(runner: Runner) -> None:
    """
    Modules that import each other, and modules that may be missing, work as they do in Python.
    """
    flow = runner.load(
        {
            "flow.py": "try:\n    import no_such_thing\nexcept ImportError:\n    found = False\nimport left\n",
            "left.py": "import right\ndef name(): return 'left'\n",
            "right.py": "import left\ndef both(): return left.name() + 'right'\n",
        }
    )

    assert not flow.found
    assert sys.modules["right"].both() == "leftright"


def test_data_files_beside_the_module(runner: Runner) -> None:
    """
    `__file__` is a real path with the bundle's files around it, for `Path`, `pkgutil` and `importlib.resources`.
    """
    flow = runner.load(
        {
            "flow.py": "from pathlib import Path\nhere = (Path(__file__).parent / 'data.txt').read_text()\n",
            "data.txt": "seven",
            "pkg/__init__.py": "",
            "pkg/table.txt": "eight",
        }
    )

    assert flow.here == "seven"
    assert pkgutil.get_data("pkg", "table.txt") == b"eight"
    assert importlib.resources.files("pkg").joinpath("table.txt").read_text() == "eight"
    assert Path(str(flow.__file__)).is_file()


def test_tracebacks_show_the_users_own_paths_and_lines(runner: Runner) -> None:
    """
    A traceback names the file as the user has it, with its lines, although nothing lies at that path here.
    """
    flow = runner.load({"flow.py": "def fail():\n    raise ValueError('é')  # the line\n"}, origin="/home/ada/p")

    with pytest.raises(ValueError) as caught:
        flow.fail()

    text = "".join(traceback.format_exception(caught.value))
    assert 'File "/home/ada/p/flow.py", line 2, in fail' in text
    assert "# the line" in text


def test_tracebacks_show_what_runs_not_what_the_file_holds_now(runner: Runner, tmp_path: Path) -> None:
    """
    When the user has edited the file since, lines still are those of the submitted text.
    """
    (tmp_path / "flow.py").write_text("# something else entirely\n# another line\n")
    flow = runner.load({"flow.py": "def fail():\n    raise ValueError  # submitted\n"}, origin=str(tmp_path))

    with pytest.raises(ValueError) as caught:
        flow.fail()

    assert "# submitted" in "".join(traceback.format_exception(caught.value))


def test_inspect_finds_sources(runner: Runner) -> None:
    """
    `inspect.getsource` works on functions, classes and modules.
    """
    text = "def f(x):\n    return x\n\n\nclass C:\n    a = 1\n"
    flow = runner.load({"flow.py": text})

    assert inspect.getsource(flow.f) == "def f(x):\n    return x\n"
    assert inspect.getsource(flow.C) == "class C:\n    a = 1\n"
    assert text == inspect.getsource(flow)


def test_a_form_feed_or_an_odd_line_end_moves_no_line(runner: Runner) -> None:
    """
    Lines are counted as Python counts them.
    """
    flow = runner.load({"flow.py": "a = '''\x0c\u2028'''\r\n\r\ndef f():\r\n    return 1  # here\r\n".encode()})

    assert "return 1  # here" in inspect.getsource(flow.f)


def test_a_declared_encoding_is_honoured(runner: Runner) -> None:
    """
    A text in another encoding is read as it declares.
    """
    flow = runner.load({"flow.py": "# coding: latin-1\nname = 'Zo\xeb'\n".encode("latin-1")})

    assert flow.name == "Zoë"


def test_a_file_whose_name_is_no_modules(runner: Runner) -> None:
    """
    `my-flow.v2.py`, or a file named like a module of Python's own, is imported under the name that was made for it.
    """
    odd = runner.use({"my-flow.v2.py": "a = 1\n"}, entry="my-flow.v2.py", module="my-flow_v2").module("my-flow_v2")
    queue = runner.use({"queue.py": "b = 2\n"}, entry="queue.py", module="queue_").module("queue_")

    assert (odd.a, queue.b) == (1, 2)
    assert not hasattr(importlib.import_module("queue"), "b")


def test_libraries_keep_pythons_own_modules(runner: Runner) -> None:
    """
    A user's file named like a module of Python's own is his when he asks for it, and a library never gets it.
    """
    sys.modules.pop("sndhdr", None)
    active = runner.use({"flow.py": "import this_is_mine\n", "this_is_mine.py": "", "colorsys.py": "mine = 1\n"})
    sys.modules.pop("colorsys", None)
    active.module("flow")

    importlib.import_module("colorsys")  # Asked for by this test, which stands for a library.

    assert not hasattr(sys.modules["colorsys"], "mine")
    del sys.modules["colorsys"]
    assert runner.load({"flow.py": "import colorsys as own\nmine = own.mine\n", "colorsys.py": "mine = 1\n"}).mine == 1


def test_a_script_in_a_package_sees_its_neighbours(runner: Runner) -> None:
    """
    A script inside a package may import the modules beside it by their short names, after all others.
    """
    files = {"pkg/__init__.py": "", "pkg/flow.py": "import beside, json\n", "pkg/beside.py": "", "pkg/json.py": "1/0"}
    flow = runner.load(files, "pkg.flow", entry="pkg/flow.py", late_roots=("pkg",))

    assert flow.__name__ == "pkg.flow"
    assert hasattr(flow.json, "dumps")


def test_modules_that_replace_themselves(runner: Runner) -> None:
    """
    A module that puts another object into `sys.modules` is that object, also in the next bundle.
    """
    lazy = "import sys\nclass Lazy:\n    value = 5\nsys.modules[__name__] = Lazy()\n"
    first = runner.load({"flow.py": "import lazy\nv = lazy.value\n", "lazy.py": lazy})
    second = runner.load({"flow.py": "import lazy\nv = lazy.value + 1\n", "lazy.py": lazy})

    assert (first.v, second.v) == (5, 6)


def test_pkgutil_lists_modules(runner: Runner) -> None:
    """
    Programs that walk their own packages find what is in them.
    """
    files = {
        "flow.py": "",
        "plugins/__init__.py": "",
        "plugins/a.py": "",
        "plugins/b/__init__.py": "",
        "plugins/c.txt": "",
    }
    runner.load(files)

    import plugins  # type: ignore[import-not-found]

    found = [(module.name, module.ispkg) for module in pkgutil.iter_modules(plugins.__path__, "plugins.")]
    assert found == [("plugins.a", False), ("plugins.b", True)]


def test_modules_that_a_call_writes(runner: Runner) -> None:
    """
    Code that a call generates into its folder is importable, and gone with the bundle.
    """
    active = runner.use({"flow.py": ""})
    (active.folder / "generated.py").write_text("made = True\n")
    importlib.invalidate_caches()

    assert active.module("generated").made

    runner.use({"flow.py": "# another\n"})
    assert "generated" not in sys.modules


def test_folders_that_programs_put_on_the_path(runner: Runner) -> None:
    """
    `sys.path.append(HERE + "/../lib")` works, and what is imported from there counts as the program's own.
    """
    files = {
        "flows/flow.py": "import os, sys\nsys.path.append(os.path.join(os.path.dirname(__file__), '..', 'lib'))\n"
        "import helper\nvalue = helper.value\n",
        "lib/helper.py": "value = 1\n",
    }
    first = runner.load(files, "flow", entry="flows/flow.py", module="flow", roots=("flows", ""))
    edited = {**files, "lib/helper.py": "value = 2\n"}
    second = runner.load(edited, "flow", entry="flows/flow.py", module="flow", roots=("flows", ""))

    assert (first.value, second.value) == (1, 2)


def test_the_users_live_files_are_not_imported(runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An editable install puts the user's own folder on the path of a replica on his machine; the bundle counts alone.
    """
    (tmp_path / "src").mkdir()
    (tmp_path / "src/live_only.py").write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "src")])

    with pytest.raises(ImportFailed, match="No module named 'live_only'"):
        runner.load(
            {"src/flow.py": "import live_only\n"},
            entry="src/flow.py",
            module="flow",
            roots=("src",),
            origin=str(tmp_path),
        )


def test_a_child_process_finds_the_modules(runner: Runner) -> None:
    """
    The tree on `sys.path` is real: a child process that gets the path imports from it.
    """
    active = runner.use({"flow.py": "value = 3\n"})

    script = "import flow; print(flow.value)"
    done = subprocess.run([sys.executable, "-c", script], cwd=active.folder, capture_output=True, text=True, check=True)

    assert done.stdout == "3\n"


def test_functions_are_found_by_name(runner: Runner) -> None:
    """
    Tasks are looked up by qualified name; what cannot be is said with a remedy.
    """
    active = runner.use({"flow.py": "class Group:\n    def run(self): ...\ndef train(): ...\n"})

    assert active.module("flow").Group.run is active.function("flow", "Group.run")
    assert active.module("flow").train is active.function("__main__", "train")
    with pytest.raises(NotDefined, match=r"flow\.py defines no 'trian' at its top; did you mean train\?"):
        active.function("flow", "trian")
    with pytest.raises(NotDefined, match=r"made inside another function.*move it to the top of flow\.py"):
        active.function("flow", "make.<locals>.inner")


def test_an_import_that_fails_says_what_the_user_did(runner: Runner) -> None:
    """
    The user's error is the cause; the first bundle of a runner needs no fresh one, a second one may.
    """
    with pytest.raises(ImportFailed, match="importing flow failed: ZeroDivisionError: division by zero") as first:
        runner.load({"flow.py": "1 / 0\n"})
    with pytest.raises(ImportFailed, match="importing flow failed: SystemExit: 3") as second:
        runner.load({"flow.py": "import sys\nsys.exit(3)\n"})

    assert isinstance(first.value.__cause__, ZeroDivisionError)
    assert (first.value.fresh_runner, second.value.fresh_runner) == (False, True)
    assert "flow" not in sys.modules
    copy = pickle.loads(pickle.dumps(second.value))
    assert (str(second.value), True) == (str(copy), copy.fresh_runner)


def test_an_import_errors_traceback_is_the_users_alone(runner: Runner) -> None:
    """
    Between the user's lines there are no frames of the machinery that imported them.
    """
    with pytest.raises(ImportFailed) as caught:
        runner.load({"flow.py": "import helper\n", "helper.py": "def f():\n    1 / 0\nf()\n"}, origin="/p")

    assert caught.value.__cause__ is not None
    frames = traceback.extract_tb(caught.value.__cause__.__traceback__)
    assert [(frame.filename, frame.lineno) for frame in frames] == [
        ("/p/flow.py", 1),
        ("/p/helper.py", 3),
        ("/p/helper.py", 2),
    ]


def test_a_syntax_error_names_the_users_file(runner: Runner) -> None:
    """
    A text that is no Python fails with the user's own path.
    """
    with pytest.raises(ImportFailed) as caught:
        runner.load({"flow.py": "def f(:\n"}, origin="/home/ada/p")

    assert isinstance(caught.value.__cause__, SyntaxError)
    assert caught.value.__cause__.filename == "/home/ada/p/flow.py"


def test_a_failed_import_can_be_tried_again(runner: Runner) -> None:
    """
    An import that failed leaves nothing half done behind: the next call tries again.
    """
    text = "import os\nif 'GREENROOM_TEST_FAIL' in os.environ: raise RuntimeError('once')\nok = True\n"
    active = runner.use({"flow.py": text})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREENROOM_TEST_FAIL", "1")
        with pytest.raises(ImportFailed):
            active.module("flow")

    assert active.module("flow").ok


def test_libraries_that_an_import_brought(runner: Runner) -> None:
    """
    What a program imports from elsewhere is told, for templates that hold it.
    """
    sys.modules.pop("colorsys", None)
    active = runner.use({"flow.py": "import colorsys, helper\n", "helper.py": ""})
    active.module("flow")

    assert {"colorsys"} <= active.libraries
    assert not {"flow", "helper"} & active.libraries


def test_reload_and_reimport_run_again(runner: Runner) -> None:
    """
    `importlib.reload`, and an import after `del sys.modules[...]`, execute the module anew.
    """
    flow = runner.load({"flow.py": "import helper\n", "helper.py": "import itertools\nlist_ = []\n"})
    helper = flow.helper
    helper.list_.append(1)

    importlib.reload(helper)
    assert helper.list_ == []
    del sys.modules["helper"]
    assert helper is not importlib.import_module("helper")


def test_closing_leaves_no_trace(runner: Runner) -> None:
    """
    A runner that is closed leaves Python's import system as it found it.
    """
    path, hooks, meta = list(sys.path), list(sys.path_hooks), list(sys.meta_path)
    main = sys.modules["__main__"]
    runner.load({"flow.py": "import helper\n", "helper.py": ""})

    runner.bundles.close()

    assert (path, hooks, meta) == (sys.path, sys.path_hooks, sys.meta_path)
    assert main is sys.modules["__main__"]
    assert "helper" not in sys.modules
