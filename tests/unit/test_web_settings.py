"""What may be written in a web bot's settings."""

import pytest
from pydantic import ValidationError

from hermesd.address import AdapterKey, Address
from hermesd.ports import AdapterPlugin, Listen
from hermesd_web import plugin
from hermesd_web.place import Place
from hermesd_web.settings import WebSettings


def settings(**values: object) -> WebSettings:
    return WebSettings.model_validate({"platform": "web", "bot_id": "local", **values})


def test_the_shortest_entry_works_and_is_private() -> None:
    """Platform and name are enough: loopback, one room, and the holder of the token may talk and administer."""
    made = settings()
    assert made.listen == "127.0.0.1:8600"
    assert made.places == (Place("home"),)
    assert (made.access.allow, made.access.admins) == (("local",), ("local",))


def test_written_access_wins() -> None:
    """An operator's own access block replaces the default as a whole."""
    assert settings(access={"allow": []}).access.admins == ()


@pytest.mark.parametrize("listen", ["0.0.0.0:8600", "192.168.1.4:8600", "[::]:8600"])
def test_other_machines_need_a_token(listen: str) -> None:
    """API-08: an address others can reach is refused without a token, and the message says what to write."""
    with pytest.raises(ValidationError, match=r"`token` must be set.*HERMESD_WEB_TOKEN"):
        settings(listen=listen)
    assert settings(listen=listen, token="${env:HERMESD_WEB_TOKEN}").token is not None


@pytest.mark.parametrize("listen", ["localhost:8600", "127.0.0.1:0", "[::1]:8600", "127.3.2.1:80"])
def test_loopback_needs_none(listen: str) -> None:
    """Every spelling of this machine alone is accepted."""
    assert Listen.parse(settings(listen=listen).listen).loopback


@pytest.mark.parametrize(
    "listen", ["8600", "127.0.0.1", "example.org:80", "127.0.0.1:65536", "127.0.0.1:-1", "::1:80", "127.0.0.1:８６"]
)
def test_an_unclear_address_is_an_error(listen: str) -> None:
    """Anything but IP:PORT is refused with an example."""
    with pytest.raises(ValidationError, match=r"expected IP:PORT, for example 127\.0\.0\.1:8600"):
        settings(listen=listen)


def test_a_literal_token_is_refused_and_not_repeated() -> None:
    """A secret written into the file is refused without showing it."""
    with pytest.raises(ValidationError) as caught:
        settings(token="hunter2-hunter2-hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [{"allowed_hosts": ["http://x"]}, {"allowed_hosts": ["x:80"]}, {"rooms": [""]}, {"rooms": ["a\nb"]}, {"rum": 1}],
)
def test_other_mistakes_are_errors(values: dict[str, object]) -> None:
    """Hosts with scheme or port, empty or two-line rooms, and unknown keys are refused."""
    with pytest.raises(ValidationError):
        settings(**values)


def test_rooms_are_written_as_in_addresses() -> None:
    """`room:thread`, percent-encoded where needed, is the same place as in a route."""
    made = settings(rooms=["dev", "dev:plans", "a%3Ab"])
    assert made.places == (Place("dev"), Place("dev", "plans"), Place("a:b"))
    key = AdapterKey("web", "local")
    assert made.places[1].address(key) == Address.parse("web/local:dev:plans")


def test_the_plugin_is_one() -> None:
    """The entry point's object has what the port asks for."""
    found: AdapterPlugin = plugin
    assert (found.platform, found.settings_model) == ("web", WebSettings)
