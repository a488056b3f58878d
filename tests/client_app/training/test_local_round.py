from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from client_app.training.batches import sample_patients
from client_app.training.gradients import PatientGradients
from client_app.training.local_round import LocalTraining
from client_app.training.stream import Stream
from federation.errors import DataError, MessageError, PrivacyError
from federation.models import build_network, layout_of, set_parameters
from federation.promise import noise_multiplier

SECRET = bytes(range(32))
EXPECTED = 20  # patients in the denominator, as conftest's make_training says
# One step whose update is minus the noisy sum: the learning rate undoes the division.
ONE_STEP = {"steps": 1, "learning_rate": float(EXPECTED)}
WITHOUT_PRIVACY = {"privacy": {"mode": "none", "epsilon": None, "delta": None, "clipping_norm": None}}


class Keeping(LocalTraining):
    """The real training; what was drawn as noise is kept."""

    def _with_noise(self, totals, stream):
        sums = super()._with_noise(totals, stream)
        noise = [noisy - total for noisy, total in zip(sums, totals, strict=True)]
        self.kept = [*getattr(self, "kept", []), torch.cat([n.flatten() for n in noise]).numpy()]
        return sums


class HalfNoise(LocalTraining):
    """Mutant: half of the noise that was promised."""

    factor = 0.5

    def _with_noise(self, totals, stream):
        sums = super()._with_noise(totals, stream)
        return [total + self.factor * (noisy - total) for noisy, total in zip(sums, totals, strict=True)]


class LittleLessNoise(HalfNoise):
    """Mutant: noise 10 % too small."""

    factor = 0.9


class ForgetsTheRound(LocalTraining):
    """Mutant: noise is addressed without the round."""

    def _step(self, optimizer, anchor, address):
        study_id, _, step = address
        super()._step(optimizer, anchor, (study_id, 0, step))


class ForgetsTheStep(Keeping):
    """Mutant: noise is addressed without the step."""

    def _step(self, optimizer, anchor, address):
        study_id, round_number, _ = address
        super()._step(optimizer, anchor, (study_id, round_number, 0))


class ThroughTheWholeNetwork(LocalTraining):
    """A slower way to the same: the head learns on images, through the trunk at every step."""

    def __init__(self, study, network, *args, **kwargs):
        super().__init__(study, deepcopy(network), *args, **kwargs)
        self._network = network
        self._gradients = PatientGradients(network, study.privacy.clipping_norm)

    def _what_is_trained_on(self):
        return self._patients


def released_noise(study, training, start, patients, rounds):
    """What the updates hold beyond the clipped sums, from outside: float64 ``[rounds, trainable]``."""
    network = build_network(study.model, study.task)
    set_parameters(network, start)
    gradients = PatientGradients(network, study.privacy.clipping_norm)
    totals = gradients.total(patients.batches(np.arange(len(patients)), 64))
    clean = torch.cat([total.flatten() for total in totals]).numpy()
    updates = [training.run(number, start, None).update for number in rounds]
    return np.stack([-update.astype(np.float64) - clean for update in updates])


def has_variance(draws, deviation):
    """Chi-square: whether draws of this standard deviation scatter so once in a thousand times or more."""
    statistic = float(np.square(draws / deviation).sum())
    tail = min(chi2.cdf(statistic, draws.size), chi2.sf(statistic, draws.size))
    return tail > 5e-4


def shared(a, b):
    """Whether two series of noise have draws in common: five standard deviations of correlation."""
    return abs(np.corrcoef(a, b)[0, 1]) > 5 / np.sqrt(a.size)


@pytest.fixture(scope="module")
def one_step(make_study):
    return make_study(training=ONE_STEP, rounds=16)


@pytest.fixture(scope="module")
def rare(make_study):
    """Poisson sampling so rare that steps see nobody."""
    return make_study(
        training=ONE_STEP | {"steps": 4}, rounds=1, privacy={"sampling_rate": 0.01, "epsilon": 1.0}
    )


@pytest.fixture(scope="module")
def noise_of(one_step, make_training, start_of, squares):
    """The noise in the releases of a training of some kind, round by round."""

    def noise(kind=LocalTraining, rounds=range(1, 17), secret=SECRET):
        training = make_training(one_step, kind, secret)
        return released_noise(one_step, training, start_of(one_step), squares, rounds)

    return noise


class TestNoise:
    def test_has_the_promised_standard_deviation(self, noise_of, one_step):
        draws = noise_of()
        deviation = noise_multiplier(one_step) * one_step.privacy.clipping_norm
        assert draws.size > 7000
        assert has_variance(draws, deviation)
        assert abs(draws.mean()) < 5 * deviation / np.sqrt(draws.size)

    @pytest.mark.parametrize("mutant", [HalfNoise, LittleLessNoise])
    def test_that_is_too_small_is_caught(self, mutant, noise_of, one_step):
        deviation = noise_multiplier(one_step) * one_step.privacy.clipping_norm
        assert not has_variance(noise_of(mutant), deviation)

    def test_grows_with_the_clipping_norm(self, make_study, make_training, start_of):
        study = make_study(privacy={"clipping_norm": 3.0})
        training = make_training(study, Keeping)
        training.run(1, start_of(study), None)
        assert has_variance(np.concatenate(training.kept), 3 * noise_multiplier(study))

    def test_of_two_rounds_is_independent(self, noise_of):
        first, second = noise_of(rounds=[1, 2])
        assert not shared(first, second)

    def test_that_comes_again_in_another_round_is_caught(self, noise_of):
        first, second = noise_of(ForgetsTheRound, rounds=[1, 2])
        assert shared(first, second)

    def test_of_two_hospitals_is_independent(self, noise_of):
        (here,), (there,) = noise_of(rounds=[1]), noise_of(rounds=[1], secret=bytes(32))
        assert not shared(here, there)

    @pytest.mark.parametrize(("kind", "same"), [(Keeping, False), (ForgetsTheStep, True)])
    def test_of_two_steps_is_independent_and_a_mutant_is_caught(
        self, kind, same, make_study, make_training, start_of
    ):
        study = make_study()
        training = make_training(study, kind)
        training.run(1, start_of(study), None)
        assert shared(*training.kept) == same

    def test_of_two_studies_is_independent(self, make_study, make_training, start_of):
        kept = []
        for study in (make_study(), make_study(title="Another")):
            training = make_training(study, Keeping)
            training.run(1, start_of(study), None)
            kept.append(training.kept[0])
        assert not shared(*kept)


class TestStep:
    def test_without_patients_is_noise_alone(self, rare, make_training, start_of, squares):
        def sampled(secret):
            streams = [Stream(secret, rare.id, 1, step, "sampling") for step in range(4)]
            return [len(sample_patients(stream, len(squares), 0.01)) for stream in streams]

        secret = next(s for s in (bytes([n] * 32) for n in range(256)) if not any(sampled(s)))
        training = make_training(rare, Keeping, secret)
        update = training.run(1, start_of(rare), None).update
        assert len(training.kept) == 4, "a step that nobody is in is taken all the same"
        assert np.allclose(update, -sum(training.kept) / 0.01, rtol=1e-3, atol=1e-2)

    def test_samples_patients_anew(self, rare, squares):
        sampled = [
            tuple(sample_patients(Stream(SECRET, rare.id, r, s, "sampling"), len(squares), 0.5))
            for r in (1, 2)
            for s in range(4)
        ]
        assert len(set(sampled)) == 8

    def test_without_privacy_is_the_same_loop_without_noise(
        self, make_study, make_training, start_of, squares, no_privacy
    ):
        study = make_study(privacy=no_privacy, training=ONE_STEP)
        noise = released_noise(study, make_training(study), start_of(study), squares, [1])
        assert np.abs(noise).max() < 1e-4

    def test_with_proximal_is_pulled_back_to_the_global_model(
        self, make_study, make_training, start_of, no_privacy
    ):
        def update(steps, **strategy):
            study = make_study(
                privacy=no_privacy, strategy=strategy, training={"steps": steps, "learning_rate": 0.05}
            )
            return make_training(study).run(1, start_of(study), None).update

        free, pulled = update(2, name="fedavg"), update(2, name="fedprox", proximal=3.0)
        pull = -0.05 * 3.0 * update(1, name="fedavg")
        assert np.abs(pull).max() > 1e-4
        assert np.allclose(pulled - free, pull, atol=1e-6)

    def test_learns(self, make_study, make_training, start_of, squares, no_privacy):
        study = make_study(privacy=no_privacy, training={"steps": 60, "learning_rate": 0.3})
        start = start_of(study)
        trained = start + make_training(study).run(1, start, None).update
        network = build_network(study.model, study.task)
        set_parameters(network, trained)
        batches = [batch.unfilled() for batch in squares.batches(np.arange(len(squares)), 64)]
        with torch.no_grad():
            right = torch.cat([network(batch.images).argmax(1) == batch.targets for batch in batches])
        assert right.float().mean() > 0.9


@pytest.mark.parametrize("matters", [True, False])
def test_where_places_matter_patients_go_one_by_one(
    matters, make_study, make_training, start_of, monkeypatch
):
    monkeypatch.setattr("client_app.training.local_round.place_matters", lambda *_: matters)
    training, study = make_training(make_study()), make_study()
    seen = []
    whole = PatientGradients.total

    def watched(self, batches):
        seen.extend(kept := list(batches))
        return whole(self, kept)

    monkeypatch.setattr(PatientGradients, "total", watched)
    training.run(1, start_of(study), None)
    assert ({len(batch.counted) for batch in seen} == {1}) == matters


class TestRound:
    @pytest.mark.parametrize(
        "training", [{"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "adam"}], ids=["sgd", "adam"]
    )
    def test_after_a_restart_is_the_one_without_a_restart_bit_for_bit(
        self, training, make_study, make_training, start_of
    ):
        study = make_study(training=training)
        start = start_of(study)
        warm = make_training(study)
        first = warm.run(1, start, None)
        after = start + first.update
        whole = warm.run(2, after, first.optimizer_state)
        restarted = make_training(study).run(2, after, first.optimizer_state)
        forgetful = make_training(study).run(2, after, None)
        assert np.array_equal(whole.update, restarted.update)
        assert whole.optimizer_state == restarted.optimizer_state
        assert not np.array_equal(whole.update, forgetful.update)

    def test_is_the_same_when_it_is_run_again(self, make_study, make_training, start_of):
        study = make_study(privacy={"sampling_rate": 0.5})
        first, second = (make_training(study).run(1, start_of(study), None) for _ in range(2))
        assert np.array_equal(first.update, second.update)

    @pytest.mark.parametrize("trainable", ["all", "norm_and_head", "head"])
    def test_releases_the_change_of_what_learns(self, trainable, make_study, make_training, start_of):
        study = make_study(model={"trainable": trainable})
        mask = layout_of(build_network(study.model, study.task)).mask
        update = make_training(study).run(1, start_of(study), None).update
        assert update.shape == (mask.sum(),)
        assert update.dtype == np.float32
        assert (update != 0).all()

    @pytest.mark.parametrize("private", [True, False])
    def test_of_the_head_on_features_is_the_one_through_the_whole_network(
        self, private, make_study, make_training, another_model
    ):
        study = make_study(
            model={"trainable": "head"},
            training={"momentum": 0.9, "steps": 3},
            **({} if private else WITHOUT_PRIVACY),
        )
        quick, slow = make_training(study), make_training(study, ThroughTheWholeNetwork)
        for number in (1, 2):
            start = another_model(study, number)
            found, expected = quick.run(number, start, None).update, slow.run(number, start, None).update
            assert np.allclose(found, expected, rtol=1e-3, atol=1e-5), "also when the trunk is another"

    def test_from_another_networks_model_is_refused(self, make_study, make_training, start_of):
        study = make_study()
        with pytest.raises(MessageError, match="same study"):
            make_training(study).run(1, start_of(study)[:-1], None)

    def test_with_a_broken_optimiser_state_is_refused(self, make_study, make_training, start_of):
        study = make_study(training={"momentum": 0.9})
        with pytest.raises(DataError):
            make_training(study).run(1, start_of(study), b"broken")

    def test_of_distributed_noise_is_no_update(self, make_study, make_training, start_of):
        study = make_study(
            privacy={"mode": "distributed"},
            training={"steps": 1},
            participants=["alder", "birch", "cedar", "dogwood"],
            aggregation="secure",
            secure_sum={"colluding": 1, "dropouts": 1, "lost_rounds": 3, "weight_cap": 1000},
        )
        training = make_training(study)
        with pytest.raises(
            PrivacyError, match="study squares has privacy=distributed: a site gives it shares"
        ):
            training.run(1, start_of(study), None)
        assert len(training.share(1, start_of(study))) == training.trainable + 1

    def test_of_a_promise_that_cannot_be_kept_is_never_begun(self, make_study, make_training):
        with pytest.raises(PrivacyError):
            make_training(make_study(privacy={"epsilon": 1e-4}, rounds=10**5))


@pytest.mark.parametrize(
    "shown",
    [
        {"patient_images": "one"},
        {"augmentation": {"views": 3, "rotation": 10.0, "shift": 0.05, "mirror": True}},
        {
            "patient_images": "one",
            "augmentation": {"views": 2, "rotation": 10.0, "shift": 0.05, "mirror": False},
        },
    ],
)
def test_however_patients_are_shown_a_round_repeats_and_teaches_something_else(
    make_study, make_training, start_of, shown
):
    def update(**training):
        # Nothing is drawn but how patients are shown.
        privacy = {**WITHOUT_PRIVACY["privacy"], "sampling_rate": 1.0}
        study = make_study(training={**ONE_STEP, **training}, privacy=privacy)
        return make_training(study).run(1, start_of(study), None).update

    assert np.array_equal(update(**shown), update(**shown))
    assert not np.allclose(update(**shown), update(), atol=1e-3)
