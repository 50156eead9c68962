"""Target descriptions: what a machine can do, as data.

A description is a TOML file. Its keys are the fields of `Target` and of the tables below it; each
field says what it means, an unknown key is an error, and a key without a default must be given.
`load_target("npu")` finds a shipped description, `load_target("acme.toml")` reads a file.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path

from mxc.errors import BadInput, unknown
from mxc.targets.schema import Target, build

__all__ = ["Target", "load_target", "shipped_targets"]


def shipped_targets() -> tuple[str, ...]:
    """Names of the descriptions that come with mxc."""
    folder = files("mxc.targets")
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".toml")))


@cache
def load_target(name: str) -> Target:
    """The target called `name`, or the one that the file `name`, ending in `.toml`, describes.

    Raises:
        BadInput: if there is no such target, or its description breaks the schema.
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    if name not in shipped_targets():
        raise unknown("target", name, shipped_targets())
    return _parse(files("mxc.targets").joinpath(f"{name}.toml").read_text(), f"{name}.toml")


def _read(path: Path) -> Target:
    try:
        return _parse(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the target description: {error}", at=str(path)) from error


def _parse(text: str, place: str) -> Target:
    try:
        return build(Target, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"not TOML: {error}", at=place) from error
    except BadInput as error:
        raise error.within(place) from None
