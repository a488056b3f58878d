from dataclasses import replace

import numpy as np
import pytest

from federation.config import compose_run
from federation.tasks import Cohort, Examples
from simulation.samples import draw_samples, write_samples


@pytest.fixture
def task():
    return compose_run().study.task


@pytest.fixture
def cohorts():
    images = np.linspace(-1, 1, 20 * 64 * 64, dtype=np.float32).reshape(20, 1, 64, 64)
    examples = Examples(
        images=images,
        targets=np.arange(20) % 2,
        patients=np.arange(20),
        covariates={"diameter_mm": np.arange(20.0)},
    )
    return {name: Cohort(f"hospital {name}", examples, examples) for name in ("alder", "birch")}


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_every_hospital_has_a_row_and_every_class_a_block(cohorts, task):
    figure = draw_samples(cohorts, task)
    assert len(figure.axes) == 4
    assert [axes.get_title() for axes in figure.axes[:2]] == ["benign", "malignant"]
    assert figure.axes[2].get_ylabel().startswith("birch")


def test_rendered_images_are_called_rendered_and_others_are_not(cohorts, task):
    assert "Rendered" in draw_samples(cohorts, task).get_suptitle()
    assert "Rendered" not in draw_samples(cohorts, task.model_copy(update={"rendered": False})).get_suptitle()


def test_images_go_from_the_smallest_covariate_to_the_largest(cohorts, task):
    benign = texts(draw_samples(cohorts, task))[:6]
    assert benign == ["0", "4", "8", "10", "14", "18"]


def test_a_class_with_few_images_leaves_the_rest_white(cohorts, task):
    few = cohorts["alder"].train
    keep = np.array([0, 1, 3])
    small = Examples(
        few.images[keep],
        few.targets[keep],
        few.patients[keep],
        {"diameter_mm": few.covariates["diameter_mm"][keep]},
    )
    figure = draw_samples({"alder": replace(cohorts["alder"], train=small)}, task)
    assert figure.axes[0].images[0].get_array()[:, 80:].min() == 1


def test_tables_have_no_sheet(cohorts, task, tmp_path):
    write_samples(tmp_path / "samples.png", cohorts, task.model_copy(update={"image_size": (13,)}))
    assert list(tmp_path.iterdir()) == []
    write_samples(tmp_path / "samples.png", cohorts, task)
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")
