"""The HTTP listener as a part of the daemon: open exactly while a door behind it is, and webhooks that come and go."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gatewayd.config.loader import Loaded
from gatewayd.config.model import GatewayConfig
from gatewayd.core.errors import ReloadFailed
from gatewayd.http.webhooks.routes import Hook, table_of
from gatewayd.operations import WebhookReport

if TYPE_CHECKING:
    from gatewayd.http.server import HttpServer
    from gatewayd.http.webhooks.door import WebhookDoor

log = logging.getLogger("gatewayd.http")


class Web:
    """A `Service`, and an owner in a reload."""

    name = "http"

    def __init__(
        self, *, server: "Callable[[GatewayConfig], HttpServer]", webhooks: "Callable[[], WebhookDoor]"
    ) -> None:
        self._make = server
        self._make_webhooks = webhooks
        self._open = False
        self._draining = False
        self.server: HttpServer | None = None
        self.webhooks: WebhookDoor | None = None

    @property
    def port(self) -> int:
        """The one that is listened on; 0 while nothing is."""
        return self.server.port if self.server is not None else 0

    @property
    def reports(self) -> list[WebhookReport]:
        """Every webhook that is configured."""
        return self.webhooks.report() if self.webhooks is not None else []

    def plan(self, new: Loaded) -> "Opening":
        """What this configuration changes."""
        return Opening(self, new)

    async def start(self) -> None:
        """Listen, if there is anything to serve. Raises `OSError` that says why not."""
        self._open = True
        if self.server is not None:
            await self.server.start()

    async def drain(self) -> None:
        """Answer 503 from now on; what was taken over stays."""
        self._draining = True
        if self.server is not None:
            await self.server.drain()

    async def stop(self) -> None:
        """Close what is open."""
        if self.server is not None:
            await self.server.stop()

    async def make(self, config: GatewayConfig, hooks: Mapping[str, Hook]) -> "HttpServer":
        """A listener, which listens if the doors of this gateway are open. Raises `ReloadFailed`.

        It serves at once: nothing after it can refuse the reload, and a sender must not find its path missing.
        """
        server = self._make(config)
        if self.webhooks is None:
            self.webhooks = self._make_webhooks()
        self.webhooks.use(hooks)
        server.mount(self.webhooks.find)
        if self._open:
            try:
                await server.start()
            except OSError as error:
                self.webhooks.use({})
                raise ReloadFailed(str(error.strerror or error)) from error
            if self._draining:
                await server.drain()
        return server


class Opening:
    """A `Change`: the listener, if it comes or goes, and the paths of the webhooks."""

    def __init__(self, web: Web, new: Loaded) -> None:
        self._web = web
        self._config = new.config
        self._hooks = table_of(new.config, new.unavailable)
        self._made: HttpServer | None = None
        self._left: HttpServer | None = None

    async def prepare(self) -> None:
        if self._config.opens_http and self._web.server is None:
            self._made = await self._web.make(self._config, self._hooks)

    def commit(self) -> None:
        web = self._web
        if self._made is not None:
            web.server, self._made = self._made, None
        if not self._config.opens_http:
            self._left, web.server = web.server, None
        if web.webhooks is not None:
            web.webhooks.use(self._hooks)

    async def retire(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            await left.drain()
            await left.stop()
            log.info("listener_closed")

    async def abandon(self) -> None:
        made, self._made = self._made, None
        if made is not None and self._web.webhooks is not None:
            self._web.webhooks.use({})
            await made.stop()
