"""Warm across edits: real files, imported as bundles are, one replica cache over all of them."""

import importlib
import sys
import textwrap
from pathlib import Path

import pytest

from greenroom.caching import use_store
from greenroom_replica.cache import ReplicaCache
from greenroom_replica.cache_files import BundleView


class Version:
    """One bundle in the runner: its modules are parked while another is active."""

    def __init__(self, view, root):
        self.view, self.root = view, root
        self.modules = {}
        self.flow = None


class Runner:
    """Activates bundles as a runner does: files, `sys.path`, modules; modules whose text is unchanged are shared."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told = []
        self.cache = ReplicaCache(tell=self.told.append)
        self.before = use_store(self.cache)
        self.versions = {}
        self.active = None
        self.calls = 0

    def activate(self, files, share=()):
        """Switch to a version, made of files by name; `share` names modules that are the same object in both."""
        name = repr(sorted(files.items()))
        version = self.versions.get(name)
        is_new = version is None
        if version is None:
            root = self.folder / f"v{len(self.versions)}"
            for file, text in files.items():
                path = root / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(textwrap.dedent(text))
            version = self.versions[name] = Version(self.view(root), root)
        previous = self.active
        self.park()
        if is_new and previous is not None:
            version.modules = {one: previous.modules[one] for one in share}
        self.active = version
        sys.path.insert(0, str(version.root))
        sys.modules.update(version.modules)
        importlib.invalidate_caches()
        version.flow = importlib.import_module("flow")
        self.cache.switch_bundle(version.view)
        return version.flow

    def view(self, root):
        return BundleView(root.name, (str(root),), lambda name, file: bool(file and file.startswith(str(self.folder))))

    def park(self):
        version, self.active = self.active, None
        if version is None:
            return
        sys.path.remove(str(version.root))
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None) or ""
            if file.startswith(str(self.folder)):
                version.modules[name] = sys.modules.pop(name)

    def call(self, *args, name="task"):
        """Run the active version's task; gives its result and what the cache did."""
        self.calls += 1
        self.cache.begin_call(f"call {self.calls}")
        result = getattr(self.active.flow, name)(*args)
        telemetry = self.cache.end_call()
        self.rows = telemetry.rows()
        return result, [row["outcome"] for row in telemetry.rows()]

    def close(self):
        self.park()
        use_store(self.before)
        self.cache.close()


@pytest.fixture
def runner(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    runner = Runner(tmp_path)
    yield runner
    runner.close()


PROGRAM = {
    "flow.py": """
        from greenroom.actor_cache import actor_cache
        import helpers

        class Base:
            def kind(self):
                return "base"

        class Model(Base):
            def __init__(self, state):
                self.state = state
                self.config = helpers.read()

            def __call__(self, value):
                return self.state * value

        @actor_cache
        def load_model(state):
            return Model(state * helpers.SCALE)

        def task(value, state):
            model = load_model(state)
            return model(value), isinstance(model, Model), model.config, model.kind()

        def unrelated():
            return 1
    """,
    "helpers.py": """
        import pathlib

        SCALE = 2

        def read():
            return (pathlib.Path(__file__).parent / "config.yaml").read_text()

        def other():
            return 1
    """,
    "config.yaml": "depth: 3",
    "data/unread.csv": "1,2",
}


def edited(file, before, after, program=PROGRAM):
    assert before in program[file]
    return {**program, file: program[file].replace(before, after)}


WARM = {
    "the task's body": edited("flow.py", "return model(value),", "return model(value + 0),"),
    "a comment": edited("flow.py", "self.state = state\n", "self.state = state  # kept\n"),
    "another function": edited("flow.py", "return 1", "return 2"),
    "a new global": edited("flow.py", "import helpers\n", "import helpers\n        NEW = 1\n"),
    "another helper": edited("helpers.py", "return 1", "return 2"),
    "an unread file": {**PROGRAM, "data/unread.csv": "3,4"},
    "a file that moves": {**{name: text for name, text in PROGRAM.items() if "csv" not in name}, "other/u.csv": "1,2"},
    "a new file": {**PROGRAM, "more.py": "x = 1"},
    "formatting": edited(
        "flow.py", "Model(state * helpers.SCALE)", "Model(\n                state * helpers.SCALE,\n            )"
    ),
}

COLD = {
    "the loader's body": edited("flow.py", "Model(state * helpers.SCALE)", "Model(state + helpers.SCALE)"),
    "a constant": edited("helpers.py", "SCALE = 2", "SCALE = 3"),
    "its default": edited("flow.py", "def load_model(state):", "def load_model(state, size=1):"),
    "a helper in another module": edited(
        "helpers.py", '"config.yaml").read_text()', '"config.yaml").read_text().strip()'
    ),
    "a base class": edited("flow.py", 'return "base"', 'return "bass"'),
    "a file that it reads": {**PROGRAM, "config.yaml": "depth: 4"},
}


class TestAnEdit:
    @pytest.mark.parametrize("program", WARM.values(), ids=WARM)
    def test_what_cannot_matter_keeps_the_entry(self, runner, program):
        """
        The entry is still there, and its object is an instance of the edited file's class.
        """
        runner.activate(PROGRAM)
        first, _ = runner.call(5, 3)
        flow = runner.activate(program)

        second, outcomes = runner.call(5, 3)

        assert ["hit"] == outcomes
        assert first == second == (30, True, "depth: 3", "base")
        assert type(flow.load_model(3)) is flow.Model

    @pytest.mark.parametrize("program", COLD.values(), ids=COLD)
    def test_what_matters_loads_exactly_once(self, runner, program):
        """
        After the edit there is one load, and then hits.
        """
        runner.activate(PROGRAM)
        runner.call(5, 3)
        runner.activate(program)

        outcomes = [runner.call(5, 3)[1] for _ in range(3)]

        assert [["miss"], ["hit"], ["hit"]] == outcomes

    def test_there_and_back(self, runner):
        """
        A checkout there and back is warm, also where both sides have loaded.
        """
        runner.activate(PROGRAM)
        runner.call(5, 3)
        runner.activate(COLD["a constant"])
        runner.call(5, 3)
        flow = runner.activate(PROGRAM)

        first, outcomes = runner.call(5, 3)
        runner.activate(COLD["a constant"])
        second, others = runner.call(5, 3)

        assert (["hit"], ["hit"]) == (outcomes, others)
        assert (30, 45) == (first[0], second[0])
        assert flow

    def test_a_file_there_and_back(self, runner):
        """
        An entry that depends on a file is seen by the bundles that have that file.
        """
        runner.activate(PROGRAM)
        runner.call(5, 3)
        runner.activate(COLD["a file that it reads"])
        cold, _ = runner.call(5, 3)
        runner.activate(PROGRAM)

        back, outcomes = runner.call(5, 3)

        assert ["hit"] == outcomes
        assert ("depth: 4", "depth: 3") == (cold[2], back[2])
        assert "config.yaml" in runner.cache.entries()[0]["depends"]

    def test_two_versions_by_turns(self, runner):
        """
        Two executions of different versions share what is equal, call by call, each with its own classes.
        """
        other = WARM["the task's body"]
        for program in (PROGRAM, other):
            runner.activate(program)
            runner.call(5, 3)

        found = []
        for _ in range(3):
            for program in (PROGRAM, other):
                runner.activate(program)
                result, outcomes = runner.call(5, 3)
                found.append((result[1], outcomes))

        assert [(True, ["hit"])] * 6 == found

    def test_what_changed_is_explained(self, runner):
        """
        The digests of two versions say what changed between them.
        """
        from greenroom.digest import explain

        first = runner.activate(PROGRAM)
        before = runner.cache.digester.digest(first.load_model).parts
        second = runner.activate(COLD["a constant"])
        after = runner.cache.digester.digest(second.load_model).parts

        assert ["helpers.py:4 SCALE 2 -> 3"] == explain(before, after)

    def test_a_load_says_which_edit_made_it_necessary(self, runner):
        """
        The call that pays for an edit can say why: the definition, or the file.
        """
        runner.activate(PROGRAM)
        runner.call(5, 3)
        first = runner.rows[0].get("changed")
        runner.activate(COLD["a constant"])
        runner.call(5, 3)
        by_code = runner.rows[0]["changed"]
        runner.activate({**COLD["a constant"], "config.yaml": "depth: 5"})
        runner.call(5, 3)
        by_file = runner.rows[0]["changed"]

        assert first is None
        assert ["helpers.py:4 SCALE 2 -> 3"] == by_code
        assert ["config.yaml changed"] == by_file


class TestClasses:
    def test_keys_with_objects_survive_an_edit(self, runner):
        """
        The document's custom object, whose class was made anew, still finds its entry: `isinstance` in `__eq__` holds.
        """
        program = {
            "flow.py": """
                from greenroom.actor_cache import actor_cache

                class MyObj:
                    def __init__(self, state):
                        self.state = state

                    def __hash__(self):
                        return hash(self.state)

                    def __eq__(self, other):
                        return isinstance(other, MyObj) and self.state == other.state

                @actor_cache
                def get_state(obj):
                    return [obj.state]

                def task(state):
                    return get_state(MyObj(state))

                TAIL = 1
            """
        }
        runner.activate(program)
        first, _ = runner.call(2)
        runner.activate(edited("flow.py", "TAIL = 1", "TAIL = 2", program))

        second, outcomes = runner.call(2)

        assert ["hit"] == outcomes
        assert first is second

    def test_an_object_of_a_class_that_changed_is_not_given(self, runner):
        """
        Where an object's class is reached only at run time and has changed, the entry misses rather than lies.
        """
        program = {
            "flow.py": """
                from greenroom.actor_cache import actor_cache
                import shapes

                @actor_cache
                def load(maker):
                    return maker.make()

                def task():
                    return load(shapes.MAKER).area()
            """,
            "shapes.py": """
                class Square:
                    def area(self):
                        return 4

                class Maker:
                    def __init__(self):
                        self.kind = "Square"

                    def __hash__(self):
                        return 1

                    def __eq__(self, other):
                        return True

                    def make(self):
                        return eval(self.kind)()

                MAKER = Maker()
            """,
        }
        runner.activate(program)
        first, _ = runner.call()
        runner.activate(edited("shapes.py", "return 4", "return 5", program))

        second, outcomes = runner.call()
        runner.activate(program)
        third, back = runner.call()

        assert (4, 5, 4) == (first, second, third)
        assert (["miss"], ["hit"]) == (outcomes, back)

    def test_a_kept_lambda_survives(self, runner):
        """
        A function that the loader made is what it was, while the loader's text is.
        """
        program = {
            "flow.py": """
                from greenroom.actor_cache import actor_cache

                @actor_cache
                def load(state):
                    return lambda value: state + value

                def task(value):
                    return load(3)(value)

                TAIL = 1
            """
        }
        runner.activate(program)
        runner.call(1)
        runner.activate(edited("flow.py", "TAIL = 1", "TAIL = 2", program))

        assert (5, ["hit"]) == runner.call(2)

    def test_a_shared_module_needs_nothing(self, runner):
        """
        Classes of a module that both bundles share stay as they are.
        """
        runner.activate(PROGRAM)
        runner.call(5, 3)
        helpers = sys.modules["helpers"]
        runner.activate(WARM["the task's body"], share=["helpers"])

        assert sys.modules["helpers"] is helpers
        assert ["hit"] == runner.call(5, 3)[1]

    def test_an_enum_in_the_entry_misses(self, runner):
        """
        Members of an enum that was made anew are other members.
        """
        program = {
            "flow.py": """
                import enum
                from greenroom.actor_cache import actor_cache

                class Mode(enum.Enum):
                    FAST = 1

                @actor_cache
                def load():
                    return [Mode.FAST]

                def task():
                    return load()[0] is Mode.FAST

                TAIL = 1
            """
        }
        runner.activate(program)
        runner.call()
        runner.activate(edited("flow.py", "TAIL = 1", "TAIL = 2", program))

        assert (True, ["miss"]) == runner.call()


class TestBundles:
    def test_what_only_a_forgotten_bundle_saw_goes(self, runner):
        """
        When a bundle leaves the runner, entries that no other bundle has seen are evicted.
        """
        runner.activate(PROGRAM)
        runner.call(5, 3)
        first = runner.active.view
        runner.activate(COLD["a constant"])
        runner.call(5, 3)
        second = runner.active.view

        runner.cache.forget_bundle(first.id)

        (row,) = runner.cache.entries()
        assert "call 2" == row["loaded_by"]
        assert ["bundle gone"] == [one[2] for one in runner.cache.gone()]
        runner.cache.forget_bundle(second.id)
        assert [] == runner.cache.entries()

    def test_what_another_bundle_still_sees_stays(self, runner):
        """
        An entry that two bundles share outlives one of them.
        """
        runner.activate(PROGRAM)
        runner.call(5, 3)
        first = runner.active.view
        runner.activate(WARM["a comment"])
        runner.call(5, 3)

        runner.cache.forget_bundle(first.id)

        assert ["hit"] == runner.call(5, 3)[1]

    def test_a_path_into_the_bundle_is_one_key_everywhere(self, runner):
        """
        Where the bundle lies is no part of a key, given as text or as a path.
        """
        program = {
            "flow.py": """
                import os, pathlib
                from greenroom.actor_cache import actor_cache

                HERE = pathlib.Path(__file__).parent

                @actor_cache
                def load(path, text):
                    return path.read_text()

                def task():
                    return load(HERE / "weights.txt", os.path.join(str(HERE), "weights.txt"))

                TAIL = 1
            """,
            "weights.txt": "w",
        }
        runner.activate(program)
        runner.call()
        runner.activate(edited("flow.py", "TAIL = 1", "TAIL = 2", program))
        warm = runner.call()
        runner.activate({**program, "weights.txt": "other"})
        cold = runner.call()

        assert (("w", ["hit"]), ("other", ["miss"])) == (warm, cold)

    def test_files_that_are_not_there_count(self, runner):
        """
        A load that looked for a file in vain depends on its absence; one that lists a folder on what is in it.
        """
        program = {
            "flow.py": """
                import os, pathlib
                from greenroom.actor_cache import actor_cache

                HERE = pathlib.Path(__file__).parent

                @actor_cache
                def load():
                    try:
                        return (HERE / "override.yaml").read_text()
                    except FileNotFoundError:
                        return sorted(os.listdir(HERE / "parts"))

                def task():
                    return load()
            """,
            "parts/a.txt": "a",
        }
        runner.activate(program)
        first = runner.call()
        runner.activate({**program, "parts/b.txt": "b"})
        second = runner.call()
        runner.activate({**program, "parts/b.txt": "b", "override.yaml": "mine"})
        third = runner.call()
        runner.activate({**program, "unrelated.txt": "x"})
        fourth = runner.call()

        assert (["a.txt"], ["miss"]) == first
        assert (["a.txt", "b.txt"], ["miss"]) == second
        assert ("mine", ["miss"]) == third
        assert (["a.txt"], ["hit"]) == fourth

    def test_a_manifest_stands_for_the_files(self, tmp_path):
        """
        With a manifest no file is read to compare them, and what calls have written is no part of the bundle.
        """
        (tmp_path / "written.txt").write_text("by a call")
        (tmp_path / "code.py").write_text("x = 1  # one\n")
        view = BundleView("b", (str(tmp_path),), files={"a.bin": "123", "d/b.bin": "4", "code.py": "5"})

        assert ("123", None) == (view.state("a.bin"), view.state("written.txt"))
        assert view.state("d/") == BundleView("c", (str(tmp_path),), files={"d/b.bin": "9"}).state("d/")
        first = view.state("code.py")
        (tmp_path / "code.py").write_text("x = 1  # another comment\n")
        assert first == BundleView("d", (str(tmp_path),), files={"code.py": "6"}).state("code.py")
