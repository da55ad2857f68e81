"""Who a token belongs to, as the API server says. Source: Kubernetes API, TokenReviewStatus."""

import pytest
from lightkube.models.authentication_v1 import TokenReviewStatus, UserInfo

from isthmus.ca import ServiceAccountIdentity, TokenRefusedError
from isthmus.pilot.tokens import identity_of

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
