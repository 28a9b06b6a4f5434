"""A user's project from its disk to a replica: bundled here, imported in another process without the user's files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from greenroom.bundling import make_bundle
from greenroom_replica.bundles import LocalBlobs

REPLICA = """
import json, sys, traceback
from pathlib import Path
from greenroom.compat import install
from greenroom_protocol.bundle import Manifest
from greenroom_replica.bundles import Bundles, LocalBlobs

folder, hash, origin, module, name, arguments = sys.argv[1:]
install()
blobs = LocalBlobs(Path(folder) / "blobs")
manifest = Manifest.decode(blobs.open_blob(hash), hash)
active = Bundles(Path(folder) / "tree", blobs, codes=Path(folder) / "codes").activate(hash, manifest, origin)
try:
    function = active.function(module, name)
    print(json.dumps(getattr(function, "function", function)(*json.loads(arguments))))
except Exception:
    print(json.dumps(traceback.format_exc()))
"""


@pytest.fixture
def call(tmp_path: Path) -> Any:
    """Bundle a program, take its files away, and call a function of it on a replica."""

    def run(file: Path, name: str, *arguments: Any, search: tuple[str, ...] = (), gone: bool = True) -> Any:
        bundle = make_bundle(file, search=search, cache=tmp_path / "cache")
        blobs = LocalBlobs(tmp_path / "replica/blobs")
        for _, content in bundle.blobs():
            blobs.put(content)
        if gone:
            shutil.move(bundle.root, tmp_path / "gone")
        command = [sys.executable, "-c", REPLICA, str(tmp_path / "replica"), bundle.hash, bundle.origin]
        command += [bundle.module, name, json.dumps(arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files and return the folder."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_a_src_layout_with_data_and_a_neighbouring_package(tmp_path: Path, call: Any) -> None:
    """
    Relative imports, a src folder, data by `__file__` and by `importlib.resources`, and an editable install elsewhere.
    """
    other = write(
        tmp_path / "other", {"lib/shared/__init__.py": "from .deep import five\n", "lib/shared/deep.py": "five = 5\n"}
    )
    project = write(
        tmp_path / "my project",
        {
            "pyproject.toml": '[project]\nname = "mine"\n',
            "src/mine/__init__.py": "",
            "src/mine/flow.py": "from importlib.resources import files\nfrom pathlib import Path\n"
            "import shared\nfrom .steps import add\n"
            "def run(n):\n"
            "    near = int((Path(__file__).parent / 'data' / 'n.txt').read_text())\n"
            "    return add(n, near, int(files('mine.data').joinpath('m.txt').read_text()), shared.five)\n",
            "src/mine/steps.py": "def add(*numbers): return sum(numbers)\n",
            "src/mine/data/n.txt": "100",
            "src/mine/data/m.txt": "1000",
        },
    )

    assert call(project / "src/mine/flow.py", "run", 1, search=(str(other / "lib"),)) == 1106


def test_tracebacks_are_the_users_also_in_packages_from_elsewhere(tmp_path: Path, call: Any) -> None:
    """
    Paths and lines are those of the user's disk, of the project and of what was mounted, though neither is here.
    """
    other = write(tmp_path / "other", {"shared/__init__.py": "def fail():\n    raise ValueError('deep')  # there\n"})
    project = write(
        tmp_path / "proj", {"pyproject.toml": "", "flow.py": "import shared\ndef run():\n    shared.fail()  # here\n"}
    )

    text = call(project / "flow.py", "run", search=(str(other),))

    assert f'File "{project}/flow.py", line 3, in run\n    shared.fail()  # here' in text
    assert f'File "{other}/shared/__init__.py", line 2, in fail\n    raise ValueError' in text


def test_a_bare_script(tmp_path: Path, call: Any) -> None:
    """
    A file outside any project runs with the modules and data that it names.
    """
    folder = write(
        tmp_path / "scripts",
        {
            "flow.py": "import helper\ndef run(): return helper.read()\nif __name__ == '__main__': raise SystemExit\n",
            "helper.py": "import os\ndef read():\n"
            "    return open(os.path.join(os.path.dirname(__file__), 'words.txt')).read()\n",
            "words.txt": "found",
            "unrelated.py": "1 / 0\n",
        },
    )

    assert call(folder / "flow.py", "run") == "found"


def test_a_process_pool_inside_a_call(tmp_path: Path, call: Any) -> None:
    """
    A call may start processes that import its module, also by spawning.
    """
    project = write(
        tmp_path / "proj",
        {
            "pyproject.toml": "",
            "flow.py": "import multiprocessing\nfrom concurrent.futures import ProcessPoolExecutor\n"
            "def double(n): return 2 * n\n"
            "def run():\n"
            "    context = multiprocessing.get_context('spawn')\n"
            "    with ProcessPoolExecutor(1, mp_context=context) as pool:\n"
            "        return list(pool.map(double, [1, 2]))\n",
        },
    )

    assert call(project / "flow.py", "run") == [2, 4]


def test_a_program_written_for_union(tmp_path: Path, call: Any) -> None:
    """
    A program that imports `union` finds Greenroom behind it on a replica.
    """
    project = write(
        tmp_path / "proj",
        {"flow.py": "import union\nfrom flytekit import Secret\ndef run(): return str(union.Secret is Secret)\n"},
    )

    assert call(project / "flow.py", "run") == "True"
