"""A scriptable OpenAI-compatible model server for tests, benches and trying things without a provider."""

from hermesd.testing.openai.script import Reply, Seen
from hermesd.testing.openai.server import MODELS, FakeOpenAI

__all__ = ["MODELS", "FakeOpenAI", "Reply", "Seen"]
