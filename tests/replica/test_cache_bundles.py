"""The cache over the real bundles of a runner: one tree, modules shared by content, texts under authors' paths."""

import pytest

from greenroom.caching import use_store
from greenroom_replica.cache import ReplicaCache
from greenroom_replica.cache_files import BundleView
from tests.replica.bundles.conftest import make_runner  # noqa: F401  # A fixture.
from tests.replica.test_cache_edits import COLD, PROGRAM, WARM

ORIGIN = "/home/ada/project"


class Place:
    """A runner's bundles and cache, put together as its workshop does it."""

    def __init__(self, runner):
        self.runner = runner
        self.told = []
        self.cache = ReplicaCache(tell=self.told.append)
        self.views = {}

    def activate(self, files):
        manifest = self.runner.manifest({name: text.replace("\n        ", "\n") for name, text in files.items()})
        active = self.runner.bundles.activate(manifest.hash, manifest, ORIGIN)
        view = self.views.get(manifest.hash)
        if view is None:
            digests = {file.path: file.digest for file in manifest.files}
            view = self.views[manifest.hash] = BundleView(manifest.hash, (str(active.folder), ORIGIN), files=digests)
        self.cache.switch_bundle(view)
        self.flow = active.module("flow")
        return self.flow

    def call(self):
        self.cache.begin_call("a call")
        result = self.flow.task(5, 3)
        return result, [row["outcome"] for row in self.cache.end_call().rows()]


@pytest.fixture
def place(make_runner):  # noqa: F811
    place = Place(make_runner())
    before = use_store(place.cache)
    yield place
    use_store(before)
    place.cache.close()


class TestRealBundles:
    @pytest.mark.parametrize("program", WARM.values(), ids=WARM)
    def test_warm(self, place, program):
        """
        What cannot matter keeps the entry, and the classes of the edited file.
        """
        place.activate(PROGRAM)
        first, _ = place.call()
        place.activate(program)

        second, outcomes = place.call()

        assert (["hit"], first) == (outcomes, second)
        assert second[1]
        assert [] == place.told

    @pytest.mark.parametrize("program", COLD.values(), ids=COLD)
    def test_cold(self, place, program):
        """
        What matters loads once; going back is warm.
        """
        place.activate(PROGRAM)
        place.call()
        place.activate(program)
        outcomes = [place.call()[1] for _ in range(2)]
        place.activate(PROGRAM)

        assert [["miss"], ["hit"], ["hit"]] == [*outcomes, place.call()[1]]
        assert [] == place.told

    def test_the_digest_is_that_of_the_authors_machine(self, place, tmp_path, monkeypatch):
        """
        A replica finds the digest that the author's machine finds for the same files.
        """
        import importlib
        import sys

        from greenroom.digest import Digester

        place.activate(PROGRAM)
        there = place.cache.digester.digest(place.flow.load_model)
        place.runner.bundles.close()
        for name, text in PROGRAM.items():
            (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "mine" / name).write_text(text.replace("\n        ", "\n"))
        monkeypatch.syspath_prepend(str(tmp_path / "mine"))
        for name in ("flow", "helpers"):
            sys.modules.pop(name, None)
        flow = importlib.import_module("flow")
        here = Digester(lambda _, file: bool(file and str(tmp_path) in file), [str(tmp_path / "mine")])

        assert here.digest(flow.load_model).hex == there.hex
