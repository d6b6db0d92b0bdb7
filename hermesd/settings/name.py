"""What names may look like, so that they are safe as folder names and never look alike by accident."""

import re

#: a profile's folder, as in the Hermes layout
PROFILE_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
ROLE_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"

_PROFILE = re.compile(PROFILE_NAME)


def is_profile_name(text: str) -> bool:
    """Whether a profile may be called so: 1 to 64 of `a-z 0-9 _ -`, the first a letter or digit."""
    return _PROFILE.fullmatch(text) is not None
