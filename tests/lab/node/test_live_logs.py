"""``kubectl logs`` with its options, of containers that write more than one file holds."""

import os
import signal
from datetime import UTC, datetime

import pytest
from tests.lab.machine import eventually
from tests.lab.node.live import SCRATCH, Pods, wait_for
from tests.lab.workloads import shell

from isthmus.lab.node.log_files import FILE_BYTES, KEPT_FILES

pytestmark = [pytest.mark.slow, pytest.mark.kubectl]

LINES = 120_000
WRITES = f"seq -f '%06.0f {'x' * 193}' {LINES}; until [ -e /w/end ]; do sleep 0.02; done; echo end"
"""More than two files of log lines."""


def numbers(text: str) -> list[int]:
    return [int(line[:6]) for line in text.splitlines() if line != "end"]


def test_across_rotations(pods: Pods) -> None:
    """A follower and later readers get every line once, though the log is in several files."""
    pods.run("talks", shell(f"until [ -e /w/go ]; do sleep 0.02; done; {WRITES}", volumeMounts=[SCRATCH]))
    pods.shows("talks", "1/1", "READY")
    with pods.cluster.start_kubectl("-n", pods.namespace, "logs", "-f", "talks") as following:
        (pods.folder("talks") / "go").touch()
        assert following.stdout is not None
        followed = "".join(following.stdout.readline() for _ in range(LINES))
        assert numbers(followed) == list(range(1, LINES + 1))
        files = list((pods.folder("talks").parent.parent / "logs" / "c").iterdir())
        assert 3 <= len(files) <= KEPT_FILES
        assert all(file.stat().st_size <= FILE_BYTES for file in files)
        assert pods.kubectl("logs", "talks") == followed
        tail = LINES // 2  # begins in a file before the last
        assert numbers(pods.kubectl("logs", "talks", f"--tail={tail}")) == list(range(LINES - tail + 1, LINES + 1))
        assert pods.kubectl("logs", "talks", "--limit-bytes=300") == followed[:300]
        (pods.folder("talks") / "end").touch()
        assert following.stdout.readline() == "end\n"
        pods.kubectl("delete", "pod", "talks")


def test_of_several_pods(pods: Pods) -> None:
    """``logs -l`` prints the last ten lines of each pod that is selected, and of no other."""
    for name, tier in (("a", "front"), ("b", "front"), ("c", "back")):
        pods.run(name, shell(f"seq -f {name}%g 12; exec sleep 1000"))
        pods.kubectl("label", "pod", name, f"tier={tier}")
    for name in "abc":
        wait_for(f"{name}12", lambda: pods.kubectl("logs", name).split())  # noqa: B023  # called in this round
    last = "".join(f"{name}{line}\n" for name in "ab" for line in range(3, 13))
    assert pods.kubectl("logs", "-l", "tier=front") == last


def test_since(pods: Pods) -> None:
    """Lines since a moment, and with their times."""
    script = "echo one; until [ -e /w/go ]; do sleep 0.02; done; echo two; exec sleep 1000"
    pods.run("talks", shell(script, volumeMounts=[SCRATCH]))
    eventually(lambda: pods.kubectl("logs", "talks") == "one\n")
    stamped = pods.kubectl("logs", "talks", "--timestamps").split()
    assert stamped[1] == "one"
    second = datetime.fromisoformat(stamped[0])
    assert abs((datetime.now(UTC) - second).total_seconds()) < 60
    eventually(lambda: datetime.now(UTC).replace(microsecond=0) > second)
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    (pods.folder("talks") / "go").touch()
    eventually(lambda: pods.kubectl("logs", "talks") == "one\ntwo\n")
    assert pods.kubectl("logs", "talks", f"--since-time={since}") == "two\n"
    assert pods.kubectl("logs", "talks", "--since=1h") == "one\ntwo\n"


def test_previous(pods: Pods) -> None:
    """The run before this one; while a container waits for its next, that is the last one."""
    pods.run("twice", shell("echo run $$$$; trap 'exit 1' TERM; while true; do sleep 0.02; done"))

    def said(name: str) -> str:
        """Its log, empty while it has none."""
        return pods.cluster.try_kubectl("-n", pods.namespace, "logs", name).stdout

    eventually(lambda: said("twice"))
    nothing = pods.cluster.try_kubectl("-n", pods.namespace, "logs", "twice", "--previous")
    assert 'previous terminated container "c" in pod' in nothing.stderr
    first = pods.kubectl("logs", "twice")
    os.kill(int(first.split()[1]), signal.SIGTERM)
    eventually(lambda: pods.status("twice")["restartCount"] == 1 and said("twice") not in ("", first))
    assert pods.kubectl("logs", "twice", "--previous") == first
    pods.run("crashes", shell("echo run; until [ -e /w/go ]; do sleep 0.02; done; exit 1", volumeMounts=[SCRATCH]))
    eventually(lambda: said("crashes") == "run\n")
    (pods.folder("crashes") / "go").touch()
    pods.shows("crashes", "CrashLoopBackOff")
    assert pods.kubectl("logs", "crashes", "--previous") == "run\n"
