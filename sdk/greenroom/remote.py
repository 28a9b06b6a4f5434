"""`Remote`: a hub behind the methods that programs for Flyte and Union call (`FlyteRemote`, `UnionRemote`)."""

from __future__ import annotations

import datetime as dt
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from greenroom import catalog
from greenroom.client import Client
from greenroom.errors import GreenroomWarning
from greenroom.gate_answers import decide
from greenroom.handles import Execution
from greenroom.hub_errors import Refused
from greenroom.launch_plan import LaunchPlan
from greenroom.notifications import WorkflowExecutionPhase as Phase
from greenroom.operations import get, path_to
from greenroom.registered import Registered
from greenroom.submitting import person
from greenroom.task import Task
from greenroom.workflow import WorkflowBase
from greenroom_core.entities import Kind

_PHASES: Final = {
    "running": Phase.RUNNING,
    "succeeded": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
    "aborted": Phase.ABORTED,
    "timed_out": Phase.TIMED_OUT,
}


@dataclass
class PlatformConfig:
    """Where a hub is."""

    endpoint: str = ""
    insecure: bool = False


@dataclass
class Config:
    """Which hub is meant; without an address the one that the environment and the profile in use say."""

    platform: PlatformConfig = field(default_factory=PlatformConfig)

    @classmethod
    def auto(cls, config_file: Any = None) -> Config:
        """The hub that `GREENROOM_HUB` or the profile in use says; files of Flyte are not read."""
        return cls()

    @classmethod
    def for_sandbox(cls) -> Config:
        """The local hub."""
        return cls(PlatformConfig("local"))

    @classmethod
    def for_endpoint(cls, endpoint: str, insecure: bool = False, **_: Any) -> Config:
        """The hub at an address: an http or https URL, or a profile's name."""
        return cls(PlatformConfig(endpoint, insecure))


class RemoteId(NamedTuple):
    """The id of an execution."""

    project: str
    domain: str
    name: str


class RemoteError(NamedTuple):
    """Why an execution ended badly."""

    code: str
    message: str
    kind: str = "USER"


class Closure(NamedTuple):
    """How far an execution or a node is."""

    phase: int
    error: RemoteError | None
    started_at: dt.datetime | None = None
    duration: dt.timedelta | None = None
    outputs: Any = None


class RemoteNode(NamedTuple):
    """One node of an execution."""

    id: str
    closure: Closure
    shown: Mapping[str, Any]

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self.closure.phase not in (Phase.QUEUED, Phase.RUNNING)


class RemoteExecution:
    """An execution as programs for Flyte see it: what `sync` has read last."""

    def __init__(self, execution: Execution, shown: Mapping[str, Any]) -> None:
        self.handle = execution
        """The same execution as `greenroom.Client` gives it."""
        self._shown = dict(shown)

    @property
    def id(self) -> RemoteId:
        """`.id.name` is the execution's id."""
        return RemoteId(str(self._shown.get("project", "")), "development", self.handle.id)

    @property
    def is_done(self) -> bool:
        """Whether it had ended when it was synced last; asks again if not."""
        return self._phase != Phase.RUNNING or self.sync()._phase != Phase.RUNNING

    @property
    def is_successful(self) -> bool:
        """Whether it has succeeded."""
        return self.is_done and self._phase == Phase.SUCCEEDED

    @property
    def _phase(self) -> int:
        return _PHASES.get(str(self._shown.get("state")), Phase.RUNNING)

    @property
    def error(self) -> RemoteError | None:
        """Why it failed; None if it did not."""
        return _error(self._shown.get("failure")) if self.is_done else None

    @property
    def closure(self) -> Closure:
        """Its phase, error and times."""
        began, ended = self._shown.get("submitted"), self._shown.get("ended")
        started = dt.datetime.fromtimestamp(began, dt.UTC) if began else None
        duration = dt.timedelta(seconds=ended - began) if began and ended else None
        return Closure(self._phase, self.error, started, duration)

    @property
    def outputs(self) -> Outputs:
        """The outputs by name: `outputs["o0"]`; waits for the end."""
        return Outputs(self.handle.outputs)

    @property
    def inputs(self) -> Outputs:
        """The inputs by name."""
        import msgpack

        from greenroom.http import Request
        from greenroom.link import Operation
        from greenroom.opening import opener_of
        from greenroom.operations import checked

        def read() -> Operation[dict[str, bytes]]:
            answer = yield Request("GET", path_to(self.handle.id, "inputs"))
            checked(answer)
            raw: dict[str, bytes] = msgpack.unpackb(answer.body)
            return raw

        client, opener = self.handle._client, opener_of(None)
        values = client.drive(read())
        return Outputs({name: opener.open(name, value, client.blobs) for name, value in values.items()})

    @property
    def node_executions(self) -> dict[str, RemoteNode]:
        """Its nodes by their ids."""
        return {node["id"]: _node(node) for node in self._shown.get("nodes", ())}

    @property
    def execution_url(self) -> str:
        """Where a browser finds it."""
        return self.handle.url

    def sync(self, sync_nodes: bool = False) -> RemoteExecution:
        """Read its state anew."""
        self._shown = self.handle.show()
        return self

    def wait(
        self, timeout: float | dt.timedelta | None = None, poll_interval: Any = None, sync_nodes: bool = True
    ) -> RemoteExecution:
        """Wait for its end.

        Raises:
            StillRunning: The time is over.
        """
        self.handle.wait(timeout.total_seconds() if isinstance(timeout, dt.timedelta) else timeout)
        return self.sync()

    def __repr__(self) -> str:
        return f"<execution {self.handle.id} {self._shown.get('state')}>"


class Outputs(dict[str, Any]):
    """Values by name; `get(name, as_type)` as in flytekit."""

    def get(self, name: str, as_type: Any = None) -> Any:
        """One value; `as_type` is not needed: values say what they are."""
        return self[name]

    def as_python_native(self, *_: Any) -> Any:
        """What a call would have returned."""
        values = list(self.values())
        return None if not values else values[0] if len(values) == 1 else tuple(values)


def _error(failure: Mapping[str, Any] | None) -> RemoteError | None:
    if not failure:
        return None
    text = f"{failure.get('type')}: {failure.get('message')}"
    if failure.get("traceback"):
        text = f"{failure['traceback'].rstrip()}\n{text}"
    kind = "USER" if failure.get("cause") in ("user", "recoverable", "exit", "result") else "SYSTEM"
    return RemoteError(str(failure.get("type")), text, kind)


def _node(shown: Mapping[str, Any]) -> RemoteNode:
    phase = _PHASES.get(str(shown.get("state")), Phase.QUEUED if shown.get("state") == "waiting" else Phase.RUNNING)
    phase = Phase.ABORTED if shown.get("state") == "skipped" else phase
    return RemoteNode(str(shown["id"]), Closure(phase, _error(shown.get("failure"))), shown)


class Remote:
    """A hub, as `FlyteRemote` and `UnionRemote`. Domains and image configurations are taken and mean nothing here.

    Attributes:
        client: The same hub as a `greenroom.Client`.
    """

    def __init__(
        self,
        config: Config | str | None = None,
        default_project: str | None = None,
        default_domain: str = "development",
        data_upload_location: str | None = None,
        **_: Any,
    ) -> None:
        """Speak to a hub; nothing is opened before the first request.

        Args:
            config: Which hub; the one that environment and profile say unless given.
            default_project: Of what is registered and fetched; the program's own unless given.
            default_domain: Kept.
            data_upload_location: Kept: the hub keeps what is uploaded.
        """
        self.config = config
        self.default_project, self.default_domain = default_project or "", default_domain
        self.client = Client(_hub_of(config)).options(project=default_project)

    @classmethod
    def auto(cls, config_file: Any = None, **options: Any) -> Remote:
        """The hub that environment and profile say."""
        return cls(Config.auto(config_file), **options)

    @classmethod
    def for_endpoint(cls, endpoint: str, insecure: bool = False, **options: Any) -> Remote:
        """The hub at an address."""
        return cls(Config.for_endpoint(endpoint, insecure), **options)

    @classmethod
    def for_sandbox(cls, **options: Any) -> Remote:
        """The local hub."""
        return cls(Config.for_sandbox(), **options)

    @classmethod
    def from_api_key(cls, api_key: str, *_: Any, **options: Any) -> Remote:
        """The hub that environment and profile say, with a token."""
        os.environ.setdefault("GREENROOM_TOKEN", api_key)
        return cls(None, **options)

    # Fetching ---------------------------------------------------------------------------------------------------------

    def _fetch(self, kind: Kind, project: str | None, name: str | None, version: str | None) -> Registered:
        if not name:
            raise ValueError(f"which {kind.words}? give its name")
        wanted = catalog.entity(kind, name, version or "", project or self.default_project)
        return Registered(self.client.drive(wanted))

    def fetch_task(
        self, project: str | None = None, domain: str | None = None, name: str | None = None, version: str | None = None
    ) -> Registered:
        """A registered task; its newest version unless one is given."""
        return self._fetch(Kind.TASK, project, name, version)

    def fetch_workflow(
        self, project: str | None = None, domain: str | None = None, name: str | None = None, version: str | None = None
    ) -> Registered:
        """A registered workflow."""
        return self._fetch(Kind.WORKFLOW, project, name, version)

    def fetch_launch_plan(
        self, project: str | None = None, domain: str | None = None, name: str | None = None, version: str | None = None
    ) -> Registered:
        """A registered launch plan; a workflow's name means its default plan."""
        try:
            return self._fetch(Kind.LAUNCH_PLAN, project, name, version)
        except Refused as fault:
            if fault.code != "unknown_entity":
                raise
            try:
                return self._fetch(Kind.WORKFLOW, project, name, version)
            except Refused:
                raise fault from None

    def fetch_active_launchplan(
        self, project: str | None = None, domain: str | None = None, name: str | None = None
    ) -> Registered | None:
        """The version of a launch plan that runs by itself; None if none does."""
        for plan in self.client.launch_plans():
            if plan["name"] == name and plan["active"] and (project or self.default_project) in ("", plan["project"]):
                return self._fetch(Kind.LAUNCH_PLAN, plan["project"], name, plan["active"])
        return None

    def fetch_execution(
        self, project: str | None = None, domain: str | None = None, name: str | None = None
    ) -> RemoteExecution:
        """An execution by its id."""
        if not name:
            raise ValueError("which execution? give its name")
        return self._execution(self.client.execution(name))

    def _execution(self, execution: Execution) -> RemoteExecution:
        return RemoteExecution(execution, self.client.drive(get(path_to(execution.id))))

    # Registering ------------------------------------------------------------------------------------------------------

    def _register(self, entity: Any, version: str | None, project: str | None) -> Registered:
        client = self.client.options(project=project) if project else self.client
        return client.register(entity, version)

    def register_task(
        self, entity: Any, serialization_settings: Any = None, version: str | None = None, **_: Any
    ) -> Registered:
        """Keep a task."""
        return self._register(entity, version, getattr(serialization_settings, "project", None))

    def register_workflow(
        self,
        entity: Any,
        serialization_settings: Any = None,
        version: str | None = None,
        default_launch_plan: bool = True,
        options: Any = None,
        fast: bool = False,
        **_: Any,
    ) -> Registered:
        """Keep a workflow, and its default launch plan."""
        project = getattr(serialization_settings, "project", None)
        if default_launch_plan:
            self._register(LaunchPlan.get_default_launch_plan(None, entity), version, project)
        return self._register(entity, version, project)

    fast_register_workflow = register_workflow

    def register_launch_plan(
        self,
        entity: Any,
        version: str | None = None,
        project: str | None = None,
        domain: str | None = None,
        options: Any = None,
        serialization_settings: Any = None,
        **_: Any,
    ) -> Registered:
        """Keep a launch plan."""
        return self._register(entity, version, project)

    def register_script(
        self, entity: Any, image_config: Any = None, version: str | None = None, project: str | None = None, **_: Any
    ) -> Registered:
        """Keep a workflow or task of a script."""
        if isinstance(entity, WorkflowBase):
            self._register(LaunchPlan.get_default_launch_plan(None, entity), version, project)
        return self._register(entity, version, project)

    # Running ----------------------------------------------------------------------------------------------------------

    def execute(
        self,
        entity: Any,
        inputs: Mapping[str, Any] | None = None,
        project: str | None = None,
        domain: str | None = None,
        execution_name: str | None = None,
        execution_name_prefix: str | None = None,
        wait: bool = False,
        version: str | None = None,
        name: str | None = None,
        envs: Mapping[str, str] | None = None,
        tags: Iterable[str] | None = None,
        overwrite_cache: bool | None = None,
        options: Any = None,
        **_: Any,
    ) -> RemoteExecution:
        """Run something: what was fetched, or a task, workflow or launch plan of this program.

        Args:
            entity: What runs. One of this program is registered first where a version is given.
            inputs: Its inputs by name.
            project: Of a program's own entity.
            domain: Not used.
            execution_name: The execution's id.
            execution_name_prefix: Its beginning.
            wait: Whether to return at its end.
            version: To register an own entity under.
            name: To register an own entity under.
            envs: Environment variables for its calls.
            tags: Become labels.
            overwrite_cache: Whether cached results are made anew.
            options: Its `labels` count.
        """
        changed: dict[str, Any] = {"labels": {**_labels(options), **dict.fromkeys(tags or (), "")}}
        if envs:
            changed["env"] = dict(envs)
        if overwrite_cache:
            changed["cached_results"] = "refresh"
        if project:
            changed["project"] = project
        named = execution_name or (f"{execution_name_prefix}-{os.urandom(3).hex()}" if execution_name_prefix else None)
        client = self.client.options(name=named, **changed)
        if version and isinstance(entity, (Task, WorkflowBase, LaunchPlan)):
            entity = client.register(entity, version, name=name)
        made = self._execution(client.run(entity, **dict(inputs or {})))
        return made.wait() if wait else made

    def wait(
        self,
        execution: RemoteExecution,
        timeout: float | dt.timedelta | None = None,
        poll_interval: Any = None,
        sync_nodes: bool = True,
    ) -> RemoteExecution:
        """Wait for an execution's end.

        Raises:
            StillRunning: The time is over.
        """
        return execution.wait(timeout)

    def sync(
        self, execution: RemoteExecution, entity_definition: Any = None, sync_nodes: bool = False
    ) -> RemoteExecution:
        """Read an execution's state anew."""
        return execution.sync()

    sync_execution = sync

    def terminate(self, execution: RemoteExecution, cause: str = "") -> None:
        """Ask for an execution's end."""
        execution.handle.cancel(cause or "terminated")

    def recent_executions(
        self, project: str | None = None, domain: str | None = None, limit: int = 100, filters: Any = None
    ) -> list[RemoteExecution]:
        """Executions, the newest first; those of a project if one is meant."""
        wanted = project or self.default_project
        rows = [row for row in self.client.executions(limit) if wanted in ("", row["project"])]
        return [RemoteExecution(self.client.execution(row["id"]), row) for row in rows]

    def list_tasks_by_version(
        self, version: str, project: str | None = None, domain: str | None = None, limit: int = 100
    ) -> list[Registered]:
        """The tasks that were registered under a version."""
        rows = self.client.drive(catalog.entities("task", "", project or self.default_project, 1000))
        found = [row for row in rows if row["version"] == version][:limit]
        return [self.fetch_task(row["project"], None, row["name"], version) for row in found]

    # Gates ------------------------------------------------------------------------------------------------------------

    def list_signals(
        self, execution_name: str, project: str | None = None, domain: str | None = None, *_: Any, **__: Any
    ) -> list[dict[str, Any]]:
        """Gates of an execution that wait for somebody."""
        found: list[dict[str, Any]] = self.client.drive(get(f"/api/gates?execution={execution_name}"))["gates"]
        return found

    def approve(
        self, signal_id: str, execution_name: str, project: str | None = None, domain: str | None = None
    ) -> None:
        """Agree to what a gate shows."""
        self.client.drive(decide(execution_name, signal_id, True, person()))

    def reject(
        self, signal_id: str, execution_name: str, project: str | None = None, domain: str | None = None
    ) -> None:
        """Refuse what a gate shows."""
        self.client.drive(decide(execution_name, signal_id, False, person()))

    def set_input(
        self,
        signal_id: str,
        execution_name: str,
        value: Any,
        project: str | None = None,
        domain: str | None = None,
        python_type: Any = None,
        literal_type: Any = None,
    ) -> None:
        """Give a gate the input that it waits for."""
        self.client.answer(execution_name, signal_id, value)

    set_signal = set_input

    # Launch plans -----------------------------------------------------------------------------------------------------

    def activate_launchplan(self, ident: Any) -> None:
        """Have a launch plan run by its schedule: what was fetched or its `.id`, or its name."""
        if isinstance(ident, Registered):
            self.client.activate(ident)
            return
        name, version = getattr(ident, "name", ident), getattr(ident, "version", "") or ""
        self.client.options(project=getattr(ident, "project", None) or self.default_project).activate(name, version)

    def deactivate_launchplan(self, ident: Any) -> None:
        """Have a launch plan run no more by itself."""
        self.client.deactivate(ident if isinstance(ident, Registered) else getattr(ident, "name", ident))

    def launch_backfill(
        self,
        project: str | None,
        domain: str | None,
        from_date: dt.datetime,
        to_date: dt.datetime,
        launchplan: str,
        launchplan_version: str | None = None,
        execution_name: str | None = None,
        version: str | None = None,
        dry_run: bool = False,
        execute: bool = True,
        parallel: bool = False,
        failure_policy: Any = None,
        overwrite_cache: bool | None = None,
    ) -> list[RemoteExecution] | list[dt.datetime]:
        """Run a launch plan for the times of its schedule in a span, one after the other unless `parallel`.

        Returns:
            The executions; the times, where nothing is to be run (`dry_run`, `execute=False`).
        """
        from urllib.parse import quote, urlencode

        plan = self._fetch(Kind.LAUNCH_PLAN, project, launchplan, launchplan_version)
        asked = {"after": from_date.timestamp(), "until": to_date.timestamp(), "version": plan.version}
        path = f"/api/launch-plans/{quote(launchplan, safe='')}/times?{urlencode({**asked, 'project': plan.project})}"
        told = self.client.drive(get(path))
        times = [dt.datetime.fromtimestamp(moment, dt.UTC) for moment in told["times"]]
        if dry_run or not execute:
            return times
        made = []
        for moment in times:
            inputs = {told["kickoff"]: moment} if told["kickoff"] else {}
            made.append(self.execute(plan, inputs, overwrite_cache=overwrite_cache, wait=not parallel))
        return made

    # Data -------------------------------------------------------------------------------------------------------------

    def download(self, data: Any, download_to: str, recursive: bool = True) -> None:
        """Copy files out of outputs: a file, a directory, or what `outputs` gave."""
        for name, value in _files(data, Path(download_to)):
            name.parent.mkdir(parents=True, exist_ok=True)
            _copy(os.fspath(value), name)

    def generate_console_url(self, entity: Any) -> str:
        """Where a browser finds an execution; for what is registered, its description in the API."""
        if isinstance(entity, RemoteExecution):
            return entity.execution_url
        told: Registered = entity
        return f"{self.client.url}/api/entities/{told.kind.value}/{told.name}?version={told.version}"


def _hub_of(config: Config | str | None) -> str | None:
    """What a configuration means as `--hub`."""
    given = config if isinstance(config, str) else config.platform.endpoint if config is not None else ""
    if not given or given == "local" or given.startswith(("http://", "https://")) or not ("." in given or ":" in given):
        return given or None
    told = f"{given} is an address of Flyte's; the hub that GREENROOM_HUB or the profile in use says is used"
    warnings.warn(told, GreenroomWarning, stacklevel=4)
    return None


def _labels(options: Any) -> dict[str, str]:
    labels = getattr(options, "labels", None)
    values = labels if isinstance(labels, Mapping) else getattr(labels, "values", None)
    return {str(key): str(value) for key, value in values.items()} if isinstance(values, Mapping) else {}


def _files(data: Any, place: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(data, Mapping):
        for name, value in data.items():
            yield from _files(value, place / str(name))
    elif isinstance(data, (list, tuple)):
        for number, value in enumerate(data):
            yield from _files(value, place / str(number))
    elif hasattr(data, "__fspath__"):
        yield place, data


def _copy(source: str, target: Path) -> None:
    import shutil

    if os.path.isdir(source):
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif target.is_dir():
        shutil.copy(source, target / os.path.basename(source))
    else:
        shutil.copy(source, target)
