"""Runs one server as a process of its own, for tests that kill it: prints how to reach it, ends on SIGTERM."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import uvloop

from isthmus.lab.apiserver import ApiServer, Settings, Started


async def main() -> None:
    loop = asyncio.get_running_loop()
    started: asyncio.Future[Started] = loop.create_future()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ApiServer(Settings(Path(sys.argv[1]))).run(started))
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
        told = asdict(await started)
        del told["admin_certificate"]
        told["ca"] = told["ca"].decode()
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
