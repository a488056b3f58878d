"""Engines: ways to one and the same sum of clipped gradients, that differ in time and memory."""

from collections.abc import Callable

from torch import nn

from client_app.site import EngineName
from client_app.training.engines.book_keeping import BookKeeping
from client_app.training.engines.engine import Engine, Losses
from client_app.training.engines.functional import Functional
from client_app.training.engines.ghost import Ghost
from client_app.training.engines.hooks import Hooks

# The first is the choice where nothing speaks for another.
ENGINES: dict[EngineName, Callable[[nn.Module, float, Losses], Engine]] = {
    "book_keeping": BookKeeping,
    "functional": Functional,
    "hooks": Hooks,
    "ghost": Ghost,
}
