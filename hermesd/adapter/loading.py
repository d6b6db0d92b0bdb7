"""Which platforms are installed: adapters are found by entry point, a third party's like our own."""

from collections.abc import Collection, Mapping
from importlib.metadata import EntryPoint, entry_points

from hermesd.errors import OperatorError
from hermesd.ports import AdapterPlugin

GROUP = "hermesd.adapters"


def installed() -> Mapping[str, EntryPoint]:
    """Every installed adapter by its platform, not loaded. Raises OperatorError when two claim one platform."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise OperatorError(
                f"two adapters for the platform {point.name!r}: {other.value} and {point.value}",
                hint="uninstall one of the two packages",
            )
    return found


def plugins(only: Collection[str] | None = None) -> Mapping[str, AdapterPlugin]:
    """The plugins by platform, loaded; with `only`, just these. Raises OperatorError that names what is broken."""
    points = installed()
    if missing := sorted(set(only or ()) - points.keys()):
        known = ", ".join(sorted(points)) or "none"
        raise OperatorError(
            f"no adapter is installed for {', '.join(missing)}",
            hint=f"installed: {known}; install the package that brings {GROUP} {missing[0]}",
        )
    return {name: _load(point) for name, point in sorted(points.items()) if only is None or name in only}


def _load(point: EntryPoint) -> AdapterPlugin:
    try:
        plugin = point.load()
        if plugin.platform != point.name:
            raise TypeError(f"it says its platform is {plugin.platform!r}")
        _ = plugin.settings_model, plugin.build
    except Exception as error:
        raise OperatorError(
            f"the adapter {point.name} ({point.value}) cannot be loaded: {type(error).__name__}: {error}",
            hint="reinstall its package, or take it out",
        ) from error
    return plugin  # type: ignore[no-any-return]  # an entry point is untyped; its three members were looked at
