"""Who may talk and who administers. Two lists, immutable ids, nobody by default. Pure."""

from dataclasses import dataclass

from hermesd.ports import AccessSettings


@dataclass(frozen=True, slots=True)
class Rights:
    """What somebody may administer. An admin of a bot is one of every profile that answers through it."""

    #: the bot, the routes, the daemon
    bot: bool = False
    #: the profile that answers here
    profile: bool = False

    def cover(self, needed: "Rights") -> bool:
        """Whether these are enough for what needs those."""
        return (self.bot or not needed.bot) and (self.profile or not needed.profile)


NO_RIGHTS = Rights()
BOT_ADMIN = Rights(bot=True, profile=True)
PROFILE_ADMIN = Rights(profile=True)


def rights_of(user_id: str, bot: AccessSettings, profile: AccessSettings | None) -> Rights:
    """Admin of the bot, or of the profile alone where it names admins of its own."""
    if user_id in bot.admins:
        return Rights(bot=True, profile=True)
    return Rights(profile=profile is not None and user_id in profile.admins)


def may_talk(user_id: str, bot: AccessSettings, profile: AccessSettings | None, *, permitted: bool) -> bool:
    """On the bot's list (or let in by pairing), and on the profile's where the profile has one: it narrows only."""
    if not (bot.allow == "everyone" or user_id in bot.allow or user_id in bot.admins or permitted):
        return False
    if profile is None or profile.allow == "everyone" or not profile.allow:
        return True
    return user_id in profile.allow or user_id in profile.admins
