"""Who may ask the web chat's API, decided without a socket."""

from dataclasses import dataclass

import pytest

from hermesd.ports import Listen
from hermesd_web.gate import Gate, allowed_hosts, host_name, same_origin

TOKEN = "a-token-nobody-guesses-0123456789"
HOSTS = allowed_hosts(Listen.parse("127.0.0.1:8600"), ("chat.example.org",))


@dataclass
class Hands:
    """A clock moved by hand."""

    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def gate(clock: Hands | None = None) -> Gate:
    return Gate(TOKEN, HOSTS, clock or Hands())


def headers(**more: str) -> dict[str, str]:
    made = {"host": "127.0.0.1:8600", "authorization": f"Bearer {TOKEN}"}
    return made | {name.replace("_", "-"): value for name, value in more.items()}


def test_the_holder_of_the_token_passes() -> None:
    """The right token from our own page is let in, whatever the case of the scheme."""
    assert gate().judge(headers(), "127.0.0.1") == "ok"
    assert gate().judge(headers(authorization=f"bearer {TOKEN}"), "127.0.0.1") == "ok"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8600",
        "",
        "[::2]:8600",
        "0.0.0.0:8600",
        "127.0.0.1@evil",
    ],
)
def test_a_foreign_host_name_is_refused(host: str) -> None:
    """API-02: a name pointed at this machine by somebody else reaches neither page nor API, token or not."""
    assert gate().judge(headers(host=host), "127.0.0.1") == "host"
    assert gate().judge_page({"host": host}) == "host"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8600", "[::1]:8600", "chat.example.org:443", "127.0.0.1:9000"]
)
def test_our_own_host_names_are_accepted(host: str) -> None:
    """Loopback and configured names work through any forwarded port."""
    assert gate().judge(headers(host=host), "127.0.0.1") == "ok"


@pytest.mark.parametrize(
    ("origin", "fine"),
    [
        ("http://127.0.0.1:8600", True),
        ("https://127.0.0.1:8600", True),
        ("http://localhost:8600", False),
        ("http://127.0.0.1:8601", False),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
        ("http://127.0.0.1:8600.evil.example", False),
    ],
)
def test_only_our_own_origin_may_call(origin: str, fine: bool) -> None:
    """API-02, API-03: a page from elsewhere is refused even if it had the token."""
    assert (gate().judge(headers(origin=origin), "127.0.0.1") == "ok") is fine


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_a_browser_that_says_cross_site_is_believed(site: str) -> None:
    """Sec-Fetch-Site from elsewhere is refused although no Origin came along."""
    assert not same_origin({"host": "127.0.0.1:8600", "sec-fetch-site": site})


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \udcff", f"Bearer {TOKEN} x"],
)
def test_any_other_token_is_refused(authorization: str) -> None:
    """API-04: absent, shortened, lengthened and undecodable tokens are all just wrong."""
    assert gate().judge(headers(authorization=authorization), "127.0.0.1") == "token"


def test_guessing_is_throttled_and_forgiven() -> None:
    """API-04: after ten wrong tokens a client is not even compared any more until time passes; others are."""
    clock = Hands()
    door = gate(clock)
    verdicts = [door.judge(headers(authorization=f"Bearer {n}"), "10.0.0.9") for n in range(12)]
    assert verdicts == ["token"] * 10 + ["throttled"] * 2
    assert door.judge(headers(), "10.0.0.9") == "throttled"
    assert door.judge(headers(), "127.0.0.1") == "ok"
    clock.seconds += 3.1
    assert door.judge(headers(), "10.0.0.9") == "ok"


def test_many_guessers_cost_bounded_memory() -> None:
    """Ten thousand addresses with wrong tokens leave at most a thousand-odd behind."""
    door = gate()
    for n in range(10_000):
        door.judge(headers(authorization="Bearer x"), f"c{n}")
    assert len(door._tries) <= 1024


def test_the_gate_keeps_no_token() -> None:
    """The token itself is nowhere in the gate's memory."""
    door = gate()
    assert TOKEN not in repr([getattr(door, name) for name in vars(door)])


def test_a_wildcard_address_is_no_host_name() -> None:
    """Listening everywhere does not make every name ours."""
    assert Listen.parse("0.0.0.0:8600").host not in allowed_hosts(Listen.parse("0.0.0.0:8600"), ())
    assert host_name("[::1]:80") == "::1"
