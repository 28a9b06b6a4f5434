"""How far a digest reaches: late imports, searches by name, closures, wrappers, values, and code without text."""

import functools
import os
import subprocess
import sys
import textwrap
import types

import pytest

from greenroom.digest import Digester, code_digest, explain


def changed(programs, before, after, name="load"):
    """Whether an edit, given as two sets of files, changes the digest of one function."""
    return programs.digest(name, **before).hex != programs.digest(name, **after).hex


class TestImportsInsideFunctions:
    FLOW = """
        def load():
            from helpers import build
            import deep.inner as inner
            return build(), inner.scale(2)
    """
    HELPERS = """
        FACTOR = 2

        def build():
            return FACTOR * below()

        def below():
            return 1

        def unused():
            return 3
    """
    INNER = """
        from . import more

        def scale(x):
            return more.grow(x)

        def unused():
            return 0
    """
    MORE = """
        def grow(x):
            return x + 1

        def unused():
            return 0
    """

    def files(self, **changes):
        files = {
            "flow": self.FLOW,
            "helpers": self.HELPERS,
            "deep__slash____init____dot__py": "",
            "deep__slash__inner__dot__py": self.INNER,
            "deep__slash__more__dot__py": self.MORE,
        }
        for name, (before, after) in changes.items():
            assert before in files[name]
            files[name] = files[name].replace(before, after)
        return files

    @pytest.mark.parametrize(
        ("name", "before", "after"),
        [
            ("helpers", "FACTOR * below()", "FACTOR + below()"),
            ("helpers", "return 1", "return 2"),
            ("helpers", "FACTOR = 2", "FACTOR = 3"),
            ("deep__slash__inner__dot__py", "more.grow(x)", "more.grow(x + 1)"),
            ("deep__slash__more__dot__py", "x + 1", "x + 2"),
        ],
    )
    def test_what_is_imported_late_counts(self, programs, name, before, after):
        """
        An import inside the loader is followed through the text, also through relative imports.
        """
        assert changed(programs, self.files(), self.files(**{name: (before, after)}))

    @pytest.mark.parametrize("name", ["helpers", "deep__slash__inner__dot__py", "deep__slash__more__dot__py"])
    def test_what_is_beside_it_does_not(self, programs, name):
        """
        Other definitions of a module that is imported late do not count.
        """
        files = self.files()

        other = {**files, name: files[name].replace("return 3", "return 4").replace("return 0", "return 5")}

        assert not changed(programs, files, other)

    def test_having_imported_it_does_not_show(self, programs):
        """
        The digest is the same before and after the loader has run, and with it its imports.
        """
        digester, flow = programs.load(**self.files())
        before = digester.digest(flow.load)
        programs.unload()
        digester, flow = programs.load(**self.files(flow=("def load", "import helpers, deep.inner\n        def load")))
        after = digester.digest(flow.load)

        assert before.hex == after.hex

    def test_a_module_that_is_not_there_is_no_error(self, programs):
        """
        A loader may try an import that fails; the digest does not.
        """
        digest = programs.digest(flow="def load():\n    import no_such_thing_at_all\n")

        assert ["flow:load"] == list(digest.parts)


class TestSearches:
    @pytest.mark.parametrize(
        "body",
        [
            "return getattr(helpers, kind)()",
            "return vars(helpers)[kind]()",
            "return use(helpers)",
            "import importlib; return importlib.import_module('hel' + 'pers').one()",
            "import sys; return sys.modules['helpers'].one()",
        ],
    )
    def test_a_module_that_is_searched_counts_whole(self, programs, body):
        """
        Where a definition is found by a name made at run time, any edit of that module counts.
        """
        flow = f"import helpers\ndef use(module): return module.one()\ndef load(kind):\n    {body}\n"

        assert changed(
            programs,
            {"flow": flow, "helpers": "def one(): return 1\n"},
            {"flow": flow, "helpers": "def one(): return 2\n"},
        )

    @pytest.mark.parametrize("body", ["globals()[kind]()", "eval(kind)()", "getattr(thing, kind)()"])
    def test_its_own_module_counts_where_anything_in_it_may_be_meant(self, programs, body):
        """
        Reflection makes the whole module a part.
        """
        flow = f"def one(): return 1\ndef load(kind, thing=None):\n    return {body}\n"

        assert changed(programs, {"flow": flow}, {"flow": flow.replace("return 1", "return 2")})

    def test_a_constant_getattr_is_an_attribute(self, programs):
        """
        `getattr(module, "name")` reads one name, and only that one counts.
        """
        flow = 'import helpers\ndef load():\n    return getattr(helpers, "one")()\n'
        helpers = "def one(): return 1\ndef two(): return 2\n"

        assert not changed(
            programs, {"flow": flow, "helpers": helpers}, {"flow": flow, "helpers": helpers.replace("2", "3")}
        )
        assert changed(
            programs, {"flow": flow, "helpers": helpers}, {"flow": flow, "helpers": helpers.replace("1", "3")}
        )

    def test_a_registry_counts_by_what_is_in_it(self, programs):
        """
        Functions in a dict count one by one: editing one of them matters, editing the module around them does not.
        """
        flow = "import steps\ndef load(kind):\n    return steps.ALL[kind]()\n"
        steps = "def one(): return 1\ndef two(): return 2\ndef alone(): return 3\nALL = {'a': one, 'b': [two]}\n"
        before = {"flow": flow, "steps": steps}

        assert changed(programs, before, {"flow": flow, "steps": steps.replace("return 2", "return 22")})
        assert not changed(programs, before, {"flow": flow, "steps": steps.replace("return 3", "return 33")})

    def test_subclasses_that_register_themselves_count(self, programs):
        """
        A class that keeps its subclasses has them as parts.
        """
        flow = """
            class Step:
                kinds = {}
                def __init_subclass__(cls, **kwargs):
                    Step.kinds[cls.__name__] = cls
            class One(Step):
                def go(self): return 1
            def load(kind):
                return Step.kinds[kind]().go()
        """

        assert changed(programs, {"flow": flow}, {"flow": flow.replace("return 1", "return 2")})

    def test_a_class_asked_for_its_subclasses_has_them_as_parts(self, programs):
        """
        `__subclasses__` finds classes that nobody names.
        """
        flow = """
            class Step: pass
            class One(Step):
                def go(self): return 1
            def load(kind):
                return [step().go() for step in Step.__subclasses__()]
        """

        assert changed(programs, {"flow": flow}, {"flow": flow.replace("return 1", "return 2")})


class TestWrappers:
    FLOW = """
        import functools, contextlib
        def inner(x): return x + 1
        part = functools.partial(inner, 3)
        @functools.lru_cache
        def cached(x): return inner(x)
        @functools.singledispatch
        def dispatch(x): return 0
        @dispatch.register
        def _(x: int): return inner(x)
        @contextlib.contextmanager
        def around():
            yield inner(1)
        class Tool:
            @staticmethod
            def static(): return inner(1)
            @classmethod
            def klass(cls): return inner(1)
            @property
            def prop(self): return inner(1)
            def method(self): return inner(1)
        tool = Tool()
        bound = tool.method
        def load(): return 1
    """

    @pytest.mark.parametrize("name", ["part", "cached", "dispatch", "around", "bound"])
    def test_what_is_wrapped_counts(self, programs, name):
        """
        Partials, caches, dispatchers, context managers and bound methods lead to the user's functions in them.
        """
        flow = self.FLOW.replace("def load(): return 1", f"def load(): return {name}")

        assert changed(programs, {"flow": flow}, {"flow": flow.replace("x + 1", "x + 2")})

    @pytest.mark.parametrize("name", ["Tool.static", "Tool.klass", "tool.prop", "tool.method"])
    def test_every_kind_of_method_counts(self, programs, name):
        """
        A class counts with all of its methods, however they are bound.
        """
        flow = self.FLOW.replace("def load(): return 1", f"def load(): return {name}")

        assert changed(programs, {"flow": flow}, {"flow": flow.replace("x + 1", "x + 2")})

    @pytest.mark.parametrize("name", ["part", "cached", "Tool", "dispatch"])
    def test_they_can_be_digested_themselves(self, programs, name):
        """
        The target itself may be a class, a partial or a wrapper.
        """
        assert changed(programs, {"flow": self.FLOW}, {"flow": self.FLOW.replace("x + 1", "x + 2")}, name)


class TestClosures:
    def test_what_is_closed_over_counts(self):
        """
        Two closures of one text differ by what they close over: values and functions.
        """

        def make(value):
            return lambda: value

        assert code_digest(make(1)).hex == code_digest(make(1)).hex
        assert code_digest(make(1)).hex != code_digest(make(2)).hex
        assert code_digest(make(make)).hex != code_digest(make(len)).hex

    def test_state_in_a_closure_does_not(self):
        """
        A cell that the function itself changes is state, and no part of what it is.
        """

        def make(count, seen):
            def step(x):
                nonlocal count
                count += 1
                seen.append(x)
                return x

            return step

        assert code_digest(make(0, [])).hex == code_digest(make(5, [1])).hex

    def test_lambdas_on_one_line_are_told_apart_or_share_both_texts(self):
        """
        Where two lambdas share a line the text of both counts, so that neither passes for a third.
        """
        pair = [lambda x: x + 1, lambda x: x + 2]
        third = lambda x: x + 3  # noqa: E731

        assert code_digest(pair[0]).hex != code_digest(third).hex


class TestValues:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("(1, 2)", "(1, 3)"),
            ("{1, 2, 'a'}", "{1, 2, 'b'}"),
            ("Point(1, 2)", "Point(1, 3)"),
            ("Box(1)", "Box(2)"),
            ("Color.RED", "Color.BLUE"),
            ("re.compile('a')", "re.compile('b')"),
            ("pathlib.Path('a')", "pathlib.Path('b')"),
            ("datetime.timedelta(1)", "datetime.timedelta(2)"),
            ("functools.partial(print, 1)", "functools.partial(print, 2)"),
            ("types.SimpleNamespace(a=1)", "types.SimpleNamespace(a=2)"),
            ("threading.Semaphore(1)", "threading.Semaphore(2)"),
            ("[Box({'k': [1]})]", "[Box({'k': [2]})]"),
        ],
    )
    def test_the_value_of_a_global_counts(self, programs, first, second):
        """
        Plain values count by content; objects that cannot be read count by the statement that makes them.
        """
        flow = f"""
            import dataclasses, datetime, enum, functools, pathlib, re, threading, types
            @dataclasses.dataclass
            class Point:
                x: int
                y: int
            class Box:
                def __init__(self, content): self.content = content
            class Color(enum.Enum):
                RED = 1
                BLUE = 2
            THING = {first}
            def load():
                return THING
        """

        assert not changed(programs, {"flow": flow}, {"flow": flow})
        assert changed(programs, {"flow": flow}, {"flow": flow.replace(f"THING = {first}", f"THING = {second}")})

    def test_what_an_unreadable_global_is_made_of_counts(self, programs):
        """
        The statement that makes an opaque object is followed: its helpers and its constants count.
        """
        flow = """
            import threading
            WIDTH = 2
            def make(): return threading.Semaphore(WIDTH)
            if WIDTH:
                GATE = make()
            else:
                GATE = None
            def load():
                return GATE
        """

        assert changed(programs, {"flow": flow}, {"flow": flow.replace("WIDTH = 2", "WIDTH = 3")})
        assert changed(
            programs, {"flow": flow}, {"flow": flow.replace("threading.Semaphore(", "threading.Lock() or (")}
        )

    def test_where_the_bundle_lies_is_no_part_of_a_value(self, programs):
        """
        A path made from `__file__` is read relative to the bundle.
        """
        flow = (
            "import pathlib, os\nHERE = pathlib.Path(__file__).parent\nTEXT = os.path.dirname(__file__) + '/x.yaml'\n"
        )
        flow += "BOTH = [TEXT, {'k': TEXT}]\ndef load():\n    return HERE, TEXT, BOTH\n"

        assert not changed(programs, {"flow": flow}, {"flow": flow})

    def test_a_settings_object_counts_but_its_state_does_not(self, programs):
        """
        Attributes of a global object count, save those that the code sets while it runs.
        """
        flow = """
            class Settings:
                def __init__(self):
                    self.model = "v1"
                    self.uses = 0
                def use(self):
                    self.uses += 1
                    return self.model
            SETTINGS = Settings()
            def load():
                return SETTINGS.use()
        """
        digester, module = programs.load(flow=flow)
        before = digester.digest(module.load)
        module.load()

        after = digester.digest(module.load)

        assert before.hex == after.hex
        module.SETTINGS.model = "v2"
        assert before.hex != digester.digest(module.load).hex

    def test_what_each_process_makes_anew_counts_by_what_makes_it(self, programs):
        """
        A time or a random name is another in each process: the statement counts, not the value.
        """
        flow = """
            import time, uuid
            from stamps import RUN
            STARTED = time.time()
            NAME = f"run-{uuid.uuid4()}"
            def load():
                return STARTED, NAME, RUN
        """
        files = {"flow": flow, "stamps": "import os\nRUN = 'r' + os.urandom(4).hex()\n"}

        assert not changed(programs, files, files)
        assert changed(programs, files, {**files, "flow": flow.replace("time.time()", "time.time() + 1")})

    def test_objects_that_make_up_attributes(self, programs):
        """
        A global that answers to every name is read without asking it for any.
        """
        flow = """
            from unittest import mock
            CALL = mock.call
            MOCK = mock.MagicMock()
            class Magic:
                def __getattr__(self, name):
                    raise RuntimeError(name)
            MAGIC = Magic()
            def load():
                return CALL, MOCK, MAGIC
        """

        assert not changed(programs, {"flow": flow}, {"flow": flow})


class TestChangesAtRunTime:
    FLOW = """
        import helpers
        SIZE = 3
        NAMES = ["a"]
        def used(): return 1
        class Model:
            depth = 1
        def load():
            return SIZE, NAMES[0], used(), Model(), helpers.RATE, later
    """

    @pytest.mark.parametrize(
        "change",
        [
            "flow.SIZE = 4",
            "flow.NAMES[0] = 'b'",
            "flow.NAMES.append('b')",
            "flow.used = lambda: 2",
            "flow.Model.depth = 2",
            "flow.helpers.RATE = 5",
            "flow.later = 5",
        ],
    )
    def test_a_change_in_the_process_is_seen(self, programs, change):
        """
        A digest holds while every name that it looked up holds what it held.
        """
        digester, module = programs.load(flow=self.FLOW, helpers="RATE = 1\n")
        before = digester.digest(module.load)
        assert before.holds()
        assert before is digester.digest(module.load)

        exec(change, {"flow": module})

        assert not before.holds()
        assert before.hex != digester.digest(module.load).hex

    def test_a_change_elsewhere_is_not(self, programs):
        """
        Names that were not looked up may change.
        """
        digester, module = programs.load(flow=self.FLOW + "\n        OTHER = 1\n", helpers="RATE = 1\n")
        before = digester.digest(module.load)

        module.OTHER = 2
        module.helpers.UNREAD = 3

        assert before is digester.digest(module.load)


class TestCodeWithoutText:
    @staticmethod
    def by_value(text: str, name: str = "load"):
        """A function as one sent by value arrives: code and globals, and no file."""
        names = {"__name__": "__main__"}
        exec(compile(textwrap.dedent(text), "<cell>", "exec"), names)
        return Digester(lambda module, file: True).digest(names[name])

    def test_its_code_counts(self):
        """
        Without text the code object is read: constants, names, nested functions, helpers and the globals they read.
        """
        text = "A = 1\ndef helper(x): return x + A\ndef load(x): return [helper(y) for y in x] + [10]\n"
        first = self.by_value(text)

        assert first.hex == self.by_value(text).hex
        assert first.hex == self.by_value("\n\n# moved\n" + text).hex
        for change in [("+ A", "- A"), ("A = 1", "A = 2"), ("[10]", "[11]"), ("for y in x", "for y in x if y")]:
            assert first.hex != self.by_value(text.replace(*change)).hex, change

    def test_a_class_counts_by_its_methods(self):
        """
        A class that was sent by value has no text: its methods and its attributes count.
        """
        text = "class Model:\n    size = 1\n    def go(self): return 2\ndef load(): return Model()\n"
        first = self.by_value(text)

        assert first.hex == self.by_value(text).hex
        assert first.hex != self.by_value(text.replace("return 2", "return 3")).hex
        assert first.hex != self.by_value(text.replace("size = 1", "size = 2")).hex

    def test_state_that_it_changes_does_not_count(self):
        """
        Counters and lists that the code changes are state here too.
        """
        text = "n = 0\ncalls = []\nd = {}\ndef load():\n    global n\n    n += 1\n    calls.append(1)\n    d['x'] = 1\n"

        assert self.by_value(text).hex == self.by_value(text.replace("n = 0", "n = 5").replace("[]", "[1]")).hex

    def test_a_file_that_was_written_after_its_import_is_not_read(self, programs):
        """
        The text on disk is not what runs once it is newer than the import: then the code object is read.
        """
        digester, module = programs.load(flow="def load(): return 1\n")
        imported = os.stat(module.__file__).st_mtime_ns
        with open(module.__file__, "w") as stream:
            stream.write("def load(): return 2\n")
        os.utime(module.__file__, ns=(imported + 10**9, imported + 10**9))

        stale = digester.digest(module.load, since=imported)
        fresh, changed_module = programs.load(flow="def load(): return 2\n")

        assert stale.hex != fresh.digest(changed_module.load).hex


class TestOneDigestEverywhere:
    def test_processes_agree(self, programs, tmp_path):
        """
        Every process, with any hash seed, finds the same digest.
        """
        programs.load(
            flow="""
                TAGS = {"a", "b", "c", ("d", 1)}
                TABLE = {"x": {1, 2, 3}, "y": frozenset("abc")}
                def helper(x): return x in {"p", "q", "r"} or TAGS
                def load(x): return helper(x), TABLE, [y for y in x]
            """
        )
        root = tmp_path / "v1"
        script = (
            f"import sys; sys.path.insert(0, {str(root)!r}); import flow; from greenroom.digest import Digester; "
            f"print(Digester(lambda name, file: name == 'flow', [{str(root)!r}]).digest(flow.load).hex)"
        )

        found = {
            subprocess.run(
                [sys.executable, "-c", script],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                check=True,
            ).stdout
            for seed in ("0", "1", "2", "random")
        }

        assert 1 == len(found)

    def test_a_formatter_does_not_show(self, programs, tmp_path):
        """
        What a formatter makes of a file is the same program.
        """
        text = textwrap.dedent("""
            SIZES = {'a':1,'b':(2,
              3)}
            class   Model( object ):
                '''   Doc.   '''
                def __init__( self,n ):
                    self.n=n;self.m = n
                def go(self,*a,**k):
                    x = [i for i in a if (i in (1,2,3) and not k.get( "f",False ) or len( a )>100 or i=="long")]
                    return lambda  y:( y+self.n if y else -y )
            def load( state,*,size = 3,other = None ):

                '''   A docstring
                   with   lines   '''
                if (state):
                    del (state), (size)
                for (i, j) in [(1,2)]:
                    print( f'{i!r:>{j}}', "it's" , 'say "hi"', u'unicode', 0XFF, 1E5, 10L if False else 10 )
                with open('x') as f, open('y') as g: pass
                assert (size), ( 'message' )
                while not( size ): break
                try: return Model( SIZES )
                except ( ValueError ) as e: raise
        """).replace("10L if False else 10", "10")
        before = programs.digest(flow=text)
        path = tmp_path / "formatted.py"
        path.write_text(text)
        subprocess.run(
            [sys.executable, "-m", "ruff", "format", "-q", "--isolated", "--line-length=60", str(path)], check=True
        )
        assert text != path.read_text()

        after = programs.digest(flow=path.read_text())

        assert [] == explain(before.parts, after.parts)
        assert before.hex == after.hex

    def test_options_of_our_decorators_do_not_count(self, programs):
        """
        How often a loader is kept, or a task retried, is not what it does.
        """
        flow = """
            from greenroom.actor_cache import actor_cache
            @actor_cache(ttl=5)
            def load(): return 1
        """

        assert not changed(programs, {"flow": flow}, {"flow": flow.replace("ttl=5", "ttl=6")})
        assert changed(programs, {"flow": flow}, {"flow": flow.replace("return 1", "return 2")})


class TestOddText:
    def test_text_in_strings_that_looks_like_code(self, programs):
        """
        A docstring may hold lines that look like statements at the margin; definitions are still found.
        """
        flow = '''
class Model:
    """
def load():
    return "not this one"
class Model:
x = 1
    """
    def go(self):
        return 1

def load():
    """
def helper(): pass
    """
    return Model(), """
}
if True:
"""
'''

        assert not changed(programs, {"flow": flow}, {"flow": flow})
        assert changed(programs, {"flow": flow}, {"flow": flow.replace("return 1", "return 2")})
        assert changed(programs, {"flow": flow}, {"flow": flow.replace("return Model(),", "return Model, ")})

    def test_definitions_in_other_statements(self, programs):
        """
        Functions, classes and globals under `if`, `try` and `with` are found.
        """
        flow = """
            try:
                import numpy_that_is_not_there
            except ImportError:
                SIZE = 1
                class Model:
                    n = 1
                def load():
                    return Model, SIZE
            else:
                def load():
                    return None
        """

        assert changed(programs, {"flow": flow}, {"flow": flow.replace("SIZE = 1", "SIZE = 2")})
        assert changed(programs, {"flow": flow}, {"flow": flow.replace("n = 1", "n = 2")})
        assert changed(programs, {"flow": flow}, {"flow": flow.replace("return Model, SIZE", "return Model, SIZE + 1")})

    def test_classes_and_functions_inside_functions(self, programs):
        """
        What is defined inside a function counts with what it closes over.
        """
        flow = """
            def make():
                def helper(x):
                    return x + 1
                class Model:
                    def go(self):
                        return helper(1)
                def load():
                    return Model()
                return load
            load = make()
        """

        assert not changed(programs, {"flow": flow}, {"flow": flow})
        assert changed(programs, {"flow": flow}, {"flow": flow.replace("x + 1", "x + 2")})

    def test_a_builtin_has_a_digest_too(self):
        """
        What is not the user's is no part of anything, and no error.
        """
        assert {} == code_digest(len).parts
        assert {} == code_digest(functools.reduce).parts
        assert {} == code_digest(types.SimpleNamespace).parts
