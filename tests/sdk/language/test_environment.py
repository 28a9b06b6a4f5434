"""Actor environments: what they take, what they refuse, what becomes of them in a program."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from greenroom.accelerators import A10G, A100
from greenroom.containers import actor as compiled
from greenroom.definition_errors import BadAmount, BadArgument, TaskArgumentRefused
from greenroom.environment import ActorEnvironment
from greenroom.options import Cache, Retry
from greenroom.pods import PodTemplate
from greenroom.resources import Resources
from greenroom.secrets import Secret
from greenroom.task import ActorTask, task


class TestDefinition:
    def test_takes_the_documents_parameters_by_position(self):
        """
        The order of the document's parameters is public.
        """
        pod, secret = PodTemplate(), Secret(key="k")

        env = ActorEnvironment(
            "a", "image:1", 2, 30, {"A": "1"}, Resources(cpu="1"), Resources(cpu="2"), A10G, [secret], pod, True
        )

        assert (
            env.name,
            env.container_image,
            env.replica_count,
            env.ttl_seconds,
            env.environment,
        ) == ("a", "image:1", 2, 30, {"A": "1"})
        assert (Resources(cpu="1"), Resources(cpu="2"), A10G) == (env.requests, env.limits, env.accelerator)
        assert ([secret], pod, True) == (env.secret_requests, env.pod_template, env.interruptible)

    def test_ours_are_keyword_only(self):
        """
        What Greenroom adds never shifts the document's positions.
        """
        with pytest.raises(TypeError):
            ActorEnvironment("a", None, 1, None, None, None, None, None, None, None, None, 3)

    def test_equal_by_value_and_usable_as_a_key(self):
        """
        Two environments with the same fields are the same.
        """
        one, other = ActorEnvironment("a", environment={"A": "1"}), ActorEnvironment("a", environment={"A": "1"})

        assert one == other
        assert {one: 1}[other] == 1
        assert one != ActorEnvironment("a")

    def test_survives_pickling(self):
        """
        Functions that travel by value may hold an environment.
        """
        env = ActorEnvironment("a", accelerator=A100.partition_1g_5gb, requests=Resources(mem="1Gi"))

        assert env == pickle.loads(pickle.dumps(env))

    @pytest.mark.parametrize("name", ["a", "my-actor", "a.b-c", "0", "a" * 63])
    def test_takes_names_of_lower_case_letters_digits_dashes_and_dots(self, name):
        """
        The message of the document allows dots, and so does the check.
        """
        assert name == ActorEnvironment(name).name

    @pytest.mark.parametrize("name", ["", "A", "my_actor", "-a", "a-", "a b", "ä", "a" * 64, None, 3])
    def test_refuses_other_names(self, name):
        """
        A name that is none is refused with itself and the rule.
        """
        with pytest.raises(ValueError, match="lower case letters, digits") as caught:
            ActorEnvironment(name)

        assert repr(name) in str(caught.value)

    def test_suggests_a_name(self):
        """
        Where a name can be mended, the error says how.
        """
        with pytest.raises(BadArgument, match="'my-actor' would do"):
            ActorEnvironment("My_Actor")

    def test_needs_a_name(self):
        """
        A missing name is what Python says of any missing argument.
        """
        with pytest.raises(TypeError):
            ActorEnvironment()

    @pytest.mark.parametrize("count", [0, -1, 1.5, "3", None, True])
    def test_refuses_replica_counts_that_are_none(self, count):
        """
        The count is refused where it is written, with the value.
        """
        with pytest.raises(ValueError, match="replica_count") as caught:
            ActorEnvironment("a", replica_count=count)

        assert f"got {count!r}" in str(caught.value)

    @pytest.mark.parametrize("ttl", [0, -1, "60", True, float("nan"), float("inf")])
    def test_refuses_ttls_that_are_no_time(self, ttl):
        """
        Any positive number of seconds is a TTL, nothing else.
        """
        with pytest.raises(BadAmount, match="ttl_seconds"):
            ActorEnvironment("a", ttl_seconds=ttl)

    @pytest.mark.parametrize("ttl", [1, 0.5, 45.5, 86_400])
    def test_takes_any_positive_ttl(self, ttl):
        """
        There is no largest TTL and no smallest but zero.
        """
        assert float(ttl) == compiled(ActorEnvironment("a", ttl_seconds=ttl)).ttl

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("container_image", 3),
            ("environment", ["A=1"]),
            ("environment", {"A": 1}),
            ("environment", {"A=B": "1"}),
            ("requests", {"cpu": 1}),
            ("requests", Resources(cpu=("1", "2"))),
            ("limits", "1Gi"),
            ("accelerator", "a10g"),
            ("secret_requests", ["token"]),
            ("secret_requests", Secret(key="k")),
            ("pod_template", {}),
            ("interruptible", "yes"),
            ("isolation", "strict"),
            ("launcher", "podman"),
            ("prewarm", "load"),
        ],
    )
    def test_refuses_values_of_another_kind(self, field, value):
        """
        A wrong value is refused at definition, by the parameter's name and with the value.
        """
        with pytest.raises(BadArgument, match=field):
            ActorEnvironment("a", **{field: value})

    @pytest.mark.parametrize(
        "fields",
        [
            {"min_replicas": 2},
            {"min_replicas": -1},
            {"concurrency": 0},
            {"concurrency": 2, "isolation": "fork"},
            {"max_calls": 0},
            {"max_memory": "8 bananas"},
            {"cache_memory": -1},
            {"scaledown_ttl": 0},
        ],
    )
    def test_refuses_figures_that_cannot_be(self, fields):
        """
        Figures are checked against their bounds and each other.
        """
        with pytest.raises(ValueError):
            ActorEnvironment("a", **fields)

    def test_replaced_fields_are_checked_too(self):
        """
        `dataclasses.replace` makes an environment as the constructor does.
        """
        with pytest.raises(BadAmount):
            replace(ActorEnvironment("a"), replica_count=0)


class TestCompiled:
    def test_carries_everything_in_plain_units(self):
        """
        A program holds seconds, bytes and cores.
        """
        env = ActorEnvironment(
            "a",
            replica_count=4,
            requests=Resources(cpu="500m", mem="1Gi"),
            accelerator=A10G,
            secret_requests=[Secret(group="g", key="k")],
            min_replicas=1,
            concurrency=8,
            cache_memory="2Gi",
            max_age=60,
        )

        plain = compiled(env)

        assert (plain.replica_count, plain.min_replicas, plain.concurrency) == (4, 1, 8)
        assert (
            plain.requests.cpu,
            plain.requests.memory,
            plain.requests.gpu,
            plain.requests.accelerator,
        ) == (0.5, 1 << 30, 1, "nvidia-a10g")
        assert (plain.cache_memory, plain.max_age, plain.secrets) == (2 << 30, 60.0, ("_FSEC_G_K",))


class TestTask:
    actor = ActorEnvironment("env")

    def test_decorates_bare_and_with_arguments(self):
        """
        `@actor.task` and `@actor.task(...)` both make tasks of the environment.
        """

        @self.actor.task
        def bare(n: int) -> int:
            return n

        @self.actor.task(retries=2, timeout=5, cache=True, cache_version="v1")
        def told(n: int) -> int:
            return n

        assert self.actor is bare.environment is told.environment
        assert (told.options.retry.times, told.options.timeout, told.options.cache.version) == (2, 5.0, "v1")

    @pytest.mark.parametrize(
        "options",
        [
            {"cache": True},
            {"cache": Cache(version="v2", serialize=True)},
            {"retries": Retry(3, backoff=1, jitter=0.5, on=(ValueError,))},
            {"timeout": __import__("datetime").timedelta(minutes=1)},
            {"cache": True, "cache_version": "1", "cache_serialize": True, "cache_ignore_input_vars": ("n",)},
            {"docs": "text", "enable_deck": True, "deck_fields": ("input",), "deprecated": "use other"},
            {"labels": {"a": "b"}, "annotations": {"a": "b"}, "shared_memory": True, "pod_template_name": "x"},
            {"resources": Resources(cpu=("1", "2")), "pickle_untyped": True, "task_resolver": None},
            {"isolation": "fork", "queue_timeout": 3, "affinity": lambda n: n},
        ],
    )
    def test_takes_what_belongs_to_a_task(self, options):
        """
        What the document lists for tasks is taken, cache without a version and `Cache(...)` too.
        """

        @self.actor.task(**options)
        def told(n: int) -> int:
            return n

        assert self.actor is told.environment

    def test_takes_coroutine_functions(self):
        """
        An async function is a task like any other.
        """

        @self.actor.task
        async def told(n: int) -> int:
            return n

        assert told.is_async

    @pytest.mark.parametrize(
        "name",
        [
            "requests",
            "limits",
            "container_image",
            "environment",
            "secret_requests",
            "pod_template",
            "accelerator",
            "interruptible",
            "task_config",
        ],
    )
    def test_refuses_what_belongs_to_the_environment(self, name):
        """
        The error says where it belongs, and is the TypeError that programs expect.
        """
        with pytest.raises(TypeError, match=r"environment"):
            self.actor.task(**{name: None})

    @pytest.mark.parametrize("name", ["foo", "name", "concurrency", "parallelism"])
    def test_refuses_unknown_arguments(self, name):
        """
        An unknown argument is refused, as the ValueError that programs expect.
        """
        with pytest.raises(ValueError, match=f"does not take {name}=") as caught:
            self.actor.task(**{name: 1})

        assert isinstance(caught.value, TaskArgumentRefused)

    def test_says_what_was_meant(self):
        """
        A slip of the pen gets the right name.
        """
        with pytest.raises(TaskArgumentRefused, match=r"did you mean retries=\?"):
            self.actor.task(retrys=1)

    @pytest.mark.parametrize(
        "options",
        [
            {"timeout": "5"},
            {"timeout": -1},
            {"retries": -1},
            {"retries": "2"},
            {"cache": "yes"},
            {"cache_version": 1, "cache": True},
            {"cache_serialize": True},
            {"cache_ignore_input_vars": ("n",)},
            {"isolation": "none"},
            {"affinity": "n"},
            {"enable_deck": True, "disable_deck": True},
            {"execution_mode": "sideways"},
        ],
    )
    def test_refuses_values_that_are_none(self, options):
        """
        Wrong values are refused at the decorator, with its line.
        """
        with pytest.raises(ValueError) as caught:
            self.actor.task(**options)

        assert "test_environment.py:" in str(caught.value)

    def test_a_task_may_only_be_stricter_than_its_environment(self):
        """
        An environment that resets cannot get a task that does not.
        """
        with pytest.raises(BadArgument, match="'reset', as its environment, or stricter"):
            self.actor.task(isolation="none")

        loose = ActorEnvironment("loose", isolation="none")
        assert loose.task(isolation="reset")(_noop).options.isolation == "reset"

    def test_plain_functions_are_refused_where_calls_run_side_by_side(self):
        """
        Only coroutines can share a replica at a time.
        """
        busy = ActorEnvironment("busy", concurrency=4)

        with pytest.raises(BadArgument, match="async def"):
            busy.task(_noop)

    def test_what_has_no_effect_is_noted(self):
        """
        Resources of a task that shares a running replica are said to have no effect.
        """
        told = self.actor.task(resources=Resources(cpu="1"))(_noop)

        assert [word for word in ("no effect",) if word in told.options.notes[0]] == ["no effect"]

    def test_affinity_names_the_inputs_that_decide(self):
        """
        A function that picks inputs is read once, at definition.
        """

        @self.actor.task(affinity=lambda model, **_: (model, _["config"].name))
        def told(model: str, config: dict[str, str], n: int) -> int:
            return n

        assert told.affinity == [["model"], ["config", "name"]]

    @pytest.mark.parametrize("pick", [lambda n: n + 1, lambda n: 3, lambda other: other])
    def test_affinity_that_computes_is_refused(self, pick):
        """
        The hub runs no user code: affinity picks inputs, no more.
        """
        with pytest.raises((BadArgument, TypeError)):

            @self.actor.task(affinity=pick)
            def told(n: int) -> int:
                return n

    def test_the_environment_survives_stacked_decorators(self):
        """
        Decorators below the task's are the user's business.
        """
        import functools

        def twice(function):
            @functools.wraps(function)
            def wrapper(n: int) -> int:
                return function(function(n))

            return wrapper

        @self.actor.task
        @twice
        def add(n: int) -> int:
            return n + 1

        assert add(1) == 3


def _noop(n: int) -> int:
    return n


class TestFromTask:
    def test_a_plain_task_becomes_an_actors(self):
        """
        `ActorTask.from_task` takes a plain task's container over into an environment of its own.
        """

        @task(requests=Resources(cpu=2), container_image="image:1", environment={"A": "1"}, retries=3)
        def my_work(n: int) -> int:
            return n

        made = ActorTask.from_task(my_work, replica_count=4, ttl_seconds=120)

        env = made.environment
        assert (env.name, env.replica_count, env.ttl_seconds) == ("my-work", 4, 120)
        assert (env.requests, env.container_image, env.environment) == (Resources(cpu=2), "image:1", {"A": "1"})
        assert (made.options.isolation, made.options.retry.times, made(3)) == ("reset", 3, 3)
