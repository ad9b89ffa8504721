"""The grammar of the command line as completion scripts for three shells."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

PROGRAM = "gatewayctl"


@dataclass(slots=True)
class Node:
    """What may follow one command path, such as `sessions show`."""

    verbs: dict[str, str] = field(default_factory=dict)
    """Next word and its help."""
    options: dict[str, str] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)
    """What may follow an option that takes a value; empty for a value that only the user knows."""
    words: list[str] = field(default_factory=list)
    """Fixed words among the positional arguments."""


def walk(parser: argparse.ArgumentParser, path: str = "") -> dict[str, Node]:
    """All command paths; the top one is empty."""
    node = Node()
    paths = {path: node}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, child in action.choices.items():
                node.verbs[name] = helps.get(name, "")
                paths |= walk(child, f"{path} {name}".strip())
        elif action.option_strings and action.help != argparse.SUPPRESS:
            for option in action.option_strings:
                node.options[option] = (action.help or "").replace("%%", "%")
                if action.nargs != 0:
                    node.values[option] = [str(choice) for choice in action.choices or ()]
        elif action.choices:
            node.words += [str(choice) for choice in action.choices]
    return paths


def bash(paths: dict[str, Node]) -> str:
    """Walks the words typed so far to the command path, then offers what may follow."""
    steps, offers, values = [], [], []
    for path, node in paths.items():
        for verb in node.verbs:
            steps.append(f"      {_quote(f'{path} {verb}'.strip())}) path={_quote(f'{path} {verb}'.strip())} ;;")
        words = " ".join([*node.verbs, *node.words, *node.options])
        offers.append(f"    {_quote(path)}) words={_quote(words)} ;;")
        for option, choices in node.values.items():
            values.append(f"    {_quote(f'{path} {option}'.strip())}) {_values(option, choices)} ;;")
    return _BASH.format(steps="\n".join(steps), offers="\n".join(offers), values="\n".join(values))


def zsh(paths: dict[str, Node]) -> str:
    """zsh runs the script of bash through its own bridge."""
    return f"#compdef {PROGRAM}\nautoload -U +X bashcompinit && bashcompinit\n{bash(paths)}"


def fish(paths: dict[str, Node]) -> str:
    """One line for each word that may follow."""
    lines = [f"complete -c {PROGRAM} -f"]
    for path, node in paths.items():
        seen = " and ".join(f"__fish_seen_subcommand_from {word}" for word in path.split())
        known = " ".join(node.verbs)
        none = f"not __fish_seen_subcommand_from {known}" if known else ""
        here = "; and ".join(part for part in (seen.replace(" and ", "; and "), none) if part)
        for word in [*node.verbs, *node.words]:
            lines.append(f"complete -c {PROGRAM} -n {_quote(here)} -a {word} -d {_quote(node.verbs.get(word, ''))}")
        for option, text in node.options.items():
            kind = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            takes = ""
            if option in node.values:
                takes = f" -r -a {_quote(' '.join(node.values[option]))}" if node.values[option] else " -r -F"
            when = f" -n {_quote(here)}" if path else ""
            lines.append(f"complete -c {PROGRAM}{when} {kind}{takes} -d {_quote(text)}")
    return "\n".join(lines) + "\n"


def _values(option: str, choices: list[str]) -> str:
    if choices:
        return f'COMPREPLY=($(compgen -W {_quote(" ".join(choices))} -- "$cur")); return'
    if option in ("--config", "--token-file"):
        return 'COMPREPLY=($(compgen -f -- "$cur")); return'
    return "COMPREPLY=(); return"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


_BASH = """\
# Completion of gatewayctl for bash: source it, or put it into /etc/bash_completion.d.
_gatewayctl() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" last="${{COMP_WORDS[COMP_CWORD-1]}}" path="" words="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "${{path:+$path }}$word" in
{steps}
    esac
  done
  case "${{path:+$path }}$last" in
{values}
  esac
  case "$path" in
{offers}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -F _gatewayctl gatewayctl
"""
