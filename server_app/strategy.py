"""Flower's strategies, fed only with updates that passed our checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx, FedYogi
from numpy.typing import NDArray

from federation.errors import RunError
from federation.messages import Parameters
from federation.study import StrategySpec

_ARRAYS, _WEIGHT, _KEY = "arrays", "num-examples", "trainable"


@dataclass(frozen=True)
class SiteUpdate:
    """One hospital's valid contribution to a round.

    Attributes:
        site: its name.
        weight: its declared patients.
        change: of the trainable parameters, float32 ``[trainable]``.
    """

    site: str
    weight: int
    change: Parameters


def make_strategy(spec: StrategySpec) -> FedAvg:
    """The strategy of ``flwr.serverapp.strategy`` that the study names.

    It samples no nodes: whom to ask is the study's matter, and Flower's sampling would wait without end.
    """
    strategy = _unbound(spec)
    strategy.fraction_train = 0.0
    strategy.min_train_nodes = strategy.min_available_nodes = 0
    return strategy


def _unbound(spec: StrategySpec) -> FedAvg:
    match spec.name:
        case "fedavg":
            return FedAvg()
        case "fedprox":
            return FedProx(proximal_mu=spec.proximal or 0.0)
        case "fedavgm":
            return FedAvgM(
                server_learning_rate=spec.learning_rate or 1.0, server_momentum=spec.momentum or 0.0
            )
        case "fedadam" | "fedyogi":
            adaptive = FedAdam if spec.name == "fedadam" else FedYogi
            return adaptive(
                eta=spec.learning_rate or 0.0,
                beta_1=spec.momentum or 0.0,
                beta_2=spec.second_moment or 0.0,
                tau=spec.adaptivity or 0.0,
            )


class ServerOptimizer:
    """Makes the next model of the last one and a round's updates.

    The updates are taken in the order of the hospitals' names, so that equal updates give equal bits.
    """

    def __init__(self, spec: StrategySpec, grid: Grid) -> None:
        self._strategy = make_strategy(spec)
        self._grid = grid

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """What the strategy remembers between rounds, by Flower's names; each ``[trainable]``."""
        return {name: self._get(name) for name in self._remembered if self._get(name) is not None}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a ``state``."""
        for name in self._remembered:
            if name in state:
                value = [state[name]] if isinstance(self._strategy, FedAvgM) else {_KEY: state[name]}
                setattr(self._strategy, name, value)

    @property
    def _remembered(self) -> tuple[str, ...]:
        match self._strategy:
            case FedAvgM():
                return ("momentum_vector",)
            case FedAdam() | FedYogi():
                return ("m_t", "v_t")
            case _:
                return ()

    def _get(self, name: str) -> Any:
        match getattr(self._strategy, name):
            case None:
                return None
            case [only]:
                return only
            case held:
                return held[_KEY]

    def step(self, round_number: int, current: Parameters, updates: Sequence[SiteUpdate]) -> Parameters:
        """The next trainable parameters, float32 ``[trainable]``.

        Raises:
            RunError: the strategy left the range of finite numbers.
        """
        record = ArrayRecord({_KEY: Array(current)})
        if isinstance(self._strategy, FedAvgM):
            self._strategy.current_arrays = None  # or it would go on from its own copy of the last model
        # Flower's server-side optimisers look here for the model that the updates start from.
        list(self._strategy.configure_train(round_number, record, ConfigRecord(), self._grid))
        replies = [_as_reply(current, update) for update in sorted(updates, key=lambda update: update.site)]
        arrays, _ = self._strategy.aggregate_train(round_number, replies)
        if arrays is None:
            raise RunError(f"round {round_number}: the strategy made no model of {len(updates)} updates")
        after = arrays[_KEY].numpy().astype(np.float32)
        if not np.isfinite(after).all():
            raise RunError(f"round {round_number}: the model is not finite; lower strategy.learning_rate")
        return after


def _as_reply(current: Parameters, update: SiteUpdate) -> Message:
    """The hospital's own model, as Flower's strategies expect it."""
    content = RecordDict(
        {
            _ARRAYS: ArrayRecord({_KEY: Array(current + update.change)}),
            "metrics": MetricRecord({_WEIGHT: update.weight}),
        }
    )
    return Message(content, dst_node_id=0, message_type=MessageType.TRAIN)
