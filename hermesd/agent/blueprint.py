"""What is needed to connect to one model, resolved for one profile."""

from dataclasses import dataclass, field

from hermesd.agent.provider import Provider


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A model of one profile, not connected yet. Its text form shows no key."""

    provider: Provider
    model: str
    #: "" for models that live in this process
    base_url: str
    key: str | None = field(repr=False, default=None)
    temperature: float | None = None
    max_tokens: int | None = None
    retries: int = 3

    @property
    def label(self) -> str:
        """`provider:model`, for people."""
        return f"{self.provider.name}:{self.model or 'v1'}"

    @property
    def priced(self) -> bool:
        """Whether public list prices apply: only at the provider's own address."""
        return self.provider.priced and self.base_url == self.provider.base_url
