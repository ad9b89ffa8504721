"""From the command line to a configuration that may be used: one way for `--check`, the start and every reload."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatewayd.access.scopes import check_scope
from gatewayd.agents.graph.functions import find_function
from gatewayd.agents.python import GROUP, PythonAgents
from gatewayd.config.files import ConfigFile, read_config
from gatewayd.config.loader import Loaded, Overrides, load
from gatewayd.config.section import Section
from gatewayd.core.clock import Clock
from gatewayd.core.disk import Disk
from gatewayd.daemon.certificates import judged
from gatewayd.daemon.options import Options
from gatewayd.plugins import installed, load_group
from gatewayd.providers import offline

_NO_FILE = ConfigFile(b"", "gateway.yaml", Path("/"), world_readable=False)


class Configuration:
    """Reads the files that this daemon was started with; plugins are looked up once."""

    def __init__(self, options: Options, disk: Disk, clock: Clock) -> None:
        self._options = options
        self._disk = disk
        self._clock = clock
        self.installed = installed()
        self.python_agents = PythonAgents(load_group(GROUP, self.installed))
        self._adapters: dict[str, Callable[[], Any]] = load_group("gatewayd.channels", self.installed)
        self._tools = frozenset(load_group("gatewayd.tools", self.installed))

    def read(self) -> Loaded:
        """What the files say now; raises `ConfigRefused` with every problem."""
        options = self._options
        file = _NO_FILE
        if options.config is not None:
            file = read_config(options.config, self._disk, uid=os.geteuid(), name=options.config_name)
        agents = None
        if options.agents is not None:
            agents = read_config(options.agents, self._disk, uid=os.geteuid())
        credentials = options.environ.get("CREDENTIALS_DIRECTORY")
        loaded = load(
            file.text,
            name=file.name,
            folder=file.folder,
            world_readable=file.world_readable,
            settings_for=self._settings_for,
            environ=options.environ,
            read_file=self._disk.read,
            stat_file=self._disk.stat,
            credentials_dir=Path(credentials) if credentials else None,
            overrides=Overrides(
                host=options.host,
                port=options.port,
                agents_text=agents.text if agents is not None else None,
                agents_name=agents.name if agents is not None else "",
            ),
            known_tools=self._tools,
            known_models=offline.names(),
            known_platforms=frozenset(self._adapters),
            check_scope=check_scope,
            check_class=self.python_agents.make,
            check_function=find_function,
        )
        return judged(loaded, file.name, self._clock.now())

    def _settings_for(self, platform: str) -> type[Section] | None:
        """The keys of a platform's adapter, which is imported only when a channel names it."""
        factory = self._adapters.get(platform)
        if factory is None:
            return None
        settings: type[Section] = factory().Settings
        return settings
