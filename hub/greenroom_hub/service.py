"""The running hub: its parts, joined; from an open log to a served port, and back to nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from greenroom_core.facts import unpack_fact
from greenroom_hub.config import HubConfig
from greenroom_hub.core import commands as c
from greenroom_hub.core.events import Adopted, Draining, Unsendable
from greenroom_hub.core.hub_facts import HUB_KINDS, unpack_hub_fact
from greenroom_hub.core.ledger import Ledger
from greenroom_hub.core.machine import Machine
from greenroom_hub.core.recovery import begin, fold
from greenroom_hub.core.state import Recorded, Settings, State
from greenroom_hub.edge import views
from greenroom_hub.edge.admin import Admin
from greenroom_hub.edge.api import Api
from greenroom_hub.edge.app import make_app
from greenroom_hub.edge.auth import Auth, Names
from greenroom_hub.edge.blobs import Blobs
from greenroom_hub.edge.entities import Entities
from greenroom_hub.edge.feed import LiveFeed
from greenroom_hub.edge.gates import Gates
from greenroom_hub.edge.invites import Invite
from greenroom_hub.edge.keepsakes import Keepsakes
from greenroom_hub.edge.replicas import ReplicaLinks
from greenroom_hub.edge.reports import Reports
from greenroom_hub.launch.capacity import measure
from greenroom_hub.launch.sockets import socket_folder
from greenroom_hub.launchers import Launchers, Surroundings
from greenroom_hub.listening import listen_for_containers, listen_on_port, listen_on_socket, reachable
from greenroom_hub.shell.archive import Archive
from greenroom_hub.shell.checkpoints import Checkpoints
from greenroom_hub.shell.cleaning import Cleaning
from greenroom_hub.shell.doorway import Doorway
from greenroom_hub.shell.executor import Executor
from greenroom_hub.shell.hub import Hub, moment
from greenroom_hub.shell.lookups import Lookups
from greenroom_hub.shell.outputs import Outputs
from greenroom_hub.shell.plan_checks import PlanChecks
from greenroom_hub.shell.reader import StoreReader
from greenroom_hub.shell.registrar import Registrar
from greenroom_hub.shell.tasks import Tasks
from greenroom_hub.shell.vault import Vault
from greenroom_hub.shell.webhooks import Webhooks
from greenroom_hub.store.logs import LogStore
from greenroom_hub.store.rows import Row
from greenroom_hub.store.sqlite import SqliteStore
from greenroom_hub.store.ticket import Ticket
from greenroom_protocol.version import PROTOCOL, VERSION

log = structlog.get_logger("greenroom.service")


@dataclass(slots=True)
class _Parts:
    """What a running hub is made of."""

    store: SqliteStore
    logs: LogStore
    state: State
    archive: Archive
    hub: Hub
    links: ReplicaLinks
    launchers: Launchers
    api: Api
    tasks: Tasks
    auth: Auth
    cleaning: Cleaning
    webhooks: Webhooks


class Service:
    """One hub, from `start` to `stop`."""

    def __init__(self, config: HubConfig) -> None:
        self.config = config
        self.url = ""
        self.socket: Path | None = None
        self.stopping = asyncio.Event()
        """Set when the hub was asked to end."""
        self.purge = False
        self.starts_over = False
        """Whether the process is to run the hub anew: from the log, with the replicas that live."""
        self._runner: web.AppRunner | None = None
        self._parts: _Parts | None = None
        self._started = time.time()
        self._last_use = time.monotonic()

    # Starting -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the log, fold it, listen, adopt what an earlier hub left, and say where.

        Raises:
            StoreError: The log is another program's, newer, damaged or in use.
            OSError: The port cannot be had.
        """
        state_folder = self.config.state
        state_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        parts = self._parts = self._build(state_folder)
        first = begin(parts.state, moment(), VERSION)
        await self._listen(parts)
        parts.hub.start(first)
        parts.hub.post(Adopted(tuple(await parts.launchers.adopt())))
        self._write_record()
        if self.config.local:
            parts.tasks.start(self._end_when_unused(parts), "idle exit")
            parts.tasks.start(self._keep_house(parts.cleaning), "housekeeping")
        if self.config.owner:
            parts.tasks.start(self._end_with_owner(self.config.owner), "end with its owner")
        log.info("hub serves", url=self.url, state=str(state_folder), epoch=parts.state.epoch)

    def _build(self, folder: Path) -> _Parts:
        config, loop = self.config, asyncio.get_running_loop()
        store = SqliteStore(folder / "log.sqlite", lambda ticket: self._on_ticket(loop, ticket))
        head = store.open()
        logs = LogStore(folder / "logs.sqlite")
        logs.open()
        blobs = Blobs(folder / "blobs")
        auth, vault = Auth.at(folder), Vault.at(folder / "key")
        capacity = measure(config.capacity)
        tasks = Tasks()
        reader = StoreReader(store, folder / "blobs", lambda *names: archive.manifest(*names), lambda: hub.committed)
        state = State(
            _settings(config, capacity.cpu, capacity.memory), Ledger(capacity), reader, head.epoch, head.position
        )
        archive = Archive(store, state.runs, state.programs)
        archive.reader, state.earlier, state.find_program = reader, archive.earlier, archive.find_program
        fold(state, (_recorded(row) for row in store.live()), archive.program)
        feed = LiveFeed(store, archive, lambda name: views.status(state, name))
        outputs = Outputs(logs)
        outputs.tell = feed.output
        links = ReplicaLinks(lambda event: hub.post(event), outputs.take)
        self.socket = socket_folder(folder) / "hub.sock"
        around = Surroundings(folder, self.socket, self._link, capacity, auth, links, lambda event: hub.post(event))
        launchers = Launchers(config, around)
        executor = Executor(links, dict(launchers.by_name), vault, tasks)
        executor.on_unlaunchable = lambda event: hub.post(event)
        hub = Hub(Machine(state), store, executor, links, feed, archive, _welcome(config))
        links.on_new_link = executor.forget
        lookups = Lookups(store, reader, tasks, hub.post)
        executor.on_look_up, hub.on_look_again = lookups.look_up, lookups.look_again
        executor.on_unsendable = lambda command, why: _unsendable(hub, command, why)
        hub.on_broken = lambda why: self._on_broken(why)
        hub.on_fault = lambda why: self._on_fault(why)
        checks = PlanChecks(archive, folder / "blobs", tasks, hub.post, config.local, config.launcher_names[0])
        webhooks = Webhooks(tasks, hub.post, lambda execution: f"{self.public_url}/e/{execution}")
        executor.on_check_plan, hub.on_notify = checks.begin, webhooks.begin
        doorway = Doorway(hub, store, archive, vault)
        registrar = Registrar(hub, archive, vault, doorway, checks)
        doorway.resolve, doorway.fill = registrar.resolved, registrar.filled
        doorway.check_references = registrar.check_references
        entities = Entities(hub, registrar, archive)
        api = Api(hub, store, logs, archive, doorway, feed, self.about, self.used_url, self.request_stop)
        cleaning = Cleaning(hub, store, logs, folder, config.blob_spare_s)
        admin = Admin(
            state, auth.invites, lambda: self.public_url, lambda one: _revoked(links, one), launchers.logs, cleaning
        )
        checkpoints = Checkpoints(folder / "checkpoints")
        checkpoints.keep_only(set(state.runs))
        hub.on_ended = checkpoints.drop
        keepsakes, names = Keepsakes(hub, store, archive, checkpoints), Names(config.host, config.host_names)
        reports = Reports(hub, store, archive, folder / "blobs")
        app = make_app(
            api, keepsakes, admin, entities, Gates(hub, store), reports, blobs, links, auth, names, config.max_body
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2.0)
        return _Parts(store, logs, state, archive, hub, links, launchers, api, tasks, auth, cleaning, webhooks)

    def _on_ticket(self, loop: asyncio.AbstractEventLoop, ticket: Ticket) -> None:
        """Called in the writer's thread."""
        loop.call_soon_threadsafe(self._committed, ticket)

    def _committed(self, ticket: Ticket) -> None:
        if self._parts is not None:
            self._parts.hub.on_commit(ticket)

    async def _listen(self, parts: _Parts) -> None:
        assert self._runner is not None
        assert self.socket is not None
        await self._runner.setup()
        await listen_on_socket(self._runner, self.socket)
        if "docker" in self.config.launcher_names and not self.config.docker_hub:
            await listen_for_containers(self._runner, self._link, self.config.state / "blobs")
        self.url = await listen_on_port(self._runner, self.config)

    @property
    def _link(self) -> Path:
        """Folder of the socket that containers dial."""
        assert self.socket is not None
        return self.socket.parent / "link"

    @property
    def public_url(self) -> str:
        """Where others reach this hub."""
        return self.config.url.rstrip("/") or reachable(self.url)

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 0

    def _write_record(self) -> None:
        path = self.config.state / "hub.json"
        record = {
            "url": self.url,
            "socket": str(self.socket),
            "pid": os.getpid(),
            "version": VERSION,
            "protocol": PROTOCOL,
            "token_file": str(self.config.state / "token"),
            "blobs": str(self.config.state / "blobs"),
            "state": str(self.config.state),
            "started": self._started,
            "local": self.config.local,
        }
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(record, indent=1) + "\n")
        fresh.replace(path)

    # Living ---------------------------------------------------------------------------------------------------------

    def used_url(self) -> str:
        """Where others reach this hub, said to who has just used it."""
        self._last_use = time.monotonic()
        return self.public_url

    def about(self) -> dict[str, Any]:
        """What `GET /api/hub` answers."""
        self._last_use = time.monotonic()
        state = self._parts.state if self._parts is not None else None
        return {
            "version": VERSION,
            "protocol": PROTOCOL,
            "epoch": state.epoch if state else 0,
            "pid": os.getpid(),
            "url": self.public_url,
            "state": str(self.config.state),
            "blobs": str(self.config.state / "blobs"),
            "local": self.config.local,
            "installed": self.config.installed,
            "plans": sum(plan.active is not None for plan in state.plans.values()) if state else 0,
            "launchers": list(self.config.launcher_names),
            "started": self._started,
            "capacity": str(state.ledger.capacity) if state else "",
            "executions": {"live": len(state.runs) if state else 0},
            "replicas": len(state.replicas) if state else 0,
            "counters": dict(state.counters) if state else {},
            "frames": {"in": self._parts.links.frames_in, "out": self._parts.links.frames_out} if self._parts else {},
            "store": self._store_figures(),
        }

    def _store_figures(self) -> dict[str, Any]:
        if self._parts is None:
            return {}
        stats, durability = self._parts.store.stats, self._parts.store.durability()
        return {
            "commits": stats.commits,
            "rows": stats.rows,
            "batches": stats.batches,
            "bytes": stats.bytes,
            "synchronous": durability.synchronous,
            "journal": durability.journal,
        }

    def request_stop(self, purge: bool) -> None:
        """End soon: after the answer to who asked is on its way."""
        self.purge = purge
        asyncio.get_running_loop().call_later(0.05, self.stopping.set)

    def _on_broken(self, why: str) -> None:
        """The log cannot be written: nothing in memory counts any more. The next start folds what is on disk."""
        log.error("the hub ends, because its log cannot be written; start it again when that is mended", why=why)
        self.stopping.set()

    def _on_fault(self, why: str) -> None:
        """A fault of ours: this process starts over, replicas and clients come back to it."""
        self.starts_over = True
        self.stopping.set()

    async def _end_with_owner(self, pid: int) -> None:
        """A command that was killed could not stop its hub itself: nothing of it stays."""
        while _runs(pid):
            await asyncio.sleep(1.0)
        log.info("the command that started this hub has ended", pid=pid)
        self.purge = True
        self.stopping.set()

    async def _end_when_unused(self, parts: _Parts) -> None:
        while True:
            await asyncio.sleep(min(30.0, self.config.idle_exit_s / 4))
            scheduled = any(plan.active is not None for plan in parts.state.plans.values())
            if parts.state.runs or parts.state.replicas or scheduled or self.config.installed:
                self._last_use = time.monotonic()
            if time.monotonic() - self._last_use > self.config.idle_exit_s:
                log.info("nothing has used this hub", for_s=self.config.idle_exit_s)
                self.stopping.set()

    async def _keep_house(self, cleaning: Cleaning) -> None:
        await asyncio.sleep(min(60.0, self.config.keep_every_s))
        while True:
            await cleaning.keep_within(self.config.keep_days * 86400, self.config.keep_bytes)
            await asyncio.sleep(self.config.keep_every_s)

    # Stopping -------------------------------------------------------------------------------------------------------

    async def stop(self, keep_replicas: bool = False) -> None:
        """End: replicas with it, unless they are to stay for the next hub."""
        parts = self._parts
        if parts is None:
            return
        if not self.starts_over:
            (self.config.state / "hub.json").unlink(missing_ok=True)
        parts.hub.post(Draining())
        await parts.launchers.close(keep=keep_replicas)
        parts.links.drop_all("the hub stops")
        parts.hub.close()
        await parts.tasks.close()
        await parts.webhooks.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await asyncio.to_thread(parts.store.close)
        await asyncio.to_thread(parts.logs.close)
        if self.socket is not None:
            self.socket.unlink(missing_ok=True)
            if not keep_replicas and self.socket.parent != self.config.state:
                shutil.rmtree(self.socket.parent, ignore_errors=True)
        self._parts = None
        if self.purge:
            shutil.rmtree(self.config.state, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # Somebody else's process: the number was used again; the idle limit ends the hub then.
    return True


def _recorded(row: Row) -> Recorded:
    fact = unpack_hub_fact(row.kind, row.data) if row.kind in HUB_KINDS else unpack_fact(row.kind, row.data)
    return Recorded(row.position, row.stream, row.seq, row.at_ms, fact)


def _settings(config: HubConfig, cores: float, memory: int) -> Settings:
    return Settings(
        grace_ms=int(config.grace_s * 1000),
        launch_ms=int(config.launch_s * 1000),
        launch_tries=config.launch_tries,
        ttl_s=900.0 if config.local and "ttl_s" not in config.model_fields_set else config.ttl_s,
        local=config.local,
        regular_slots=config.regular_slots or max(8, int(4 * cores)),
        ahead_us=config.ahead_us,
        cache_memory=memory // 2,
        launchers=config.launcher_names,
        most_starting=max(25, int(8 * measure().cpu)),  # Of the machine, whatever replicas are told to share.
    )


def _welcome(config: HubConfig) -> dict[str, Any]:
    return {
        "started_after_ms": config.started_after_ms,
        "heartbeat_s": config.heartbeat_s,
        "term_after_s": config.term_after_s,
        "kill_after_s": config.kill_after_s,
        "orphan_after_s": config.orphan_after_s,
    }


def _unsendable(hub: Hub, command: c.SendCalls, why: str) -> None:
    """Inputs that cannot be read any more: the calls fail, instead of waiting for ever."""
    log.error("calls cannot be sent", execution=command.execution, node=command.node, why=why)
    hub.post(Unsendable(command.replica, command.execution, command.node, tuple(command.items), why))


def _revoked(links: ReplicaLinks, invite: Invite) -> None:
    links.drop_invited(invite.name, f"the invitation of {invite.name} was revoked")
