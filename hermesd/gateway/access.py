"""Who may talk and who administers. Two lists, immutable ids, nobody by default. Pure."""

from hermesd.ports import AccessSettings


def administers(user_id: str, bot: AccessSettings, profile: AccessSettings | None) -> bool:
    """Admin of the bot, or of the profile where it names admins of its own."""
    return user_id in bot.admins or (profile is not None and user_id in profile.admins)


def may_talk(user_id: str, bot: AccessSettings, profile: AccessSettings | None, *, permitted: bool) -> bool:
    """On the bot's list (or let in by pairing), and on the profile's where the profile has one: it narrows only."""
    if not (bot.allow == "everyone" or user_id in bot.allow or user_id in bot.admins or permitted):
        return False
    if profile is None or profile.allow == "everyone" or not profile.allow:
        return True
    return user_id in profile.allow or user_id in profile.admins
