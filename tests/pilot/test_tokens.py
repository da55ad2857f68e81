"""Who a token belongs to, as the API server says. Source: Kubernetes API, TokenReviewStatus."""

from pathlib import Path

import pytest
from lightkube.models.authentication_v1 import TokenReviewStatus, UserInfo
from tests.kube.lab import connected, lab

from isthmus.ca import ServiceAccountIdentity, TokenRefusedError, TokenReviewUnavailableError
from isthmus.kube import connect
from isthmus.pilot.tokens import TokenReviews, identity_of

GATEWAY = "system:serviceaccount:red-mesh-system:egress-green-mesh-service-account"


def status(username: str = GATEWAY, **fields: object) -> TokenReviewStatus:
    """An answer that is good but for ``fields``."""
    user = UserInfo(username=username)
    return TokenReviewStatus(**{"authenticated": True, "audiences": ["istio-ca"], "user": user, **fields})  # type: ignore[arg-type]  # a table of fields


def test_a_service_account_is_recognised() -> None:
    """A token for our audience belongs to the service account that the API server names."""
    expected = ServiceAccountIdentity("red-mesh-system", "egress-green-mesh-service-account")
    assert identity_of(status()) == expected
    assert identity_of(status(audiences=["other", "istio-ca"])) == expected


@pytest.mark.parametrize(
    "answer",
    [
        TokenReviewStatus(),
        status(authenticated=False),
        status(authenticated=None),
        status(audiences=None),
        status(audiences=[]),
        status(audiences=["kubernetes.default.svc"]),
        status(user=None),
        status(user=UserInfo()),
        status("system:admin"),
        status("system:serviceaccount:"),
        status("system:serviceaccount:red-mesh-system"),
        status("system:serviceaccount:red-mesh-system:"),
        status("system:serviceaccount::default"),
        status("system:serviceaccount:red-mesh-system:default:more"),
        status("x-system:serviceaccount:red-mesh-system:default"),
        status("red-mesh-system:default"),
        status("system:serviceaccount:red/mesh:default"),
        status("system:serviceaccount:red-mesh-system:sa/../default"),
        status(error="the webhook could not be reached"),
    ],
)
def test_everything_else_is_refused(answer: TokenReviewStatus) -> None:
    """What is not said, or said in another way, proves nobody."""
    with pytest.raises(TokenRefusedError):
        identity_of(answer)


def test_the_reason_is_told() -> None:
    """Whoever is refused learns what the API server has said."""
    with pytest.raises(TokenRefusedError, match="token has expired"):
        identity_of(status(authenticated=False, error="token has expired"))


@pytest.mark.slow
async def test_tokens_are_shown_to_the_api_server(tmp_path: Path) -> None:
    """A token that the API server has issued for our audience is good; for another audience, or forged, it is not."""
    async with connected(tmp_path) as (cluster, client):
        await cluster.kubectl("create", "serviceaccount", "gateway")
        reviews = TokenReviews(client)
        code, token = await cluster.kubectl("create", "token", "gateway", "--audience", "istio-ca")
        assert code == 0, token
        assert await reviews.authenticate(token.strip()) == ServiceAccountIdentity("default", "gateway")
        _, other = await cluster.kubectl("create", "token", "gateway")
        for refused in (other.strip(), token.strip()[:-3] + "abc", "", "not a token"):
            with pytest.raises(TokenRefusedError):
                await reviews.authenticate(refused)


@pytest.mark.slow
async def test_an_api_server_that_is_away_refuses_nobody(tmp_path: Path) -> None:
    """Whether a token is good cannot be told then: the caller shall try again."""
    async with lab(tmp_path) as cluster:
        kubeconfig = cluster.kubeconfig
    async with connect(field_manager="test", kubeconfig=kubeconfig) as client:
        with pytest.raises(TokenReviewUnavailableError):
            await TokenReviews(client).authenticate("any")
