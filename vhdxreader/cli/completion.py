"""`vhdxreader completion`: what a shell needs to complete names, options and files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .grouped import GroupedCommand


@click.command("completion", cls=GroupedCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that lets SHELL complete commands, options, their values and files with the Tab key.

    \b
        bash: vhdxreader completion bash > ~/.local/share/bash-completion/completions/vhdxreader
        zsh:  vhdxreader completion zsh > ~/.zfunc/_vhdxreader   (~/.zfunc in $fpath before compinit)
        fish: vhdxreader completion fish > ~/.config/fish/completions/vhdxreader.fish

    For this session only: eval "$(vhdxreader completion bash)".
    """  # noqa: D301  # click wants this sign itself
    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(context.find_root().command, {}, "vhdxreader", "_VHDXREADER_COMPLETE").source())
