import subprocess
import sys
from pathlib import Path

import pytest

from federation.errors import ConfigError
from federation.tasks import load_task
from tasks.nodule_ct.cohort import NoduleTask
from tasks.nodule_ct.label import Label


def test_the_label_is_malignancy_unless_said_otherwise():
    assert load_task("tasks.nodule_ct", {}) == NoduleTask(Label.MALIGNANCY)
    assert load_task("tasks.nodule_ct", {"label": "suspicious"}) == NoduleTask(Label.SUSPICIOUS)


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"task\.options\.lable.*only option is label"):
        load_task("tasks.nodule_ct", {"lable": "malignancy"})


@pytest.mark.parametrize("value", ["benign", 3, True])
def test_an_unknown_label_is_refused_with_the_known_ones(value):
    with pytest.raises(ConfigError, match=rf"{value}.*malignancy, suspicious"):
        load_task("tasks.nodule_ct", {"label": value})


def test_each_label_names_its_two_classes():
    assert Label.MALIGNANCY.classes == ("benign", "malignant")
    assert Label.SUSPICIOUS.classes == ("unsuspicious", "suspicious")


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, tasks.nodule_ct; print(*sys.modules)"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert not {"scipy", "PIL", "matplotlib", "torch", "pylidc"} & set(done.stdout.split())
