"""The page of the manual that lists all settings."""

from __future__ import annotations

import inspect

from pydantic.fields import FieldInfo

from avtomatika.config.config import Config
from avtomatika.config.setting import Group, allowed_text, default_text

_HEAD = """\
# Configuration

`Config()` reads these environment variables. Each is an attribute of the same name, can be given as a keyword argument
(which wins over the environment) and assigned later; it is checked every time. A wrong value raises `ConfigError`,
which names the variable, the value and what is allowed. Names are case-sensitive; an empty variable counts as set.

```python
from avtomatika.config import Config

config = Config(API_PORT=0)
config.JOB_MAX_RETRIES = 5
```

While `CLIENT_TOKEN` or `GLOBAL_WORKER_TOKEN` is a public default, the engine listens on 127.0.0.1 unless `API_HOST` is
set; set to anything but loopback, the engine refuses to start until you choose tokens of your own (or say
`ALLOW_DEFAULT_TOKENS=true`).

This page is made from the code: `python -c "from avtomatika.config import reference; print(reference(), end='')"`.
"""

_COLUMNS = """\
| Variable | Default | Allowed | Meaning |
|---|---|---|---|"""


def reference() -> str:
    """Returns the reference page of all settings, as Markdown."""
    # As of their fields, pydantic reads the bases of a class from the last one on.
    groups = [base for base in reversed(Config.__bases__) if issubclass(base, Group)]
    return "\n".join([_HEAD, *map(_section, groups)])


def _section(group: type[Group]) -> str:
    """Returns the settings of a group under what they are about."""
    rows = (_row(name, info) for name, info in group.model_fields.items())
    return "\n".join([f"## {inspect.getdoc(group)}".rstrip("."), "", _COLUMNS, *rows, ""])


def _row(name: str, info: FieldInfo) -> str:
    """Returns the setting's line of the reference table."""
    return f"| `{name}` | {default_text(info)} | {allowed_text(info)} | {info.description} |"
