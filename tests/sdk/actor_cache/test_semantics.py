"""What `@actor_cache` keeps, for whom, and what it refuses."""

import asyncio
import contextlib
import functools
import pickle
import warnings

import pytest

from greenroom.actor_cache import actor_cache
from greenroom.caching.errors import ActorCacheWarning, BadLoader, NotImportable, OneShotResult
from greenroom.caching.recipe import Recipe

pytestmark = pytest.mark.usefixtures("store")


@actor_cache
def top_level(state, kind="small"):
    return [state, kind]


class TestKept:
    def test_one_load_for_one_key(self):
        """
        The second call gets the first one's object.
        """
        loads = []

        @actor_cache
        def load(state):
            loads.append(state)
            return object()

        first = load(3)
        second = load(3)
        other = load(4)

        assert first is second
        assert first is not other
        assert [3, 4] == loads

    def test_arguments_are_bound(self):
        """
        `f(1)` is `f(x=1)`, defaults are filled in, the order of keywords does not matter.
        """
        loads = []

        @actor_cache
        def load(x, y=2, *rest, z=3, **more):
            loads.append((x, y, rest, z, more))
            return len(loads)

        same = [load(1), load(x=1), load(1, 2), load(1, y=2, z=3), load(z=3, x=1)]
        rest = [load(1, 2, 3), load(1, 2, 4), load(1, 2, a=1, b=2), load(1, b=2, a=1)]

        assert [1] * 5 == same
        assert [2, 3, 4, 4] == rest

    def test_positional_only_parameters(self):
        """
        A positional-only parameter and an equally named keyword are two things.
        """

        @actor_cache
        def load(x, /, **more):
            return (x, more)

        assert (1, {"x": 2}) == load(1, x=2)
        assert (1, {}) == load(1)

    def test_arguments_that_do_not_fit_fail_as_the_function_would(self):
        """
        The error names the loader and the parameter.
        """
        with pytest.raises(TypeError, match=r"top_level\(\) missing 1 required positional argument: 'state'"):
            top_level()
        with pytest.raises(TypeError, match=r"top_level\(\) got an unexpected keyword argument 'size'"):
            top_level(1, size=2)

    def test_none_is_kept(self):
        """
        None is a result like any other.
        """
        loads = []

        @actor_cache
        def load():
            loads.append(1)

        load()
        load()

        assert [1] == loads

    def test_an_exception_is_not_kept(self):
        """
        A load that raised is tried again, and its error comes as it is.
        """
        loads = []

        @actor_cache
        def load():
            loads.append(1)
            if len(loads) == 1:
                raise ValueError("not yet")
            return "there"

        with pytest.raises(ValueError, match="not yet") as raised:
            load()

        assert raised.value.__context__ is None
        assert "there" == load() == load()
        assert 2 == len(loads)

    def test_metadata_stays(self):
        """
        The function keeps its name, its text and what was put on it.
        """

        def load(x: "no such type"):  # noqa: F722
            """Load."""

        load.tag = 1
        cached = actor_cache(load)

        assert ("load", "Load.", 1) == (cached.__name__, cached.__doc__, cached.tag)
        assert cached.__wrapped__ is load
        assert cached(1) is None  # Annotations are never evaluated.

    def test_the_lambda_of_the_document(self):
        """
        Results need not be picklable.
        """

        @actor_cache
        def load_model(state: int) -> callable:
            return lambda value: state + value

        assert [4, 7, 10] == [load_model(state=3)(value) for value in (1, 4, 7)]
        assert (2, 1) == load_model.cache_info()[:2]

    def test_figures(self):
        """
        `cache_info`, `cache_keys` and `cache_clear` work as on an `lru_cache`, and say more.
        """

        @actor_cache(max_entries=5)
        def load(x, name="n"):
            return x

        load(1)
        load(2)
        load(1)

        assert (1, 2, 5, 2) == load.cache_info()[:4]
        assert ['x=2, name="n"', 'x=1, name="n"'] == [key.preview for key in load.cache_keys()]
        assert all(len(key.digest) == 16 and int(key.digest, 16) >= 0 for key in load.cache_keys())
        load.cache_clear()
        assert (0, 0, 5, 0) == load.cache_info()[:4]
        assert 1 == load(1)


class TestKindsOfFunctions:
    def test_methods_are_told_apart(self):
        """
        Two classes' methods of one name share nothing; static and class methods work in either order of decorators.
        """

        class One:
            @actor_cache
            def load(self, x):
                return ("one", x)

            @staticmethod
            @actor_cache
            def inner(x):
                return ("inner", x)

            @actor_cache
            @staticmethod
            def outer(x):
                return ("outer", x)

            @classmethod
            @actor_cache
            def below(cls, x):
                return (cls.__name__, x)

            @actor_cache
            @classmethod
            def above(cls, x):
                return (cls.__name__, x)

        class Two(One):
            @actor_cache
            def load(self, x):
                return ("two", x)

        one, two = One(), Two()

        assert [("one", 1), ("two", 1)] == [one.load(1), two.load(1)]
        assert one.load(1) is one.load(1)
        assert [("inner", 1), ("outer", 1)] == [One.inner(1), one.outer(1)]
        assert [("One", 1), ("Two", 1)] == [One.below(1), Two.below(1)]
        assert [("One", 1), ("Two", 1)] == [One.above(1), Two.above(1)]
        assert One.above(1) is One.above(1)

    def test_equal_instances_share_a_methods_entries(self):
        """
        `self` is an argument: instances that compare equal share, others do not.
        """

        class Store:
            def __init__(self, name):
                self.name = name

            def __eq__(self, other):
                return isinstance(other, Store) and self.name == other.name

            def __hash__(self):
                return hash(self.name)

            @actor_cache
            def load(self):
                return [self.name]

        assert Store("a").load() is Store("a").load()
        assert Store("a").load() is not Store("b").load()

    def test_closures_are_told_apart(self):
        """
        Closures of one function differ by what they close over: values, functions and objects.
        """

        def make(thing):
            @actor_cache
            def load(x):
                return (thing, x)

            return load

        lock, other = contextlib.nullcontext(1), contextlib.nullcontext(1)

        assert [(1, 0), (2, 0), ((3,), 0)] == [make(1)(0), make(2)(0), make((3,))(0)]
        assert make([1, 2])(0) is make([1, 2])(0)
        assert make(len)(0) != make(max)(0)
        assert (lambda value: value) and make(lambda: 1)(0)[0]() == 1 and make(lambda: 2)(0)[0]() == 2
        assert make(lock)(0)[0] is lock and make(other)(0)[0] is other

    def test_what_a_closure_counts_is_its_state(self):
        """
        A counter or a list that the loader itself changes does not make every call a new key.
        """
        count = 0
        seen = []

        @actor_cache
        def load(x):
            nonlocal count
            count += 1
            seen.append(x)
            return count

        assert [1, 1, 2, 2] == [load("a"), load("a"), load("b"), load("b")]

    def test_what_a_closure_counts_through_a_helper_is_its_state_too(self):
        """
        State that the code of others changes is learned from the first load.
        """
        from bisect import insort

        seen = []

        @actor_cache
        def load(x):
            insort(seen, x)
            return len(seen)

        assert [1, 2] == [load(1), load(2)]
        assert [1, 2] == [load(1), load(2)]

    def test_a_changed_closure_is_seen(self):
        """
        What the loader reads and others change is an argument like any other.
        """
        size = 1

        @actor_cache
        def load():
            return size

        before = load()
        size = 2

        assert (1, 2) == (before, load())

    def test_partials_builtins_classes_and_callable_objects(self):
        """
        Anything that can be called can be kept.
        """

        class Adder:
            def __init__(self, n):
                self.n = n

            def __call__(self, x):
                return [x + self.n]

        class Point:
            def __init__(self, x):
                self.x = x

            def scaled(self, by):
                return [self.x * by]

        adder = actor_cache(Adder(1))
        point = actor_cache(Point)
        bound = actor_cache(Point(3).scaled)
        part = actor_cache(functools.partial(top_level.__wrapped__, 5))

        assert adder(1) is adder(1) and [2] == adder(1)
        assert point(1) is point(x=1)
        assert [6] == bound(2) and bound(2) is bound(by=2)
        assert [5, "small"] == part() and part() is part(kind="small")
        assert actor_cache(sorted)([2, 1]) == [1, 2]
        assert actor_cache(Adder(2))(1) == [3]

    def test_a_decorated_function_is_bound_by_what_it_wraps(self):
        """
        Under a decorator with `*args, **kwargs` the signature of the wrapped function counts.
        """
        loads = []

        def noisy(fn):
            @functools.wraps(fn)
            def inner(*args, **kwargs):
                loads.append(1)
                return fn(*args, **kwargs)

            return inner

        @actor_cache
        @noisy
        def load(x, y=2):
            return x + y

        assert [3, 3, 3] == [load(1), load(x=1), load(1, 2)]
        assert [1] == loads

    def test_loaders_call_loaders(self):
        """
        A loader may use another; each keeps its own.
        """

        @actor_cache
        def weights(name):
            return [name]

        @actor_cache
        def model(name, size):
            return (weights(name), size)

        assert model("a", 1)[0] is model("a", 2)[0]
        assert (1, 1) == weights.cache_info()[:2]

    def test_ignore(self):
        """
        Ignored parameters are passed on and are no part of the key.
        """

        @actor_cache(ignore=("client",))
        def load(name, client=None):
            return (name, client)

        assert ("a", 1) == load("a", 1) == load("a", client=2) == load("a")

    def test_key(self):
        """
        A key function sees the arguments, and its result is the key.
        """

        @actor_cache(key=lambda path, **_: path.lower())
        def load(path, client):
            return (path, client)

        assert ("A", 1) == load("A", client=1) == load("a", client=2)
        assert ("b", 3) == load("b", client=3)

    def test_a_key_function_that_raises(self):
        """
        Its error is the caller's to see.
        """

        @actor_cache(key=lambda path: path.no_such_attribute)
        def load(path):
            return path

        with pytest.raises(AttributeError, match="no_such_attribute"):
            load("a")

    def test_version(self):
        """
        Another version is another loader's entries.
        """

        def make(version):
            @actor_cache(version=version)
            def load():
                return object()

            return load

        assert make("1")() is make("1")()
        assert make("1")() is not make("2")()


class TestCoroutines:
    async def test_the_result_is_kept(self):
        """
        What is kept is the awaited result, and it serves any number of awaits.
        """
        loads = []

        @actor_cache
        async def load(x):
            loads.append(x)
            await asyncio.sleep(0)
            return [x]

        assert await load(1) is await load(x=1)
        assert [1] == loads

    def test_event_loops_share(self):
        """
        An entry made on one event loop serves the next.
        """

        @actor_cache
        async def load(x):
            return [x]

        assert asyncio.run(load(1)) is asyncio.run(load(1))

    async def test_through_a_decorator(self):
        """
        A decorator that passes the coroutine on does not hide it.
        """

        def plain(fn):
            @functools.wraps(fn)
            def inner(*args):
                return fn(*args)

            return inner

        @actor_cache
        @plain
        async def load(x):
            return [x]

        assert await load(1) is await load(1)

    async def test_methods(self):
        """
        Async methods work as others do.
        """

        class Thing:
            @staticmethod
            @actor_cache
            async def load(x):
                return [x]

        assert await Thing.load(1) is await Thing().load(1)


class TestRefused:
    def test_generator_functions_at_definition(self):
        """
        A generator can be used only once.
        """
        with pytest.raises(BadLoader, match=r"load: it is a generator, which can be used only once; return a list"):

            @actor_cache
            def load():
                yield 1

        with pytest.raises(BadLoader, match="async generator"):

            @actor_cache
            async def load_async():
                yield 1

    @pytest.mark.parametrize(
        ("make", "kind"),
        [
            (lambda: (x for x in [1]), "generator"),
            (lambda: map(str, [1]), "map object"),
            (lambda: zip([1], [2], strict=True), "zip object"),
            (lambda: contextlib.contextmanager(lambda: (yield))(), "context manager"),
        ],
    )
    def test_results_that_can_be_used_once(self, make, kind):
        """
        One that comes out of a plain function is refused when it does, and nothing is kept.
        """

        @actor_cache
        def load():
            return make()

        for _ in range(2):
            with pytest.raises(OneShotResult, match=f"returned a {kind}, which can be used only once"):
                load()
        assert 0 == load.cache_info().currsize

    def test_a_coroutine_from_a_plain_function(self):
        """
        It is closed, so that Python does not warn about it, and the error says what to write.
        """

        async def inner():
            return 1

        @actor_cache
        def load():
            return inner()

        with pytest.raises(OneShotResult, match="make the loader `async def`"):
            load()

    async def test_a_future(self):
        """
        A future belongs to its event loop.
        """

        @actor_cache
        def load():
            return asyncio.get_running_loop().create_future()

        with pytest.raises(OneShotResult, match="Future"):
            load()

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"ignore": "nope"}, "ignore='nope' names no parameter; it has x"),
            ({"max_entries": 0}, "max_entries=0 is no positive number"),
            ({"max_entries": True}, "max_entries=True"),
            ({"max_memory": -1}, "max_memory=-1"),
            ({"version": 3}, "version='3'"),
            ({"on_evict": 3}, "on_evict=3 cannot be called"),
            ({"key": len, "ignore": ["x"]}, "exclude each other"),
        ],
    )
    def test_options_that_mean_nothing(self, options, problem):
        """
        A wrong option fails where it is written, with what is wrong about it.
        """
        with pytest.raises(BadLoader) as raised:
            actor_cache(**options)(lambda x: x)

        assert problem in str(raised.value)
        assert str(raised.value) == str(pickle.loads(pickle.dumps(raised.value)))

    @pytest.mark.parametrize("ttl", [0, -1, "soon", True, float("inf")])
    def test_times_that_mean_nothing(self, ttl):
        """
        A time to live is a positive number of seconds, or a timedelta.
        """
        with pytest.raises(Exception, match="ttl"):
            actor_cache(ttl=ttl)(lambda x: x)

    def test_things_that_are_no_functions(self):
        """
        A property, or nothing that can be called.
        """
        with pytest.raises(BadLoader, match="put @property above"):
            actor_cache(property(lambda self: 1))
        with pytest.raises(BadLoader, match="it cannot be called"):
            actor_cache(3)

        async def bye(_):
            pass

        with pytest.raises(BadLoader, match="no event loop"):
            actor_cache(on_evict=bye)(lambda: 1)


class TestRecipes:
    def test_bind_gives_what_can_be_sent(self):
        """
        A bound loader is module, name and encoded arguments, and loads what it says.
        """
        recipe = top_level.bind(state=3)

        again = Recipe.from_wire(recipe.to_wire())

        assert {"module": __name__, "qualname": "top_level"} == {
            k: v for k, v in recipe.to_wire().items() if k != "args"
        }
        assert isinstance(recipe.to_wire()["args"], bytes)
        assert recipe == again == pickle.loads(pickle.dumps(recipe))
        assert hash(recipe) == hash(again)
        assert "top_level.bind(state=3)" == repr(recipe)
        assert again.load() is top_level(3)

    @pytest.mark.parametrize(
        "value", [None, True, 2**70, 1.5, "é\ud800", b"x", [1, [2]], {"a": [1]}, (1, (2,)), {1, 2}, {1: 2}, range(3)]
    )
    def test_arguments_come_back_as_they_were(self, value):
        """
        Plain data keeps its types on the way, tuples and sets included.
        """
        again = Recipe.from_wire(top_level.bind(value, kind=value).to_wire())

        assert ((value,), {"kind": value}) == (again.args, again.kwargs)
        assert type(value) is type(again.args[0])

    def test_a_mistake_shows_where_it_is_made(self):
        """
        Arguments that do not fit, and loaders that nobody could find, are refused at once.
        """

        @actor_cache
        def inner():
            return 1

        with pytest.raises(TypeError, match="unexpected keyword argument 'sate'"):
            top_level.bind(sate=3)
        with pytest.raises(NotImportable, match="define it at the top level of a module"):
            inner.bind().to_wire()

    def test_a_class_of_the_program_as_argument(self):
        """
        What plain pickle cannot name, such as a lambda, travels by value.
        """
        again = Recipe.from_wire(top_level.bind(lambda: 7).to_wire())

        assert 7 == again.args[0]()


class TestWithoutAReplica:
    def test_sentences_are_warnings(self):
        """
        In a plain process what there is to tell comes as a warning, once.
        """
        from greenroom.caching import use_store

        before = use_store(None)
        try:

            class Client:
                pass

            @actor_cache
            def load(client):
                return 1

            with pytest.warns(ActorCacheWarning, match="Client, which is only equal to itself"):
                load(Client())
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                load(Client())
        finally:
            use_store(before)

    def test_the_module_may_stand_for_the_decorator(self):
        """
        `greenroom.actor_cache` names the decorator even where the import system has put the module there.
        """
        import sys

        module = sys.modules["greenroom.actor_cache"]

        assert 3 == module(lambda x: x)(3)


class TestByValue:
    def test_a_notebooks_loader_can_be_sent(self, tmp_path):
        """
        A task of a notebook takes along the loader that it calls: by value, without entries, locks and clocks.
        """
        import subprocess
        import sys
        import textwrap

        (tmp_path / "send.py").write_text(
            textwrap.dedent("""
                import sys, cloudpickle
                from greenroom.actor_cache import actor_cache

                SCALE = 2
                gone = []

                @actor_cache(max_entries=1, on_evict=lambda one: print("gone", one))
                def load(x):
                    print("load", x)
                    return x * SCALE

                @actor_cache
                async def load_async(x):
                    return x

                def task(x):
                    import asyncio
                    return load(x), load(x=x), asyncio.run(load_async(x)), load.cache_info()[:2]

                task(1)
                with open(sys.argv[1], "wb") as out:
                    cloudpickle.dump(task, out)
            """)
        )
        receive = "import pickle, sys; t = pickle.load(open(sys.argv[1], 'rb')); print(t(5)); print(t(6))"
        file = str(tmp_path / "task.pkl")

        subprocess.run([sys.executable, tmp_path / "send.py", file], check=True, capture_output=True)
        done = subprocess.run([sys.executable, "-c", receive, file], check=True, capture_output=True, text=True)

        assert "load 5\n(10, 10, 5, (1, 1))\ngone 10\nload 6\n(12, 12, 6, (2, 2))\ngone 12\n" == done.stdout
