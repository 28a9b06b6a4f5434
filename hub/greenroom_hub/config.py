"""Every setting of the hub, with its unit and the reason for its default. From arguments or `GREENROOM_HUB_*`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class HubConfig(BaseSettings):
    """The hub's settings; frozen once it runs."""

    model_config = SettingsConfigDict(env_prefix="GREENROOM_HUB_", frozen=True, extra="forbid")

    state: Path
    """Folder for the log, blobs, token and sockets; made with mode 0700."""
    host: str = "127.0.0.1"
    """Where to listen. Beyond loopback only with TLS in front and `allow_remote`."""
    port: int = Field(default=0, ge=0, le=65535)
    """0 lets the system choose one; the choice is in `hub.json`."""
    allow_remote: bool = False
    """Whether `host` may be reachable from other machines without TLS of the hub's own."""
    tls_cert: Path | None = None
    """PEM file with the certificate's chain: the hub speaks TLS on its port."""
    tls_key: Path | None = None
    """PEM file with its key; None where it stands in `tls_cert`."""
    allow_hosts: str = ""
    """`name,name`: more names by which requests may call the hub, such as that of a proxy in front of it."""
    url: str = ""
    """Where others reach the hub, for links and invitations; empty for the address that it listens on."""
    launcher: str = "process"
    """`process,docker,external`: what starts replicas. The first one does for environments that name none."""
    replica_image: str = "greenroom-replica"
    """Local image for containers of environments that name none, and for image specs that it satisfies."""
    images: str = ""
    """`PATTERN=IMAGE,PATTERN=IMAGE`: local images that stand for names in programs."""
    mounts: str = ""
    """`/here:/there:ro,VOLUME:/there`: what all containers are given beside the hub's blobs."""
    docker_host: str = ""
    """`unix:///path` or `tcp://host:port` of the engine; empty for DOCKER_HOST, then the usual socket."""
    docker_hub: str = ""
    """URL that containers dial; empty to mount a socket of the hub's (and its blobs, read-only) into them."""
    docker_user: str = ""
    """`uid:gid` of containers; empty for the hub's own, or 65532:65532 where that is root."""
    docker_network: str = ""
    """Network of containers; empty for the engine's default, `none` for nothing but the hub."""
    pids_limit: int = Field(default=4096, ge=0)
    """Processes and threads that one replica's user code may have; a fork bomb ends there. 0 for no limit."""
    local: bool = False
    """A person's own hub, started by the first `greenroom run`: requests are cut to the machine, replicas stay 15
    minutes, and it ends when nothing has used it for `idle_exit_s`."""
    installed: bool = False
    """Whether the system starts it (`greenroom hub install`): then it does not end when nothing uses it."""
    ttl_s: float = Field(default=90.0, gt=0)
    """Seconds that an unused environment without a `ttl_seconds` of its own stays; 900 on a local hub."""
    owner: int = Field(default=0, ge=0)
    """The process for which a hub was started that shall not outlive it (`--hub ephemeral`); 0 for none."""
    idle_exit_s: float = Field(default=3600.0, gt=0)
    """Seconds after which a local hub without executions and replicas ends."""
    grace_s: float = Field(default=10.0, gt=0)
    """Seconds that a replica may be without a connection before its calls run elsewhere: a short cut of the network
    costs nothing, a dead machine is noticed soon."""
    launch_s: float = Field(default=60.0, gt=0)
    """Seconds from a replica's launch to its hello; covers a slow import of the runtime, not an image pull."""
    launch_tries: int = Field(default=5, ge=1)
    """Failed launches in a row after which waiting calls fail with the launcher's words."""
    started_after_ms: int = Field(default=250, ge=0)
    """A call that runs longer than this is told as started; shorter ones only when they end."""
    term_after_s: float = Field(default=10.0, gt=0)
    """Seconds that a call which looks at `cancelled` gets before SIGTERM."""
    kill_after_s: float = Field(default=10.0, gt=0)
    """Seconds from SIGTERM to SIGKILL, which costs the runner its cache."""
    heartbeat_s: float = Field(default=3.0, gt=0)
    """Seconds of silence after which a replica pings."""
    orphan_after_s: float = Field(default=55.0, gt=0)
    """Seconds that replicas stay without a hub, once their calls have ended; nothing is left after a minute."""
    regular_slots: int = Field(default=0, ge=0)
    """Calls of regular tasks at a time where their resources do not say; 0 for four a core, at least 8."""
    ahead_us: int = Field(default=8000, ge=0)
    """Microseconds of measured work that a replica is sent ahead, to hide the way to the hub and back."""
    capacity: str = ""
    """`cpu=8,mem=32Gi,gpu=1`: what replicas may use together; empty for what the machine and its control group give."""
    keep_days: float = Field(default=14.0, gt=0)
    """Days that ended executions are kept on a local hub."""
    keep_bytes: int = Field(default=10 * 2**30, gt=0)
    """Bytes of blobs and log above which a local hub drops its oldest executions."""
    keep_every_s: float = Field(default=3600.0, gt=0)
    """Seconds between two looks of a local hub at what it keeps; the first one comes a minute after its start."""
    blob_spare_s: float = Field(default=60.0, ge=0)
    """Seconds since a client or a replica last wanted a blob in which cleaning leaves it: a submission that needs it
    may be on its way. Longer where clients upload over slow networks."""
    max_body: int = Field(default=64 * 2**20, gt=0)
    """Bytes of the largest request; bigger values travel as blobs."""
    log_format: str = Field(default="console", pattern="^(console|json)$")
    """`console` for people, `json` for what collects logs."""

    @property
    def launcher_names(self) -> tuple[str, ...]:
        """The launchers, in their order."""
        return tuple(dict.fromkeys(_listed(self.launcher))) or ("process",)

    @property
    def host_names(self) -> tuple[str, ...]:
        """Names by which requests may call the hub, beside its own."""
        named = urlsplit(self.url).hostname
        return (*_listed(self.allow_hosts), *([named] if named else []))

    @property
    def mount_texts(self) -> tuple[str, ...]:
        """The mounts, one by one."""
        return _listed(self.mounts)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))
