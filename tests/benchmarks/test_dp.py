"""The benchmark's steps are those of the engines it names."""

import pytest
from torch import nn

from benchmarks.dp_step import CASES, WAYS, Case, MeanScores, measured


@pytest.mark.parametrize("way", WAYS)
def test_a_step_of_every_way_is_measured(way):
    case = Case(lambda: MeanScores(nn.Conv2d(1, 2, 3)), 2, (1, 5, 5))
    step = measured(case, way)
    assert step.cpu > 0
    assert way in (step.engine, "auto")


@pytest.mark.parametrize(("name", "thousands"), [("small CNN", 56), ("strided CNN", 60), ("UNet 3D", 1187)])
def test_cases_are_as_large_as_the_readers_think(name, thousands):
    network = CASES[name].build()
    assert round(sum(p.numel() for p in network.parameters()) / 1000) == thousands
