"""Batches on a Dask cluster, through the `concurrent.futures.Executor` that `distributed` offers.

    runner --submit--> ClusterExecutor --> Client.get_executor() --> scheduler --> workers (run_batch)

Dask replaces workers that die and gives their batches to others. What is added here: words for what can go wrong, and the
promise of equal bits, which holds only where workers run the same code and the same numerical libraries as this process; each
worker compares before its first batch, also one that joins later.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from typing import Any, ParamSpec, TypeVar

from jscclink.errors import InputError

from .environment import environment, unlike
from .executors import WorkerError

P = ParamSpec("P")
T = TypeVar("T")

LOCAL = "local"
_CONNECT_TIMEOUT_S = 10
# batches on their way per worker: one computed, one to go on with
_PER_WORKER = 2
# how often a local cluster is asked whether it has all its workers
_LOOK_EVERY_S = 1.0
_NOWHERE = "no Dask scheduler at {} ({}); start one with `dask scheduler` and give its address, tcp://HOST:8786, or 'local'"


class UnlikeWorkerError(RuntimeError):
    """A worker's code or libraries are not those of the process that hands out the batches."""


@contextmanager
def dask_executor(where: Any, workers: int | None = None) -> Iterator[tuple[Executor, int]]:
    """An executor for `runner.run` on a Dask cluster, and how many batches to hand out at a time.

        with dask_executor("tcp://node7:8786") as (executor, in_flight):
            run(study, folder, executor=executor, in_flight=in_flight)

    Parameters
    ----------
    where : str, Cluster or Client
        A scheduler's address; `"local"` for worker processes of this machine that end with the block; or a cluster object
        (dask-jobqueue's `SLURMCluster`, dask-cuda's `LocalCUDACluster`, ...), which is left as it is.
    workers : int, optional
        Threads of workers to keep busy. Default: `"local"`: the cores of this machine; else those that are there now, which
        is too few for a cluster that is still starting.

    Raises
    ------
    InputError
        Dask is not installed, the scheduler cannot be reached, or versions or the project's code differ there.
    """
    if workers is not None and not 1 <= workers <= 2048:
        raise InputError(f"the number of workers must be from 1 to 2048; got {workers}")
    if find_spec("distributed") is None:
        raise InputError("Dask is not installed; pip install 'jscclink[dask]'")
    if where == LOCAL:
        wanted = workers or os.cpu_count() or 1
        with _local_cluster(wanted) as cluster, _kept_at(cluster, wanted), _client(cluster) as client:
            yield ClusterExecutor(client), _PER_WORKER * wanted
        return
    with _client(where) as client:
        busy = workers or sum(client.nthreads().values()) or 1
        yield ClusterExecutor(client), min(_PER_WORKER * busy, 4096)


def _local_cluster(workers: int) -> Any:
    """Worker processes of this machine, one thread each."""
    import distributed

    class Cluster(distributed.LocalCluster):
        def _update_worker_status(self, op: str, msg: Any) -> None:
            # of a worker that dies while it starts, Dask hears of its end alone; its watch of all workers would end in a
            # KeyError then, and raise it again when the cluster is closed
            if op != "remove" or msg in self.scheduler_info["workers"]:
                super()._update_worker_status(op, msg)

    # nothing here needs the dashboard; memory is left to the operating system, as it is for processes
    return Cluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0", memory_limit=0, silence_logs=logging.ERROR)


@contextmanager
def _kept_at(cluster: Any, workers: int) -> Iterator[None]:
    """Replace workers that a local cluster gave up, so that no batch waits for a worker that never comes.

    A worker that died and is not there again when Dask looks, `distributed.deploy.lost-worker-timeout` later, is dropped for
    good: on a busy machine for being slow to start, and any that died twice with bad luck. Scaling to the size that it has
    makes the cluster start what is missing.
    """
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_EVERY_S):
            cluster.scale(workers)

    watch = threading.Thread(target=look, name="jscclink-workers", daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()


@contextmanager
def _client(where: Any) -> Iterator[Any]:
    """A connection that was checked; a connection given is checked, and left open."""
    import distributed

    if isinstance(where, distributed.Client):
        _check(where)
        yield where
        return
    _reach(where)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)  # `_check` says it as an error
        try:
            client = distributed.Client(where, timeout=_CONNECT_TIMEOUT_S, set_as_default=False)
        except OSError as error:
            raise InputError(_NOWHERE.format(where, " ".join(str(error).split()))) from error
    try:
        _check(client)
        yield client
    finally:
        if client.status != "running":
            # it would tell of the lost connection in tracebacks, later, when we have told it
            logging.getLogger("distributed.client").disabled = True
        client.close(timeout=_CONNECT_TIMEOUT_S)


def _reach(where: Any) -> None:
    """A scheduler that is not there is known at once; the client would try for as long as one may take to start."""
    from distributed.comm import get_address_host_port, parse_address

    address = getattr(where, "scheduler_address", where)
    try:
        if not isinstance(address, str):
            raise ValueError("neither an address nor a cluster")
        if parse_address(address)[0] in ("tcp", "tls"):
            socket.create_connection(get_address_host_port(address, strict=True), _CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(_NOWHERE.format(where, error)) from error


def _check(client: Any) -> None:
    """Compare Dask's versions and ours, here, at the scheduler and at the workers that are there."""
    address = client.scheduler.address
    try:
        client.get_versions(check=True)
    except ValueError as error:
        raise InputError(f"versions differ on the Dask cluster at {address}; install the same ones. {error}") from error
    expected = environment()
    found = {"the scheduler": _ask(partial(client.run_on_scheduler, environment))}
    found |= {f"worker {name}": reply for name, reply in _ask(partial(client.run, environment, on_error="return")).items()}
    for name, reply in found.items():
        difference = str(reply) if isinstance(reply, Exception) else unlike(expected, reply)
        if difference:
            raise InputError(f"{name} of the Dask cluster at {address} differs: {difference}; install the same there")


def _ask(call: Callable[[], T]) -> T | Any:
    try:
        return call()
    except Exception as error:  # whatever importing our code raised over there
        return error


def call_alike(expected: Mapping[str, str], function: Callable[[], T]) -> T:
    """On a worker: call a function, if this process is like the one that asks."""
    difference = unlike(expected, environment())
    if difference:
        raise UnlikeWorkerError(difference)
    return function()


class ClusterExecutor(Executor):
    """A Dask client's executor whose trouble is that of `concurrent.futures`.

    A scheduler that is gone, or a worker that is unlike, breaks the executor (`BrokenExecutor`). A call that took several
    workers with it gets a `WorkerError`. All that the call itself raised is passed on.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._address = client.scheduler.address
        # never pure: equal calls are separate tasks
        self._executor = client.get_executor(pure=False)
        self._expected = environment()
        # not in the futures' callbacks: cycles would keep what was computed at the workers until they are collected
        self._handed_over: dict[Future[Any], Future[Any]] = {}
        # Dask blames all that a dying worker had, so what it gave up is tried again, one after the other
        self._suspects: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand over a call.

        Raises
        ------
        BrokenExecutor
            There is no connection to the scheduler any more.
        """
        if self._client.status != "running":
            raise BrokenExecutor(self._lost())
        outer: Future[T] = Future()
        outer.add_done_callback(self._cancel)
        self._start(outer, partial(fn, *args, **kwargs), suspect=False)
        return outer

    def _start(self, outer: Future[T], call: Callable[[], T], *, suspect: bool) -> None:
        if outer.cancelled():
            if suspect:
                self._next_suspect()
            return
        inner = self._executor.submit(call_alike, self._expected, call)
        self._handed_over[outer] = inner
        inner.add_done_callback(partial(self._finish, outer, call, suspect))

    def _cancel(self, outer: Future[Any]) -> None:
        inner = self._handed_over.pop(outer, None)
        if inner is not None and outer.cancelled():
            inner.cancel()

    def _finish(self, outer: Future[T], call: Callable[[], T], suspect: bool, inner: Future[T]) -> None:
        from distributed import KilledWorker

        error = None if inner.cancelled() else inner.exception()
        if isinstance(error, KilledWorker) and not suspect:
            self._suspect(partial(self._start, outer, call, suspect=True))
            return
        if suspect:
            self._next_suspect()
        if not outer.set_running_or_notify_cancel():
            return
        if inner.cancelled():  # by nobody here: the connection is gone
            outer.set_exception(BrokenExecutor(self._lost()))
        elif error is not None:
            outer.set_exception(self._in_our_words(error))
        else:
            outer.set_result(inner.result())

    def _suspect(self, start: Callable[[], None]) -> None:
        with self._lock:
            self._suspects.append(start)
            first = len(self._suspects) == 1
        if first:
            start()

    def _next_suspect(self) -> None:
        with self._lock:
            self._suspects.popleft()
            start = self._suspects[0] if self._suspects else None
        if start is not None:
            start()

    def _in_our_words(self, error: BaseException) -> BaseException:
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            tries = 2 * (error.allowed_failures + 1)
            return WorkerError(f"{tries} workers died while they had it, the last {error.last_worker.address} (out of memory?)")
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "jscclink"
        if missing or isinstance(error, UnlikeWorkerError):
            return BrokenExecutor(f"a worker of the Dask cluster at {self._address} differs: {error}; install the same there")
        return error

    def _lost(self) -> str:
        return f"no connection to the Dask scheduler at {self._address} any more; what was finished is kept: run again"

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what was handed over, or cancel it; the cluster goes on."""
        with suppress(OSError):
            self._executor.shutdown(wait=wait and not cancel_futures)
