"""The probe of one pod: served to the pilot from the first certificate and roots on, with those of the moment."""

import asyncio
import ssl

from isthmus.gateway.settings import GatewaySettings
from isthmus.identity import TrustBundle, X509Svid
from isthmus.mutual_tls import ReplaceableContext, server_context, unverifying_context
from isthmus.probe import OwnPod, Prober, Resolver, serve_agent
from isthmus.probe.prober import ALPN


class AgentServer:
    """Told of certificates and roots as they come; ``run`` serves."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._svid: X509Svid | None = None
        self._roots: TrustBundle | None = None
        self._context: ReplaceableContext | None = None
        self._ready = asyncio.Event()

    def set_certificate(self, svid: X509Svid) -> None:
        """Prove who we are with this one from now on."""
        self._svid = svid
        self._changed()

    def set_roots(self, roots: TrustBundle) -> None:
        """Admit a pilot under these roots from now on."""
        self._roots = roots
        self._changed()

    async def run(self) -> None:
        """Serve until cancelled; raises OSError: the port cannot be listened on."""
        await self._ready.wait()
        assert self._context is not None  # noqa: S101  (what ready means)
        settings = self._settings
        dns = settings.dns_server
        resolver = Resolver(None if dns is None else (dns.address, dns.port))
        pod = OwnPod(name=settings.pod_name, address=settings.pod_ip, resolver=resolver, context=self._own_context)
        async with serve_agent(
            Prober(pod),
            self._context.listening,
            host=settings.pod_ip,
            port=settings.agent_port,
            admitted=settings.pilot_identities,
        ):
            await asyncio.Event().wait()

    def _changed(self) -> None:
        if self._svid is None or self._roots is None:
            return
        context = server_context(self._svid, client_roots=self._roots)
        if self._context is None:
            self._context = ReplaceableContext(context)
        else:
            self._context.replace(context)
        self._ready.set()

    def _own_context(self) -> ssl.SSLContext:
        assert self._svid is not None  # noqa: S101  (nobody is served before)
        return unverifying_context(self._svid, alpn=ALPN)
