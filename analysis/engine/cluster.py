"""The workers: a local cluster with one worker per device and its own certificate, or a running dask cluster."""

import contextlib
import datetime
import json
import logging
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil

from analysis.engine.worker import TOPIC
from analysis.errors import UserError
from analysis.machine import process
from analysis.machine.process import allotted_memory
from cache import environment

if TYPE_CHECKING:
    from distributed.security import Security


def temporary_security() -> "Security":
    """Return TLS credentials for one run, like dask's `Security.temporary()`, but valid at any date: after the clock is
    set back, a replacement worker could otherwise not connect.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from distributed.security import Security

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sinkscope")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("sinkscope")]), critical=False)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(1970, 1, 1))
        .not_valid_after(datetime.datetime(9999, 12, 31))
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    roles = {
        f"tls_{role}_{part}": text
        for role in ("client", "scheduler", "worker")
        for part, text in (("key", private), ("cert", public))
    }
    return Security(require_encryption=True, tls_ca_file=public, **roles)


CONNECT_TIMEOUT = 10  # seconds
ANSWER_TIMEOUT = 20  # seconds in which a scheduler must list its workers
CLOSING_WAIT = 1.0  # seconds in which local workers may answer before they are killed
PULSE_INTERVAL = 2.0  # seconds between checks of heartbeats
_MEMORY_TOPIC = "worker-restart-memory"  # dask's own: a nanny ended a worker that used too much memory


@dataclass(frozen=True)
class Place:
    """Worker that runs one job at a time. device: its display name. workers: number of workers on its machine. ending:
    it takes no more jobs.
    """

    address: str
    device: str
    workers: int
    ending: bool = False


class Cluster:
    """Connection to workers, local or not.

    client: dask's. remote: the workers outlive this server. answers: True if the scheduler answered last time. on_event
    receives messages from jobs, as dictionaries.
    """

    def __init__(self, client: Any, local: Any, on_event: Callable[[dict[str, Any]], None]) -> None:
        self.client, self._local = client, local
        self.remote, self.answers = local is None, True
        self.too_big: set[str] = set()  # addresses of workers ended for using too much memory
        self._stale = True
        self._places: dict[str, Place] = {}
        self._silence: dict[str, tuple[float, float]] = {}  # last heartbeat at the scheduler, seconds since
        self._calls: list[threading.Thread] = []  # those that wait for an answer, and some that have it
        self._closing = threading.Event()
        threading.Thread(target=self._pulse, name="sinkscope-pulse", daemon=True).start()
        client.subscribe_topic(TOPIC, lambda event: on_event(json.loads(event[1])))
        client.subscribe_topic("all", self._on_change)
        client.subscribe_topic(_MEMORY_TOPIC, lambda event: self.too_big.add(event[1]["worker"]))
        # Subscriptions reach the scheduler in this order: once it answers this one, it knows all of them.
        self._subscribed, self._answer_topic = threading.Event(), f"{TOPIC}-{secrets.token_hex(8)}"
        client.subscribe_topic(self._answer_topic, lambda event: self._subscribed.set())

    def _on_change(self, event: tuple[float, Any]) -> None:
        if isinstance(event[1], dict) and event[1].get("action") in ("add-worker", "remove-worker"):
            self._stale = True

    @property
    def connected(self) -> bool:
        """True while the scheduler is connected."""
        return bool(self.client.status == "running")

    def places(self) -> dict[str, Place]:
        """Return the workers by address; the last known ones if the scheduler does not answer."""
        if self._stale and self.answers:
            self._stale = False  # a worker that comes or goes from here on causes another query
            try:
                workers = self._workers()
            except TimeoutError:
                self._stale = True
                return self._places
            hosts = Counter(_host(address) for address in workers)
            self._places = {
                address: Place(
                    address, _device(address, facts["name"]), hosts[_host(address)], facts["status"].startswith("clos")
                )
                for address, facts in workers.items()
            }
        return self._places

    @property
    def known(self) -> dict[str, Place]:
        """The last known workers by address, without asking the scheduler."""
        return self._places

    def _workers(self) -> dict[str, dict[str, Any]]:
        """Return the scheduler's facts on its workers, by address. Raises TimeoutError."""
        try:
            identity = self.client.sync(self.client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_TIMEOUT)
        except TimeoutError:
            self.answers = False
            raise
        self.answers = True
        workers: dict[str, dict[str, Any]] = identity["workers"]
        return workers

    def silence(self, address: str) -> float:
        """Return the seconds since a worker's last heartbeat at the scheduler, to within PULSE_INTERVAL."""
        return self._silence.get(address, (0.0, 0.0))[1]

    def _pulse(self) -> None:
        """Track heartbeats outside the queue's thread, which a hanging scheduler must not block."""
        before = time.monotonic()
        while not self._closing.wait(PULSE_INTERVAL):
            with contextlib.suppress(Exception):
                workers = self._workers()
                now = time.monotonic()
                # Time in which this process or the scheduler was suspended is not a worker's silence.
                passed, before = min(now - before, 2 * PULSE_INTERVAL), now
                silence = {}
                for address, facts in workers.items():
                    heard, since = self._silence.get(address, (None, 0.0))
                    silence[address] = (facts["last_seen"], since + passed if facts["last_seen"] == heard else 0.0)
                self._silence = silence

    def without(self, address: str) -> None:
        """Drop a dead worker from the list at once; dask may not have noticed yet."""
        self._places = {known: place for known, place in self._places.items() if known != address}

    def look_again(self) -> None:
        """Refresh the list of workers at the next call of `places`."""
        self._stale = True

    def tell(self, address: str, function: Callable[..., Any], *arguments: Any) -> threading.Thread:
        """Call a function in a worker without waiting: a hanging worker would not answer."""
        return self._call(self.client.run, function, *arguments, workers=[address], on_error="ignore")

    def abandon(self, address: str, run: str, future: Any, request_cancel: Callable[[str], Any]) -> None:
        """Make sure a cancelled job on a running cluster stops after this server exits."""
        self.tell(address, request_cancel, run).join(timeout=2)
        self._quietly(future.cancel, force=True)
        self._quietly(self.client.unpublish_dataset, run)

    def kill(self, address: str) -> None:
        """Kill a worker process; its nanny starts a new one."""
        if self._local is None:
            self._call(self.client.restart_workers, [address], timeout=10, raise_for_error=False)
            return
        for nanny in self._local.workers.values():
            if nanny.worker_address == address and nanny.pid:
                _kill(nanny.pid)

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> threading.Thread:
        """Call a function in a thread of its own."""
        thread = threading.Thread(target=self._quietly, args=(function, *arguments), kwargs=options, daemon=True)
        self._calls = [*filter(threading.Thread.is_alive, self._calls), thread]
        thread.start()
        return thread

    @staticmethod
    def _quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        # Worker, scheduler or server may vanish during the call; whoever waits for the job notices.
        with contextlib.suppress(Exception):
            function(*arguments, **options)

    def said(self) -> list[dict[str, Any]]:
        """Return recent messages from jobs, as far as the scheduler remembers, oldest first; later ones go to
        `on_event`.

        Raises TimeoutError if the scheduler does not confirm the subscription, without which messages would be lost.
        """
        waited_until = time.monotonic() + CONNECT_TIMEOUT
        while not self._subscribed.is_set():
            if time.monotonic() > waited_until:
                raise TimeoutError(f"The scheduler took up no subscription within {CONNECT_TIMEOUT} seconds.")
            self.client.log_event(self._answer_topic, True)
            self._subscribed.wait(0.1)
        return [json.loads(text) for _, text in self.client.get_events(TOPIC)]

    def worker_pids(self) -> list[int]:
        """Process ids of local workers."""
        nannies = self._local.workers.values() if self._local is not None else ()
        return [nanny.pid for nanny in nannies if nanny.pid]

    def close(self) -> None:
        """Close the connection and stop local workers, once they have answered what was asked of them or have had
        CLOSING_WAIT.
        """
        self._closing.set()
        if self._local is None:
            self._disconnect()
            return
        waited_until = time.monotonic() + CLOSING_WAIT
        for call in self._calls:
            call.join(timeout=max(0.0, waited_until - time.monotonic()))
        with _unheard("distributed.core", "distributed.scheduler"):  # what is asked of a worker fails as that is killed
            self._end_workers()
            self._disconnect()

    def _disconnect(self) -> None:
        with contextlib.suppress(Exception):
            self.client.unsubscribe_topic(
                "all"
            )  # or the scheduler complains that nobody listens when this client leaves
        for closing in (self.client, self._local):
            if closing is not None:
                # The worker may be gone already, and nothing is left to save.
                with contextlib.suppress(Exception):
                    closing.close(timeout=5)

    def _end_workers(self) -> None:
        """Kill local workers: they hold nothing worth waiting for, and on a busy machine one may outlive its scheduler
        and complain on the terminal.
        """
        for nanny in self._local.workers.values():
            nanny.close_gracefully(reason="sinkscope-close")  # so that it starts no other worker
        for pid in self.worker_pids():
            _kill(pid)


@contextlib.contextmanager
def _unheard(*names: str) -> Iterator[None]:
    """Keep errors of these loggers off the terminal."""
    levels = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def _kill(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()


def _host(address: str) -> str:
    return urlsplit(address).hostname or address


def _device(address: str, name: Any) -> str:
    return str(name) if str(name) != address else urlsplit(address).netloc


# --- a running cluster ------------------------------------------------------------------------------------------


def check_scheduler(address: str) -> str:
    """Return a warning about this address, or "". Raises UserError for an unusable one."""
    row = environment.VARIABLES["SINKSCOPE_SCHEDULER"]
    try:
        row.read(address)
    except ValueError as error:
        raise UserError(f"{row.name} is '{address}'. Expected {row.expected}.") from error
    if urlsplit(address).scheme == "tls":
        return ""
    return (
        f"The scheduler at {address} is reached without TLS: whoever reaches that port can run code on the workers "
        "and read what travels. Use it on a network of your own only, or set up TLS (docs/cluster.md)."
    )


def connect(address: str, on_event: Callable[[dict[str, Any]], None]) -> Cluster:
    """Connect to a running scheduler. dask's own configuration names the TLS files. Raises OSError."""
    from distributed import Client

    from analysis.engine import steady_clock  # noqa: F401  for this process's timers

    client = Client(address, set_as_default=False, timeout=CONNECT_TIMEOUT)
    return Cluster(client, None, on_event)


# --- a local cluster --------------------------------------------------------------------------------------------


def local_devices() -> list[str]:
    """Return the devices of each local worker: `cpu`, or numbers of CUDA devices such as `0` or `0,1`.

    SINKSCOPE_DEVICES lists them, separated by spaces; by default one worker per CUDA device, or one for the CPU.
    """
    return environment.value("SINKSCOPE_DEVICES") or _cuda_devices() or ["cpu"]


def _cuda_devices() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [] if visible.strip() in ("", "-1") else [part.strip() for part in visible.split(",")]
    return process.nvidia_smi("index")


def start_local(
    on_event: Callable[[dict[str, Any]], None], devices: list[str] | None, memory_limit: int | None
) -> Cluster:
    """One worker process a device on the loopback interface, talking TLS with certificates made for this run.

    memory_limit: bytes of main memory a worker may take; SINKSCOPE_MEMORY_LIMIT, else its share of the machine's.
    """
    with process.importing("distributed"):
        import dask
        from distributed import Client, Nanny, Scheduler
        from distributed.deploy.spec import SpecCluster

        from analysis.engine import steady_clock

    devices = devices or local_devices()
    limit = memory_limit or environment.value("SINKSCOPE_MEMORY_LIMIT") or allotted_memory() // len(devices)
    dask.config.set(
        {
            # dask must not retry a job that ended its worker: it would end the next one, too.
            "distributed.scheduler.allowed-failures": 0,
            # On a busy machine a worker may take long to return; dask would give up its nanny for good.
            "distributed.deploy.lost-worker-timeout": "1000 days",
            "distributed.worker.memory.terminate": 0.95,
            # Pages of logs, jobs and call stacks, which every user of the machine could read.
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            # What feeds those pages: a fiftieth of a CPU in each process that waits, and 100 stacks read per second.
            "distributed.worker.profile.enabled": False,
            "distributed.admin.tick.interval": "1s",
            "distributed.admin.system-monitor.interval": "5s",
            # The user's settings are in this process's environment, which workers inherit.
            "distributed.nanny.pre-spawn-environ": process.variables(len(devices)),
        }
    )
    common = {"host": "127.0.0.1", "protocol": "tls://", "security": temporary_security()}
    names = [device if device == "cpu" else f"GPU {device}" for device in devices]
    preload = [*dask.config.get("distributed.worker.preload"), steady_clock.__name__]
    workers = {}
    for index, (name, device) in enumerate(zip(names, devices, strict=True)):
        name = name if names.count(name) == 1 else f"{name} #{index + 1}"
        # A lone worker sees whatever torch finds; several keep to their own devices.
        env = {} if devices == ["cpu"] else {"CUDA_VISIBLE_DEVICES": "" if device == "cpu" else device}
        options = {"nthreads": 1, "memory_limit": limit, "env": env, "preload": preload, **common}
        options["silence_logs"] = "ERROR"
        workers[name] = {"cls": Nanny, "options": options}
    scheduler = {"cls": Scheduler, "options": {"dashboard": False, "dashboard_address": "127.0.0.1:0", **common}}
    cluster = SpecCluster(
        scheduler=scheduler, workers=workers, security=common["security"], silence_logs="ERROR", name="sinkscope"
    )
    return Cluster(Client(cluster, set_as_default=False), cluster, on_event)
