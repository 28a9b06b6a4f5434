"""From an entity and its inputs to a submission: compiled, bundled, with the environment that its calls see."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from greenroom.hubs import Hub
from greenroom.opening import Opener
from greenroom_core.program import CachedResults, Environment, Program, Submission

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore
    from greenroom.bundling import Bundle
    from greenroom.compile import CompiledProgram
    from greenroom.registered import Registered
    from greenroom.registering import ToRegister

_STARTUP: Final = ("LD_", "PYTHON", "MALLOC_")
"""Variables that act before a Python runs its first line: they must stand when its process starts."""

_OF_THE_SHELL: Final = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "COLUMNS", "LINES", "GREENROOM_ALIAS"})
"""Variables that say something about the shell, nothing about what its user wants."""

_FRESH: Final = 2.0
"""Seconds for which a notebook's bundle counts as up to date: cells are run faster than files are edited."""


@dataclass(frozen=True, slots=True)
class Options:
    """How something is run, apart from its inputs."""

    name: str | None = None
    """The execution's id."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for every call."""
    labels: Mapping[str, str] = field(default_factory=dict)
    cached_results: str = "use"
    """`use`, `refresh` or `off`."""
    priority: int = 0
    deadline: float | None = None
    """Seconds after which it is cancelled as timed out."""
    strict: bool = False
    """Whether to refuse what a local hub would cut to the machine's size."""
    project: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    """Images by environment; `""` for environments that name none."""

    def with_changed(self, **changed: Any) -> Options:
        """These, with some changed.

        Raises:
            TypeError: There is no such option.
            ValueError: A value is none that it can have.
        """
        unknown = [name for name in changed if name not in self.__slots__]
        if unknown:
            raise TypeError(f"no option {unknown[0]!r}; there are {', '.join(self.__slots__)}")
        options = replace(self, **changed)
        CachedResults(options.cached_results)
        return options


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a submission needs, made."""

    submission: Submission
    program: bytes
    digest: str
    opener: Opener
    bundle: Bundle | None
    entity: str
    """`module.name`, for people."""
    environments: tuple[Environment, ...] = ()
    notes: tuple[str, ...] = ()
    """What was asked for and has no effect, and what is deprecated."""


class Workshop:
    """Compiles and bundles, and remembers what it made as long as that is what it would make again."""

    def __init__(self) -> None:
        self._bundles: dict[str, tuple[float, Bundle]] = {}
        self._compiled: dict[int, tuple[Any, object, CompiledProgram]] = {}
        self._interpreter: Any = None

    def prepare(
        self,
        entity: Any,
        args: Sequence[Any],
        inputs: Mapping[str, Any],
        options: Options,
        hub: Hub,
        blobs: BlobStore,
        *,
        file: str | None = None,
    ) -> Prepared:
        """Make a submission.

        Args:
            entity: A task, workflow, launch plan or map.
            args: Inputs by position.
            inputs: Inputs by name.
            options: Everything else that the user wants.
            hub: Where it will run.
            blobs: Takes what is large.
            file: The file that the user runs, where that is not this process's script.

        Raises:
            GreenroomError: The entity or its inputs are not in order.
            BundleError: Its code cannot travel.
        """
        from greenroom.compile import submission_of
        from greenroom.registered import Registered

        if isinstance(entity, Registered):
            return _prepare_registered(entity, args, inputs, options, hub, blobs)
        bundle = self._bundle(entity, file)
        compiled = self._compile(entity, bundle, options, blobs)
        wishes = _wishes(options, hub)
        submission = submission_of(compiled, args, inputs, store=blobs, key=os.urandom(9).hex(), **wishes)
        return Prepared(
            submission=submission,
            program=compiled.packed,
            digest=compiled.digest,
            opener=Opener(compiled.interface),
            bundle=bundle,
            entity=compiled.program.entity,
            environments=tuple(compiled.program.environments.values()),
            notes=compiled.notes,
        )

    def prepare_registration(
        self,
        entity: Any,
        options: Options,
        hub: Hub,
        blobs: BlobStore,
        *,
        name: str | None = None,
        version: str | None = None,
        file: str | None = None,
    ) -> ToRegister:
        """Make a registration.

        Args:
            entity: A task, workflow or launch plan.
            options: Its `env`, `project` and `images` count.
            hub: Which will keep it.
            blobs: Takes what is large.
            name: Its own unless given.
            version: The bundle's hash unless given.
            file: The file that it is in, where that is not this process's script.

        Raises:
            GreenroomError: The entity is not in order.
            BundleError: Its code cannot travel.
        """
        from greenroom.registering import to_register

        bundle = self._bundle(entity, file)
        compiled = self._compile(entity, bundle, options, blobs)
        wishes = _wishes(options, hub)
        env, by = wishes["env"], wishes["by"]
        return to_register(entity, compiled, bundle, blobs, name=name, version=version, by=by, env=env)

    def _bundle(self, entity: Any, file: str | None) -> Bundle | None:
        from greenroom.bundling import make_bundle
        from greenroom.bundling.program import adopt_main

        place = file or place_of(entity)
        known = self._bundles.get(place)
        if known is not None and (not _interactive() or time.monotonic() - known[0] < _FRESH):
            return known[1]
        bundle = make_bundle(place)
        if place == _main_file():
            adopt_main(bundle.module)
        self._bundles[place] = time.monotonic(), bundle
        return bundle

    def _compile(self, entity: Any, bundle: Bundle | None, options: Options, blobs: BlobStore) -> CompiledProgram:
        state = _state_of(bundle, options)
        known = self._compiled.get(id(entity))
        if known is not None and known[0] is entity and known[1] == state:
            return known[2]
        from greenroom import compat
        from greenroom.compile import program_of

        compiled = program_of(
            entity,
            store=blobs,
            bundle=bundle,
            project=options.project,
            interpreter=self._this_python(),
            alias=compat.is_installed(),
        )
        if options.images:
            compiled = replace(compiled, program=with_images(compiled.program, options.images))
        if all(task.pickled is None for task in compiled.program.tasks.values()):
            self._compiled[id(entity)] = entity, state, compiled  # What travels by value may change at any time.
        return compiled

    def _this_python(self) -> Any:
        from greenroom.bundling import interpreter_key
        from greenroom_core.program import Interpreter

        if self._interpreter is None:
            key = interpreter_key()
            env = {name: value for name, value in os.environ.items() if name.startswith(_STARTUP)}
            self._interpreter = Interpreter(key.executable, key.version, key.digest, env=env)
        return self._interpreter


def _prepare_registered(
    entity: Registered,
    args: Sequence[Any],
    inputs: Mapping[str, Any],
    options: Options,
    hub: Hub,
    blobs: BlobStore,
) -> Prepared:
    """A submission of what the hub keeps: no code goes along."""
    named = {**dict(zip(entity.interface.inputs, args, strict=False)), **inputs}
    submission = Submission(
        program=entity.shown["program"],
        inputs=entity.encode_inputs(named, blobs),
        registered=entity.reference,
        key=os.urandom(9).hex(),
        **_wishes(options, hub),
    )
    return Prepared(submission, b"", submission.program, Opener(entity.interface), None, entity.name)


def _wishes(options: Options, hub: Hub) -> dict[str, Any]:
    """What a submission says beside its program and inputs."""
    return {
        "name": options.name,
        "by": person(),
        "labels": dict(options.labels),
        "env": {**(_shell() if hub.personal else {}), **options.env},
        "cached_results": CachedResults(options.cached_results),
        "priority": options.priority,
        "deadline": options.deadline,
        "strict": options.strict,
    }


def repeating(options: Options, reuse: str) -> dict[str, Any]:
    """What is said when an execution is repeated: the rest is as it was the first time.

    Args:
        options: `name` and `cached_results` of them count.
        reuse: `nothing`, `unfailed` or `succeeded`.
    """
    wish: dict[str, Any] = {"reuse": reuse, "key": os.urandom(9).hex(), "by": person()}
    if options.name:
        wish["name"] = options.name
    if options.cached_results != "use":
        wish["cached_results"] = options.cached_results
    return wish


def upload(prepared: Prepared | ToRegister, blobs: BlobStore) -> None:
    """Hand over the files of a bundle that the hub does not have."""
    bundle = prepared.bundle
    if bundle is None or blobs.has(bundle.hash):
        return
    with blobs.batch():
        for digest in bundle.sources:
            if not blobs.has(digest):
                blobs.put(bundle.read(digest))
    blobs.put(bundle.encoded)  # The last one: where the manifest is, its files are.


def with_images(program: Program, images: Mapping[str, str]) -> Program:
    """A program with other images.

    Args:
        program: As compiled.
        images: By environment; `""` for all environments that name none.

    Raises:
        KeyError: An environment that the program does not have.
    """
    names = {environment.name for environment in program.environments.values()}
    for name in images:
        if name and name not in names:
            raise KeyError(name)

    def change(environment: Environment) -> Environment:
        image = images.get(environment.name) or (images.get("") if environment.image is None else None)
        return replace(environment, image=image) if image else environment

    return replace(program, environments={key: change(one) for key, one in program.environments.items()})


def place_of(entity: Any) -> str:
    """The file whose project an entity belongs to: its module's, the running script, or the folder one stands in."""
    module = sys.modules.get(_module_of(entity))
    file: str | None = getattr(module, "__file__", None)
    if file and os.path.isfile(file) and not ("site-packages" in file or "dist-packages" in file):
        return os.path.abspath(file)
    return _main_file() or os.getcwd()


def _module_of(entity: Any) -> str:
    while (inner := getattr(entity, "workflow", None) or getattr(entity, "target", None)) is not None:
        entity = inner  # A launch plan's workflow, a map's task.
    module = getattr(entity, "__module__", "")
    return module if isinstance(module, str) else ""


def _main_file() -> str:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.abspath(file) if isinstance(file, str) and os.path.isfile(file) and not _interactive() else ""


def _interactive() -> bool:
    """Whether somebody types code into this process: a notebook, or an interpreter."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)  # `<stdin>` for a program that is piped in.
    return hasattr(sys, "ps1") or hasattr(main, "get_ipython") or not (isinstance(file, str) and os.path.isfile(file))


def _state_of(bundle: Bundle | None, options: Options) -> object:
    from greenroom import redefinition

    return redefinition.generation(), bundle.hash if bundle else None, options.project, tuple(options.images.items())


def _shell() -> dict[str, str]:
    """The variables of the submitting shell, as calls on a person's own machine see them."""
    global _seen, _shown
    raw = getattr(os.environ, "_data", None)  # Undecoded: comparing it costs a fiftieth of decoding it.
    if raw is None or raw != _seen:
        _seen = dict(raw) if raw is not None else None
        _shown = {name: value for name, value in os.environ.items() if name not in _OF_THE_SHELL}
    return _shown


_seen: dict[bytes, bytes] | None = None
_shown: dict[str, str] = {}


@cache
def person() -> str:
    """Who submits, for lists of executions."""
    name = os.environ.get("USER") or os.environ.get("LOGNAME")
    if not name:
        import pwd

        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = str(os.getuid())
    return name
