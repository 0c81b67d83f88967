"""A group of commands whose modules are imported when they are needed."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from sidecar.config.problems import nearest


class LazyGroup(click.Group):
    """Finds a command in the module registered for it, under the attribute ``command``."""

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = dict(modules)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self._modules)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in self._modules:
            return None
        command = import_module(self._modules[cmd_name]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self._modules and not name.startswith("-"):
            meant = nearest(name, self._modules)
            shown = ((each, self.get_command(ctx, each)) for each in self._modules)
            known = ", ".join(each for each, found in shown if found and not found.hidden)
            hint = f"Did you mean '{meant}'?" if meant else f"The commands are {known}."
            ctx.fail(f"No such command '{name[:40]}'. {hint}")
        return super().resolve_command(ctx, args)
