import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from federation.errors import ConfigError, DataError
from federation.tasks import load_task
from tasks.chest_xray.settings import Settings

CONF = Path(__file__).parents[3] / "conf/task/chest_xray.yaml"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"collection": "nih"}, r"task\.options\.collection='nih'"),
        ({"colection": "folder"}, r"task\.options\.colection.*did you mean 'collection'"),
        ({"collection": "folder"}, r"collection=folder needs task\.options\.images"),
        ({"partition": "list"}, r"partition=list needs task\.options\.labels"),
        ({"partition": "skewed"}, r"task\.options\.partition.*'skewed'"),
        ({"patient_pattern": "person("}, r"task\.options\.patient_pattern='person\('.*unterminated"),
        ({"size": 4}, r"task\.options\.size=4"),
        ({"size": 5000}, r"task\.options\.size=5000"),
        ({"alpha": 0.0}, r"task\.options\.alpha=0\.0"),
        ({"seed": -1}, r"task\.options\.seed=-1"),
        ({"held_out": "train"}, r"task\.options\.held_out='train'"),
        ({"collection": "folder", "images": "x", "held_out": "validation"}, r"held_out=validation: a folder"),
    ],
)
def test_a_bad_option_is_refused_by_name(options, message):
    with pytest.raises(ConfigError, match=message):
        load_task("tasks.chest_xray", options)


def test_the_yaml_says_the_defaults():
    assert Settings.of(yaml.safe_load(CONF.read_text())["options"]) == Settings()


def test_checking_options_loads_no_library_for_images():
    code = (
        "import sys; from federation.tasks import load_task; load_task('tasks.chest_xray', {});"
        "sys.exit(', '.join({'PIL', 'torch', 'torchvision', 'medmnist'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "")


def test_no_lungs_are_generated(task):
    with pytest.raises(DataError, match=r"generates no examples.*pretraining\.source=random or noise"):
        task().public_examples(5, 0)
