"""Completion: what a shell needs to know to complete commands."""

import click
from click.shell_completion import get_completion_class

from toolcache.cli.call import Answer, Call
from toolcache.cli.problems import failed
from toolcache.cli.verb import verb

_WHERE = {
    "bash": 'eval "$(toolcache completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(toolcache completion zsh)"  in ~/.zshrc',
    "fish": "toolcache completion fish | source  in ~/.config/fish/config.fish",
}


@verb("completion")
@click.argument("shell", type=click.Choice(list(_WHERE)))
def completion(_call: Call, shell: str) -> Answer:
    """Complete.

    \b
    bash  eval "$(toolcache completion bash)"      in ~/.bashrc
    zsh   eval "$(toolcache completion zsh)"       in ~/.zshrc
    fish  toolcache completion fish | source       in ~/.config/fish/config.fish
    """  # noqa: D301 - a letter that click reads
    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover - click has all three
        raise failed(f"the installed click completes nothing in {shell}: install a newer one")
    script = kind(click.Group("toolcache"), {}, "toolcache", "_TOOLCACHE_COMPLETE").source()
    return Answer(
        {"shell": shell, "script": script, "install": _WHERE[shell]}, lambda screen: screen.line(script.strip())
    )
