"""The file with the mesh's roots."""

from pathlib import Path

from structlog.testing import capture_logs
from tests.ca.serving import RED
from tests.identity.corpus import NOW

from isthmus.gateway.root_file import RootFile
from isthmus.identity import Authority, TrustBundle

FIRST, SECOND = (Authority.self_signed(RED, now=NOW).root_cert_pem for _ in range(2))


class Followed:
    """A file, what follows it, and what that has published."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.published: list[bytes] = []
        self.root = RootFile(path, RED, self.publish)

    def publish(self, bundle: TrustBundle) -> None:
        self.published.append(bundle.pem())

    async def after(self, content: bytes) -> list[bytes]:
        """What has been published after the file had this content for three looks."""
        self.path.write_bytes(content)
        for _ in range(3):
            await self.root.look()
        return self.published


async def test_each_new_bundle_is_published_once(tmp_path: Path) -> None:
    """A file that appears, is rewritten with the same roots, and is replaced."""
    followed = Followed(tmp_path / "root-cert.pem")
    assert await followed.after(FIRST) == [FIRST]
    assert await followed.after(b"# the same\n" + FIRST) == [FIRST]
    assert await followed.after(FIRST + SECOND) == [FIRST, FIRST + SECOND]


async def test_what_is_no_bundle_changes_nothing_and_is_logged_once(tmp_path: Path) -> None:
    """A missing or damaged file leaves what was known; a good one heals it."""
    followed = Followed(tmp_path / "root-cert.pem")
    with capture_logs() as logs:
        await followed.root.look()
        await followed.root.look()
        assert await followed.after(FIRST) == [FIRST]
        assert await followed.after(FIRST[:-40]) == [FIRST]
        assert await followed.after(b"") == [FIRST]
        assert await followed.after(SECOND) == [FIRST, SECOND]
    reasons = [line["reason"] for line in logs if "reason" in line]
    assert [reason.partition(": ")[2] or reason for reason in reasons] == [
        "No such file or directory",
        "1 PEM block(s) do not end as they begin: the text is cut or damaged",
        "the text is empty: expected a PEM certificate",
    ]


async def test_the_good_old_content_is_read_again_after_a_damaged_one(tmp_path: Path) -> None:
    """Coming back to what is known is no change, and no error."""
    followed = Followed(tmp_path / "root-cert.pem")
    with capture_logs() as logs:
        for content in (FIRST, b"x", FIRST, b"x"):
            assert await followed.after(content) == [FIRST]
    assert len([line for line in logs if "reason" in line]) == 2
