"""LocalStack's HTTP server, on the address it was told to listen on.

LocalStack's own takes the port of `GATEWAY_LISTEN` and listens on every interface, so that anyone who can reach
the machine could run functions on it.
"""

import logging
import os

from localstack import config
from localstack.runtime.server import RuntimeServer
from localstack.runtime.server.plugins import RuntimeServerPlugin

LOG = logging.getLogger(__name__)


def _give_up(failure: object) -> None:
    # Otherwise LocalStack would go on without a port.
    LOG.error("LocalStack can't listen: %s", failure)
    os._exit(1)


class BoundServerPlugin(RuntimeServerPlugin):
    """Makes the server known as `GATEWAY_SERVER=bound`."""

    name = "bound"

    def load(self, *args: object, **kwargs: object) -> RuntimeServer:
        """Called by LocalStack at its start; importing Twisted's reactor earlier would install it."""
        from localstack.runtime.server.twisted import TwistedRuntimeServer
        from rolo.gateway import Gateway
        from rolo.serving.twisted import TwistedGateway
        from twisted.internet import endpoints, reactor

        from host_mode import routing

        routing.apply()

        class BoundServer(TwistedRuntimeServer):
            def register(
                self,
                gateway: Gateway,
                listen: list[config.HostAndPort],
                ssl_creds: tuple[str, str] | None = None,
            ) -> None:
                site = TwistedGateway(gateway)
                for address in listen:
                    endpoint = endpoints.TCP4ServerEndpoint(reactor, address.port, interface=address.host)
                    endpoint.listen(site).addErrback(_give_up)

        return BoundServer()
