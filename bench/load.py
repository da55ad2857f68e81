"""A bounded load of HTTP requests: by wrk where it is installed, else by a small client of its own."""

import asyncio
import re
import shutil
from contextlib import suppress
from typing import Final

CONNECTIONS: Final = 16
PATH: Final = "/ratings/1"
_UNITS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}


async def ask_for(seconds: int, address: str, port: int, *, keep: bool) -> dict[str, float]:
    """Ask as fast as the answers come; ``keep``: on kept connections, else on a new one for each request.

    Returns ``requests_per_s``, and ``p50_ms`` and ``p99_ms`` of a request.
    """
    wrk = shutil.which("wrk")
    return await (_by_wrk(wrk, seconds, address, port, keep) if wrk else _by_hand(seconds, address, port, keep))


async def _by_wrk(wrk: str, seconds: int, address: str, port: int, keep: bool) -> dict[str, float]:
    header = () if keep else ("-H", "Connection: close")
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *header, f"http://{address}:{port}{PATH}"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said = (await process.communicate())[0].decode()
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    if process.returncode or rate is None or "Non-2xx" in said:
        raise RuntimeError(f"wrk did not measure {address}:{port}: {said}")
    return {"requests_per_s": float(rate[1]), "p50_ms": _latency(said, "50%"), "p99_ms": _latency(said, "99%")}


def _latency(said: str, which: str) -> float:
    found = re.search(rf"{which}\s+([0-9.]+)(us|ms|s)", said)
    return float(found[1]) * _UNITS[found[2]] if found else float("nan")


async def _by_hand(seconds: int, address: str, port: int, keep: bool) -> dict[str, float]:
    loop, took = asyncio.get_running_loop(), list[float]()
    end = loop.time() + seconds
    request = f"GET {PATH} HTTP/1.1\r\nHost: load\r\n{'' if keep else 'Connection: close' + chr(13) + chr(10)}\r\n"

    async def client() -> None:
        while loop.time() < end:
            began = loop.time()
            reader, writer = await asyncio.open_connection(address, port)
            with suppress(asyncio.IncompleteReadError):
                while loop.time() < end:
                    writer.write(request.encode())
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                    await reader.readexactly(int(length[1]) if length else 0)
                    took.append(loop.time() - began)
                    if not keep:
                        break
                    began = loop.time()
            writer.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(client())
    ordered = sorted(took)
    middle, late = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return {"requests_per_s": len(ordered) / seconds, "p50_ms": middle * 1000, "p99_ms": late * 1000}
