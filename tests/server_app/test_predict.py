import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from federation.config import compose_run
from federation.errors import DataError, StorageError
from federation.models import build_network, get_parameters, layout_of
from federation.tasks import load_task
from server_app.library import find_model
from server_app.predict import predict_folder
from server_app.registry import Registry
from tasks.nodule_ct.phantom import phantom

# X-rays, 12 pixels wide so that images are made smaller.
XRAYS = (
    "study=chest_xray_cnn",
    "task.image_size=[12,12]",
    "task.options.collection=folder",
    "task.options.images=.",
    "task.options.size=12",
    "model.arguments.channels=[4,8]",
    "model.arguments.strides=[2,2]",
    "model.arguments.norm=[group,{num_groups: 2}]",
)
NODULES = ("model.arguments.channels=[4,8]", "model.arguments.norm=[group,{num_groups: 2}]")
WITHOUT_COLLECTION = tuple(item for item in XRAYS if "collection" not in item and "images" not in item)


def stored(folder, overrides):
    """A model of random numbers in a run's folder."""
    study = compose_run(overrides).study
    network = build_network(study.model, study.task)
    start = get_parameters(network)
    noise = np.random.default_rng(0).normal(0, 0.05, start.size).astype(np.float32)
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(study.canonical_json)
    manifest = Registry(folder, study, layout_of(network)).keep(
        start + noise, round_number=None, parent=None, participants=(), epsilon={}
    )
    return find_model(folder.parent, manifest.version)


@pytest.fixture
def model(tmp_path):
    return stored(tmp_path / "runs" / "a", XRAYS)


@pytest.fixture
def images(tmp_path):
    """Grey pictures of several shapes, and a colour one."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name, shape in {
        "b.png": (40, 30),
        "a.JPG": (20, 20),
        "more/c.jpeg": (12, 12),
        "d.png": (9, 50, 3),
    }.items():
        picture = Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8))
        picture.save(folder / name, format="PNG" if name.endswith("png") else "JPEG")
    return folder


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_csv_has_a_row_for_each_image_by_name(model, images, tmp_path):
    predictions = predict_folder(model, images)
    predictions.write_csv(tmp_path / "out.csv")
    table = rows(tmp_path / "out.csv")
    assert list(table[0]) == ["file", "class", "p_normal", "p_pneumonia"]
    assert [row["file"] for row in table] == ["a.JPG", "b.png", "d.png", "more/c.jpeg"]
    for row in table:
        normal, pneumonia = float(row["p_normal"]), float(row["p_pneumonia"])
        assert normal + pneumonia == pytest.approx(1, abs=2e-6)
        assert row["class"] == ("normal" if normal > pneumonia else "pneumonia")
    assert len({row["p_normal"] for row in table}) == 4
    assert predictions.unreadable == {}


def test_the_probabilities_are_the_networks(model, images):
    predictions = predict_folder(model, images)
    spec = model.study.task
    task = load_task(spec.package, spec.options)
    for name, row in zip(predictions.files, predictions.probabilities, strict=True):
        with torch.no_grad():
            scores = model.network()(torch.from_numpy(task.read_image(images / name))[None])
        assert np.allclose(row, scores.double().softmax(1)[0].numpy(), atol=1e-6)


def test_more_images_than_go_into_a_batch_keep_their_order(model, images, tmp_path):
    for number in range(150):
        (images / f"copy-{number:03d}.png").write_bytes((images / "b.png").read_bytes())
    predictions = predict_folder(model, images)
    assert predictions.probabilities.shape == (154, 2)
    assert list(predictions.files) == sorted(predictions.files)
    same = [
        row for name, row in zip(predictions.files, predictions.probabilities, strict=True) if "copy" in name
    ]
    original = predictions.probabilities[predictions.files.index("b.png")]
    assert np.allclose(same, original, atol=1e-6)


def test_an_image_that_cannot_be_read_is_named_and_others_are_predicted(model, images):
    (images / "broken.png").write_bytes((images / "b.png").read_bytes()[:60])
    Image.fromarray(np.zeros((12, 12), np.uint16)).save(images / "deep.png")
    (images / "notes.txt").write_text("no image")
    (images / "._b.png").write_bytes(b"what macOS leaves")
    predictions = predict_folder(model, images)
    assert len(predictions.files) == 4
    assert set(predictions.unreadable) == {"broken.png", "deep.png"}
    assert "more than 8 bits" in predictions.unreadable["deep.png"]


def test_a_folder_without_images_or_without_readable_ones_is_refused(model, tmp_path):
    folder = tmp_path / "images"
    with pytest.raises(DataError, match="is no folder"):
        predict_folder(model, folder)
    folder.mkdir()
    (folder / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="holds no image"):
        predict_folder(model, folder)
    (folder / "a.png").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"none of the 1 images .* a\.png"):
        predict_folder(model, folder)


def test_a_csv_is_whole_or_not_there(model, images, tmp_path):
    (tmp_path / "file").write_text("no folder")
    predictions = predict_folder(model, images)
    with pytest.raises(StorageError, match=r"out\.csv could not be written"):
        predictions.write_csv(tmp_path / "file" / "out.csv")


def test_a_file_name_that_is_no_utf8_comes_back_as_it_was(model, images, tmp_path):
    odd = images / b"\xff.png".decode(errors="surrogateescape")
    odd.write_bytes((images / "b.png").read_bytes())
    predict_folder(model, images).write_csv(tmp_path / "out.csv")
    assert b"\n\xff.png," in (tmp_path / "out.csv").read_bytes()


def test_xrays_are_prepared_as_those_that_were_learnt_from(tmp_path, model):
    draw = np.random.default_rng(1)
    data = tmp_path / "data"
    for number in range(16):
        file = data / ("normal", "pneumonia")[number % 2] / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (17, 23 + number), dtype=np.uint8)).save(file)
    spec = model.study.task
    task = load_task(spec.package, spec.options, data)
    cohort = task.cohort(0, 1)
    learnt = {image.tobytes() for half in (cohort.train, cohort.test) for image in half.images}
    read = [task.read_image(file) for file in data.rglob("*.png")]
    assert {image.tobytes() for image in read} == learnt
    assert {(image.shape, image.dtype) for image in read} == {((1, 12, 12), np.dtype(np.float32))}


def test_of_a_large_xray_the_square_in_the_middle_is_taken_where_the_collection_did_so(tmp_path):
    picture = np.full((20, 60), 255, np.uint8)
    picture[:, 20:40] = 51
    Image.fromarray(picture).save(tmp_path / "wide.png")
    mnist = compose_run(["study=chest_xray_cnn"]).study.task
    image = load_task(mnist.package, mnist.options).read_image(tmp_path / "wide.png")
    assert image.shape == (1, 28, 28)
    assert np.all(image == np.float32(0.2))


def test_nodules_are_prepared_as_those_that_were_learnt_from(tmp_path):
    spec = compose_run([]).study.task
    task = load_task(spec.package, spec.options)
    np.save(tmp_path / "int.npy", phantom(0, 0).image)
    np.save(tmp_path / "float.npy", phantom(0, 0).image + 0.3)
    learnt = task.public_examples(1, 0).images[0]
    for name in ("int.npy", "float.npy"):
        image = task.read_image(tmp_path / name)
        assert image.dtype == np.float32
        assert np.array_equal(image, learnt)


def test_values_beyond_the_window_become_its_ends(tmp_path):
    spec = compose_run([]).study.task
    patch = np.full((64, 64), 3000.0)
    patch[0] = -3000
    np.save(tmp_path / "a.npy", patch)
    image = load_task(spec.package, spec.options).read_image(tmp_path / "a.npy")
    assert np.all(image[0, 0] == -1)
    assert np.all(image[0, 1:] == 1)


@pytest.mark.parametrize(
    "content",
    [
        np.zeros((32, 32)),
        np.zeros((1, 64, 64)),
        np.full((64, 64), np.nan),
        np.zeros((64, 64), np.complex64),
        np.full((64, 64), "a"),
        np.full((64, 64), None),
        None,
    ],
    ids=["small", "batch", "not a number", "complex", "text", "pickle", "rubbish"],
)
def test_what_is_no_patch_is_refused_by_name(tmp_path, content):
    spec = compose_run([]).study.task
    file = tmp_path / "a.npy"
    if content is None:
        file.write_bytes(b"rubbish")
    else:
        np.save(file, content, allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy .*64 x 64 numbers in HU"):
        load_task(spec.package, spec.options).read_image(file)


def test_pictures_of_nodules_are_refused_with_what_would_do(tmp_path):
    model = stored(tmp_path / "runs" / "a", NODULES)
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "images" / "a.png")
    with pytest.raises(DataError, match=r"a\.png holds no HU; nodule_ct takes \.npy"):
        predict_folder(model, tmp_path / "images")
    np.save(tmp_path / "images" / "b.npy", phantom(0, 0).image)
    predictions = predict_folder(model, tmp_path / "images")
    assert (predictions.files, list(predictions.unreadable)) == (("b.npy",), ["a.png"])


def test_a_task_of_tables_takes_no_images(tmp_path, images):
    model = stored(tmp_path / "runs" / "a", ("study=heart_disease",))
    with pytest.raises(DataError, match="takes rows of a table"):
        predict_folder(model, images)


def test_an_image_of_another_size_than_the_studys_is_refused(tmp_path, images):
    wrong = tuple(item for item in WITHOUT_COLLECTION if "options.size" not in item)
    model = stored(tmp_path / "runs" / "a", wrong)
    assert json.loads((model.run / "study.json").read_text())["task"]["options"]["size"] == 28
    with pytest.raises(DataError, match=r"becomes \[1, 28, 28\], but the study has \[1, 12, 12\]"):
        predict_folder(model, images)
