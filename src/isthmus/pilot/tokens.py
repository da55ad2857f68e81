"""Who a service account token belongs to: asked of the Kubernetes API with a TokenReview."""

from lightkube.models.authentication_v1 import TokenReviewSpec, TokenReviewStatus
from lightkube.resources.authentication_v1 import TokenReview

from isthmus.ca import ServiceAccountIdentity, TokenRefusedError, TokenReviewUnavailableError
from isthmus.kube import Client
from isthmus.kube.errors import KubeError, translated

AUDIENCE = "istio-ca"
_PREFIX = "system:serviceaccount:"


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
        except KubeError as error:
            raise TokenReviewUnavailableError(str(error)) from error
        return identity_of(answer.status or TokenReviewStatus())


def identity_of(status: TokenReviewStatus) -> ServiceAccountIdentity:
    """Read the API server's answer; fails closed on anything but an account for our audience.

    Raises:
        TokenRefusedError: not authenticated, for another audience, or no service account.
    """
    if not status.authenticated:
        raise TokenRefusedError(status.error or "the API server does not know it")
    if AUDIENCE not in (status.audiences or ()):
        raise TokenRefusedError(f"it is not for audience {AUDIENCE}")
    username = (status.user.username if status.user else None) or ""
    namespace, separator, name = username.removeprefix(_PREFIX).partition(":")
    if not username.startswith(_PREFIX) or not separator or not namespace or not name:
        raise TokenRefusedError(f"it belongs to {username!r}, not to a service account")
    return ServiceAccountIdentity(namespace, name)
