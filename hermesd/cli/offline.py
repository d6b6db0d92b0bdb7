"""What can be said without a running daemon: from the configuration file and the profile homes alone."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hermesd.adapter import loading
from hermesd.address import Address
from hermesd.agent.factory import REHEARSAL
from hermesd.agent.settings import ModelSettings
from hermesd.cli import missing, show
from hermesd.cli.place import Place
from hermesd.errors import Problem, UserError
from hermesd.profile.home import survey
from hermesd.profile.load import Blueprint, load
from hermesd.settings import Environment, Loaded, Settings
from hermesd.settings import load as load_settings


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the configuration and everything it names."""

    #: None when the file is refused
    settings: Settings | None
    #: of the configuration file
    problems: tuple[Problem, ...]
    #: of its bots: tokens that are referred to and not there
    secret_problems: tuple[Problem, ...]
    #: by name
    profiles: tuple[Blueprint, ...]
    #: of the profiles: each keeps only itself from running
    profile_problems: tuple[Problem, ...]

    @property
    def refused(self) -> bool:
        """Whether the daemon would not start with this file."""
        return self.settings is None or any(problem.level == "error" for problem in self.problems)

    @property
    def everything(self) -> tuple[Problem, ...]:
        """All problems: the file's own first."""
        return (*sorted((*self.problems, *self.secret_problems)), *sorted(self.profile_problems))


def read(place: Place) -> Reading:
    """Load the configuration and look at every profile. Raises OperatorError for an adapter that cannot be loaded."""
    loaded = _load(place)
    known = loaded.settings
    folder = place.state / (known.profiles_dir if known is not None else Path("profiles"))
    # a folder that is not there at all is a problem of the file that names it
    homes, problems = survey(folder) if folder.is_dir() or not loaded.problems else ((), ())
    blueprints = tuple(load(home, ModelSettings.model_validate) for home in homes)
    found = (*problems, *(problem for blueprint in blueprints for problem in faults(blueprint)))
    secret = place.environment.secrets(place.config).read
    absent = tuple(missing.of_bots(known, place.config, secret)) if known is not None else ()
    return Reading(known, loaded.problems, absent, blueprints, found)


def _load(place: Place) -> Loaded:
    # the file says where profiles are below the state directory, and --state says where that is
    environment = Environment.read(config=place.config, state=place.state)
    return load_settings(place.config, env=environment, plugins=loading.plugins())


def faults(blueprint: Blueprint) -> tuple[Problem, ...]:
    """What is wrong with one profile, a missing model key included."""
    return (*blueprint.problems, *missing.of_profile(blueprint))


def settings(place: Place) -> Settings:
    """The configuration. Raises ConfigError with everything that is wrong with it."""
    return _load(place).required()


def routes(place: Place) -> list[dict[str, Any]]:
    """The routes of the file, as the daemon would list them."""
    return [
        {"match": route.label, "profile": route.profile, "role": route.role, "name": route.name, "where": route.where}
        for route in settings(place).routes
    ]


def explain(place: Place, text: str, user: str | None) -> dict[str, Any]:
    """Why this file would send that address where it does. Raises UserError for what is no address."""
    known = settings(place)
    platform = text.partition(":")[0]
    bots = [bot.bot_id for bot in known.bots if bot.platform == platform]
    address = Address.parse(text, default_bot=bots[0] if len(bots) == 1 else None)
    found = known.routes.resolve(address, user=user)
    considered = known.routes.explain(address, user=user)
    return {"profile": found.profile, "role": found.role, "why": found.why, "considered": considered}


def profiles(place: Place) -> list[dict[str, Any]]:
    """Every home, whether it can run, and why not."""
    return [_row(blueprint) for blueprint in read(place).profiles]


def profile(place: Place, name: str) -> dict[str, Any]:
    """One profile, without the values of its secrets. Raises UserError for an unknown name."""
    for blueprint in read(place).profiles:
        if blueprint.home.name == name:
            return _row(blueprint) | {
                "workspace": str(blueprint.home.workspace),
                "toolsets": blueprint.settings.toolsets if blueprint.settings is not None else None,
                "secrets": sorted(blueprint.secrets),
                "notes": list(blueprint.notes),
            }
    raise UserError(f"there is no profile {name!r}", hint="`hermesd profiles list` shows them")


def _row(blueprint: Blueprint) -> dict[str, Any]:
    model = blueprint.settings.model if blueprint.settings is not None else None
    found = faults(blueprint)
    return {
        "name": blueprint.home.name,
        "state": "broken" if blueprint.settings is None else "ok",
        "model": _label(model) if blueprint.settings is not None else "",
        "home": str(blueprint.home.path),
        "reason": _reason(found[0], blueprint.home.path) if found else "",
    }


def _label(model: object) -> str:
    return model.label if isinstance(model, ModelSettings) else REHEARSAL.label


def _reason(problem: Problem, home: Path) -> str:
    """`config.yaml:1:19: model: …`: the place within the home, which is said beside it."""
    file = Path(problem.file)
    return show.trouble(
        replace(problem, file=str(file.relative_to(home)) if file.is_relative_to(home) else problem.file)
    )
