"""The logs of all containers of a node, as ``pods/log`` gives them (core/v1 PodLogOptions)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from isthmus.lab.node.log_files import ContainerLog, LogReader, RunFiles, first_place, place_of_last, runs
from isthmus.lab.node.log_lines import Shown
from isthmus.lab.pod_logs import LogRequest

KEPT_RUNS = 2


class LogStore:
    """Logs by pod uid and container: ``<root>/<uid>/logs/<container>``. The API server reads logs through it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[tuple[str, str], ContainerLog] = {}
        self._previous: set[tuple[str, str]] = set()

    def begin(self, uid: str, container: str, run: int) -> ContainerLog:
        """The log of a new run; runs older than the previous one are deleted. The caller closes it."""
        for files in runs(self._directory(uid, container)):
            if files.run <= run - KEPT_RUNS:
                files.delete()
        self._previous.discard((uid, container))
        log = self._open[(uid, container)] = ContainerLog(RunFiles(self._directory(uid, container), run))
        return log

    def set_aside(self, uid: str, container: str) -> None:
        """The last run is the previous one already: the container waits for its next."""
        self._previous.add((uid, container))

    def forget(self, uid: str) -> None:
        """The pod is gone, and its files are somebody else's to delete."""
        self._open = {key: log for key, log in self._open.items() if key[0] != uid}
        self._previous = {key for key in self._previous if key[0] != uid}

    def _directory(self, uid: str, container: str) -> Path:
        return self._root / uid / "logs" / container

    async def open(self, wanted: LogRequest) -> AsyncIterator[bytes]:
        """The lines of the last run of a container, or of the one before it. Raises LookupError if there is none."""
        key = (wanted.uid, wanted.container)
        found = runs(self._directory(*key))
        back = 2 if wanted.previous and key not in self._previous else 1
        if len(found) < back:
            which = "previous terminated container" if wanted.previous else "container"
            raise LookupError(f'{which} "{wanted.container}" in pod "{wanted.namespace}/{wanted.pod}" not found')
        log = self._open.get(key)
        writer = log if log is not None and log.files == found[-back] else None
        return read_log(found[-back], wanted, writer=writer)


async def read_log(files: RunFiles, wanted: LogRequest, *, writer: ContainerLog | None) -> AsyncIterator[bytes]:
    """A log from its beginning (or its last ``tail_lines``), and then as it grows as long as its writer is open."""
    shown = Shown(timestamps=wanted.timestamps, since=wanted.since)
    try:
        reader = await asyncio.to_thread(_reader, files, wanted.tail_lines)
    except FileNotFoundError:  # two more runs have begun since it was asked for
        return
    try:
        while True:
            finished = writer is None or writer.closed
            while data := reader.read():
                if text := shown.of(data):
                    yield text
                await asyncio.sleep(0)
            if finished or not wanted.follow or wanted.previous or writer is None:
                break
            await writer.wait_grown()
    finally:
        reader.close()


def _reader(files: RunFiles, tail_lines: int | None) -> LogReader:
    """At the place to begin with, looked for again if that file was deleted meanwhile.

    Raises FileNotFoundError if all of them were.
    """
    while True:
        place = first_place(files) if tail_lines is None else place_of_last(files, tail_lines)
        try:
            return LogReader(files, place)
        except FileNotFoundError:
            continue
