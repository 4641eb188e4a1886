"""``${NAME}`` in config text: read from the environment, never printed."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

# In a flow mapping ({api_key: ${KEY}}) YAML would read the braces as its own. They are swapped for private-use
# characters, one for one so that columns stay right, and swapped back in the scalars.
_OPEN, _ESCAPED, _CLOSE = "\ue000\ue001", "\ue002\ue000\ue001", "\ue003"
_PRIVATE = re.compile("[\ue000-\ue003]")
_HELD = re.compile(f"(\ue002?)\ue000\ue001([A-Za-z0-9_]+){_CLOSE}")


def protect(text: str) -> str:
    """``text`` with its references made harmless to YAML.

    Raises:
        ValueError: the text holds the private-use characters that stand for them.
    """
    found = _PRIVATE.search(text)
    if found:
        raise ValueError(f"holds the private-use character U+{ord(found.group()):04X}, which is not allowed")
    return _REFERENCE.sub(lambda m: f"{_ESCAPED if m[1] else _OPEN}{m[2]}{_CLOSE}", text)


def restore(text: str) -> str:
    """A protected text as it was written."""
    return _HELD.sub(lambda m: f"{'$' if m[1] else ''}${{{m[2]}}}", text)


def references(text: str) -> list[str]:
    """Names of the environment variables that a protected text asks for."""
    return [name for escaped, name in _HELD.findall(text) if not escaped]


def expand(text: str, environment: Mapping[str, str]) -> str:
    """A protected text with its references filled in; ``$${`` becomes ``${``.

    Raises:
        ValueError: a variable is not set, or a reference is malformed; never holds a value.
    """
    unset = [name for name in references(text) if name not in environment]
    if unset:
        names = " and ".join(unset)
        raise ValueError(f"environment variable {names} is not set; set it, or write $${{{unset[0]}}} for the text")
    bare = _HELD.sub("", text)
    if re.search(r"(?<!\$)\$\{", bare):
        raise ValueError("has a malformed reference: write ${NAME} (letters, digits, _), or $${ for the text itself")
    return _HELD.sub(lambda m: f"${{{m[2]}}}" if m[1] else environment[m[2]], text.replace("$${", "${"))
