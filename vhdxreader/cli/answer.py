"""What `--json` and `--jsonl` print: one object with the same frame for every command, also when it fails.

`@answers("info", "filename", …)` gives a command both options; `asked_for_json()` is what to print by, None for text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click

import vhdxreader

F = TypeVar("F", bound=Callable[..., Any])

_META = "vhdxreader.answer"
_JSON_HELP = "Print one JSON object instead of text, also on failure."
_LINES_HELP = "Print JSON, one object a line."


class Answer:
    """The JSON that a command prints: its schema is `vhdxreader/<name>/1`, all `keys` of which are always there."""

    def __init__(self, name: str, keys: Sequence[str], *, lines: bool) -> None:
        self.lines = lines
        self._name = name
        self._keys = keys
        self._list_is_open = False
        self._several_count: int | None = None  # of images that were answered, where one object holds them all

    def give(self, facts: Mapping[str, Any], error: Exception | None = None) -> None:
        """Print the answer; with an `error`, what of it is known."""
        answer = {**_frame(self._name), **dict.fromkeys(self._keys), **facts, "error": _problem(error)}
        assert len(answer) == len(self._keys) + 3, set(answer) ^ set(self._keys)
        self._print(answer)

    def give_list(self, facts: Mapping[str, Any], key: str, items: Iterable[Mapping[str, Any]], item_name: str) -> None:
        """Print the answer with a list under `key`, piece by piece: it may be too long to be kept. With `--jsonl`, only
        the items, whose schema is `vhdxreader/<item_name>/1`."""
        if self.lines:
            for item in items:
                _write_item({"schema": f"vhdxreader/{item_name}/1", **item})
                _write("\n")
            return
        _write(f'{json.dumps({**_frame(self._name), **facts})[:-1]}, "{key}": [')
        self._list_is_open = True
        separator = "\n"
        for item in items:
            _write(separator)
            _write_item(item)
            separator = ",\n"
        self._close_list(None)

    def fail(self, error: Exception, filename: str | None) -> None:
        """Print that there is no answer, or not all of it."""
        if self._list_is_open:
            self._close_list(error)
        elif "filename" in self._keys:
            self.give({"filename": vhdxreader.plain(filename)}, error)
        else:
            self.give({}, error)

    def begin_several(self) -> None:
        """Let the answers that follow be parts of one object, unless each has a line of its own."""
        if not self.lines:
            self._several_count = 0
            _write(f'{json.dumps(_frame("images"))[:-1]}, "images": [')

    def end_several(self) -> None:
        """End what `begin_several` began."""
        if self._several_count is not None:
            _write('\n], "error": null}\n')
            self._several_count = None

    def _print(self, answer: Mapping[str, Any]) -> None:
        if self._several_count is not None:
            _write((",\n" if self._several_count else "\n") + json.dumps(answer))
            self._several_count += 1
        else:
            _write(json.dumps(answer, indent=None if self.lines else 2) + "\n")

    def _close_list(self, error: Exception | None) -> None:
        self._list_is_open = False
        _write(f'\n], "error": {json.dumps(_problem(error))}}}\n')


def answers(name: str, *keys: str) -> Callable[[F], F]:
    """Give a command `--json` and `--jsonl`; all `keys` of its schema `vhdxreader/<name>/1`, but those of the frame."""

    def decorate(command: F) -> F:
        def remember(context: click.Context, option: click.Parameter, wanted: bool) -> None:
            if wanted:
                context.meta[_META] = Answer(name, keys, lines=option.name == "jsonl")

        for flag, text in (("--jsonl", _LINES_HELP), ("--json", _JSON_HELP)):
            command = click.option(flag, is_flag=True, help=text, expose_value=False, callback=remember)(command)
        return command

    return decorate


def asked_for_json() -> Answer | None:
    """What the running command's JSON is printed by; None where text is wanted."""
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(_META)


def _frame(name: str) -> dict[str, Any]:
    return {"schema": f"vhdxreader/{name}/1", "version": vhdxreader.__version__}


def _problem(error: Exception | None) -> dict[str, Any] | None:
    return None if error is None else vhdxreader.problem_to_dict(error)


def _write_item(item: Mapping[str, Any]) -> None:
    """Write one item of a list; what it has to iterate over piece by piece, too: a log entry holds up to millions of
    descriptors."""
    lazy = {key: value for key, value in item.items() if isinstance(value, Iterator)}
    text = json.dumps({key: value for key, value in item.items() if key not in lazy})
    _write(text[:-1] if lazy else text)
    for key, values in lazy.items():
        _write(f', "{key}": [')
        for i, value in enumerate(values):
            _write((", " if i else "") + json.dumps(value))
        _write("]")
    _write("}" if lazy else "")


def _write(text: str) -> None:
    sys.stdout.write(text)
