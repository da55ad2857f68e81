"""Who a service account token belongs to: asked of the Kubernetes API with a TokenReview."""

import re

from lightkube.models.authentication_v1 import TokenReviewSpec, TokenReviewStatus
from lightkube.resources.authentication_v1 import TokenReview

from isthmus.ca import ServiceAccountIdentity, TokenRefusedError, TokenReviewUnavailableError
from isthmus.kube import Client
from isthmus.kube.errors import KubeError, Refused, translated

AUDIENCE = "istio-ca"
_SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:(?P<namespace>[a-z0-9-]+):(?P<name>[a-z0-9.-]+)")


class TokenReviews:
    """The ``Authenticator`` of the certificate service."""

    def __init__(self, client: Client) -> None:
        """Ask through this client."""
        self._client = client

    async def authenticate(self, token: str) -> ServiceAccountIdentity:
        """The service account that the token was issued to, for our audience.

        Raises:
            TokenRefusedError: the API server does not vouch for it.
            TokenReviewUnavailableError: the API server could not be asked.
        """
        review = TokenReview(spec=TokenReviewSpec(token=token, audiences=[AUDIENCE]))
        try:
            with translated("review a service account token"):
                answer = await self._client.api.create(review)
        except Refused as error:
            raise TokenRefusedError(str(error)) from error
        except KubeError as error:
            raise TokenReviewUnavailableError(str(error)) from error
        return identity_of(answer.status or TokenReviewStatus())


def identity_of(status: TokenReviewStatus) -> ServiceAccountIdentity:
    """Read the API server's answer; fails closed on anything but an account for our audience.

    Raises:
        TokenRefusedError: not authenticated, for another audience, or no service account.
    """
    if not status.authenticated or status.error:
        raise TokenRefusedError(status.error or "the API server does not know it")
    if AUDIENCE not in (status.audiences or ()):
        raise TokenRefusedError(f"it is not for audience {AUDIENCE}")
    username = (status.user.username if status.user else None) or ""
    account = _SERVICE_ACCOUNT.fullmatch(username)
    if account is None:
        raise TokenRefusedError(f"it belongs to {username!r}, not to a service account")
    return ServiceAccountIdentity(account["namespace"], account["name"])
