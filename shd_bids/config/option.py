"""What a setting declares beside its type and default: its flag, help and the values it may take.

The command line is made from these declarations, so a flag and its setting cannot drift apart.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, get_type_hints

from shd_bids.errors import ConfigError


@dataclass(frozen=True)
class Option:
    """The flag, help and allowed values of one setting, as `Annotated[type, Option(...)]`."""

    help: str
    flags: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    minimum: int | float | None = None
    maximum: int | float | None = None
    metavar: str | None = None

    def check(self, value: Any, flag: str) -> None:
        """Refuse a value outside the choices or the range.

        Raises
        ------
        ConfigError
            Naming the flag, the value and what is allowed.
        """
        for entry in value if isinstance(value, tuple) else (value,):
            if self.choices and entry not in self.choices:
                allowed = ", ".join(self.choices)
                raise ConfigError(f"{flag} cannot be {entry!r}; choose from {allowed}.")
            if self.minimum is not None and not entry >= self.minimum:
                raise ConfigError(f"{flag} is {entry}; it must be at least {self.minimum}.")
            if self.maximum is not None and not entry <= self.maximum:
                raise ConfigError(f"{flag} is {entry}; it must be at most {self.maximum}.")


@dataclass(frozen=True)
class Setting:
    """One field of a section, with its type, default and declaration."""

    name: str
    kind: Any  # the type without Option, for example `float | None`
    default: Any
    option: Option

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags declared, or the field's name with dashes."""
        return self.option.flags or ("--" + self.name.replace("_", "-"),)


def options_of(section: type[Any]) -> list[Setting]:
    """List the settings of a section that have a flag, in their order."""
    hints = get_type_hints(section, include_extras=True)
    return [
        Setting(item.name, hints[item.name].__origin__, item.default, option)
        for item in dataclasses.fields(section)
        for option in getattr(hints[item.name], "__metadata__", ())
    ]


def check_options(section: Any) -> None:
    """Refuse values of a section that its options do not allow."""
    for setting in options_of(type(section)):
        value = getattr(section, setting.name)
        if value is not None:
            setting.option.check(value, setting.flags[-1])
