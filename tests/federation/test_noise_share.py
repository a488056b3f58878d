"""Noise that sites add in shares, against the exact laws of their sums."""

import math

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm

from federation.errors import PrivacyError
from federation.noise_share import LEAST_SHARE, Views, share_of, views
from federation.secure_sum.parties import MOST_ROUNDS
from federation.secure_sum.plan import Grid, Plan
from federation.secure_sum.roster import MOST_SITES

TOO_FINE = "noise that a coarse grid swallows"
ROUNDED = "a patient who tips a number over to the next step of the grid"
TOO_FEW = "a sum without the sites that drop out, less the noise of those that collude"


class TestViews:
    def test_of_ten_sites_three_collude_and_two_drop_out(self):
        """The ε of these three at q = .02, 300 rounds and δ = 1e-5 are 2.2, 1.6 and 19.7."""
        seen = views(1.0, sites=10, colluding=3, dropouts=2)
        assert seen == Views(coordinator=1.0, peer=math.sqrt(7 / 5), everybody=1 / math.sqrt(5))

    def test_the_coordinators_is_the_headline(self):
        assert views(2.5, sites=30, colluding=4, dropouts=3).coordinator == 2.5

    def test_one_colluding_site_knows_as_much_as_a_peer(self):
        assert views(1.0, sites=5, colluding=1, dropouts=1).peer == pytest.approx(1.0)

    def test_where_nobody_colludes_a_peer_knows_more_than_the_coordinator(self):
        seen = views(1.0, sites=3, colluding=0, dropouts=0)
        assert seen.peer == pytest.approx(math.sqrt(2 / 3))
        assert seen.peer < seen.coordinator

    @pytest.mark.parametrize(
        ("sites", "colluding", "dropouts"), [(3, 2, 0), (4, 2, 1), (5, -1, 0), (5, 0, -1)]
    )
    def test_fewer_than_two_honest_sites_are_refused(self, sites, colluding, dropouts):
        with pytest.raises(PrivacyError, match="two honest sites"):
            views(1.0, sites=sites, colluding=colluding, dropouts=dropouts)

    @pytest.mark.parametrize("noise", [0.0, -1.0, math.inf, math.nan])
    def test_no_noise_is_refused(self, noise):
        with pytest.raises(PrivacyError, match="no noise"):
            share_of(noise, 3)

    @pytest.mark.attack(TOO_FEW, held_by="shares for the honest sites that remain")
    def test_every_plans_sums_have_all_of_it(self, every_plan):
        for plan in every_plan:
            noise = views(1.0, sites=plan.sites, colluding=plan.colluding, dropouts=plan.dropouts)
            unknown = plan.min_survivors - plan.colluding
            assert noise.everybody * math.sqrt(unknown) >= noise.coordinator - 1e-12

    @pytest.mark.mutant(TOO_FEW, how="shares for all sites")
    def test_shares_for_all_sites_would_be_too_little(self, every_plan):
        short = [
            p for p in every_plan if share_of(1.0, p.sites) ** 2 * (p.min_survivors - p.colluding) < 0.99
        ]
        assert short == [p for p in every_plan if p.colluding or p.dropouts]


@pytest.fixture(scope="module")
def every_plan():
    def plans():
        for sites in range(3, 13):
            for colluding in range(sites - 1):
                threshold = max(3, (sites + colluding) // 2 + 1)
                for dropouts in range(sites - threshold + 1):
                    yield Plan("study", "roster", sites, Grid(1.0, 1, 2**20), colluding, dropouts)

    return list(plans())


class TestRoundedNoise:
    """A share is rint(N(0, σ²)), σ in steps of the grid."""

    def test_a_sum_of_rounded_numbers_is_one_rounded_number(self):
        """The sum, less what rounding took from all numbers but one, rounded."""
        for sites in (1, 2, 5, 50):
            draws = np.random.default_rng(sites).normal(0, 3.7, (20_000, sites))
            lost = draws - np.rint(draws)
            one = np.rint(draws.sum(1) - lost[:, :-1].sum(1))
            # A sum that lies halfway between two steps, as far as floating point can tell, is left out.
            clear = np.abs(np.abs(lost[:, -1]) - 0.5) > 1e-9
            assert (np.rint(draws).sum(1) == one)[clear].all()

    @pytest.mark.parametrize(("share", "sites"), [(1, 2), (1, 5), (1.5, 3), (2, 25), (4, 10)])
    def test_its_law_is_that_of_gaussian_and_uniforms_within_the_bound(self, share, sites):
        steps, ours = law_of_sum(share, sites)
        theirs = law_of_one_rounding(steps, share, sites)
        certain = theirs > 1e-5
        error = np.abs(ours[certain] / theirs[certain] - 1).max()
        assert error <= aliasing(share, sites) + 1e-8

    def test_the_first_terms_of_the_bound_are_seen(self):
        """With two sites there is one of them, 2 exp(-π² σ²), and at zero it is nearly all there."""
        steps, ours = law_of_sum(0.7, 2)
        theirs = law_of_one_rounding(steps, 0.7, 2)
        error = abs(ours[steps == 0] / theirs[steps == 0] - 1).item()
        assert 0 < error <= 2 * math.exp(-(math.pi**2) * 0.49)

    @pytest.mark.attack(TOO_FINE, held_by="LEAST_SHARE, far above where rounded noise is Gaussian")
    @pytest.mark.parametrize("share", [0.5, 1, 4, LEAST_SHARE])
    @pytest.mark.parametrize("sites", [2, 5, 25])
    def test_it_protects_as_gaussian_noise_does(self, share, sites):
        _, law = law_of_sum(share, sites)
        for moved in (1, 2, 5):
            for epsilon in (0.25, 1, 2):
                promised = gaussian_delta(share * math.sqrt(sites) / moved, epsilon)
                assert hockey_stick(law, moved, epsilon) <= promised + 1e-13

    @pytest.mark.mutant(TOO_FINE, how="shares of a fifth of a step")
    def test_at_a_fifth_of_a_step_it_does_not(self):
        _, law = law_of_sum(0.2, 25)
        assert gaussian_delta(0.2 * math.sqrt(25), 1.0) == pytest.approx(0.127, abs=5e-4)
        assert hockey_stick(law, 1, 1.0) == pytest.approx(0.534, abs=5e-4)

    @pytest.mark.mutant(TOO_FINE, how="noisy numbers rounded at each site, shares of a fifth of a step")
    def test_nor_does_rounding_noisy_numbers_at_each_site(self):
        """Of whole numbers that is the same: the size of a share matters, not where it is rounded."""
        others = law_of_sum(0.2, 24)[1]
        without, with_patient = (np.convolve(others, rounded(0.2, mean)) for mean in (0.0, 1.0))
        assert divergence(without, with_patient, 1.0) == pytest.approx(0.534, abs=5e-4)

    @pytest.mark.parametrize("mean", [0.1, 0.25, 0.5])
    def test_with_larger_shares_that_protects_too(self, mean):
        others = law_of_sum(1.0, 4)[1]
        without, with_patient = (np.convolve(others, rounded(1.0, at)) for at in (mean, mean + 1))
        assert divergence(without, with_patient, 1.0) <= gaussian_delta(math.sqrt(5), 1.0)

    def test_at_the_least_share_the_difference_is_nothing_in_the_largest_study(self):
        for sites in range(2, MOST_SITES + 1):
            assert 1e9 * MOST_ROUNDS * aliasing(LEAST_SHARE / 2, sites) < 1e-100


class TestRoundedData:
    """A patient moves each of three numbers by half a step, and each goes over to the next one."""

    NOISE, EPSILON = 60.0, 0.05
    WITHOUT, WITH = np.full(3, 0.4), np.full(3, 0.9)
    CLIPPING_NORM = math.sqrt(3) / 2

    def delta(self, deviation):
        moved = np.linalg.norm(np.rint(self.WITH) - np.rint(self.WITHOUT))
        return gaussian_delta(deviation / moved, self.EPSILON)

    def test_the_patient_moves_the_vector_by_the_clipping_norm(self):
        assert np.linalg.norm(self.WITH - self.WITHOUT) == pytest.approx(self.CLIPPING_NORM)

    @pytest.mark.attack(ROUNDED, held_by="noise for the clipping norm and the square root of the numbers")
    def test_noise_for_both_holds(self):
        raised = self.CLIPPING_NORM + math.sqrt(len(self.WITH))
        assert self.delta(self.NOISE * raised) <= gaussian_delta(self.NOISE, self.EPSILON)

    @pytest.mark.mutant(ROUNDED, how="noise for the clipping norm alone")
    def test_noise_for_the_clipping_norm_alone_does_not(self):
        assert self.delta(self.NOISE * self.CLIPPING_NORM) > gaussian_delta(self.NOISE, self.EPSILON)


def rounded(share, mean=0.0):
    """The law of rint(N(mean, share²)) on -reach to reach."""
    edges = np.arange(-_reach(share), _reach(share) + 2) - 0.5 - mean
    below, above = edges[:-1] / share, edges[1:] / share
    # Of the two tails the one in which nothing is lost to 1.
    return np.where(below > 0, norm.sf(below) - norm.sf(above), ndtr(above) - ndtr(below))


def law_of_sum(share, sites):
    """Steps, and the exact law on them of ``sites`` independent rounded Gaussians together."""
    law = np.ones(1)
    for _ in range(sites):
        law = np.convolve(law, rounded(share))
    return np.arange(len(law)) - len(law) // 2, law


def law_of_one_rounding(steps, share, sites):
    """The law of rint(N(0, sites share²) + (sites - 1) uniforms), by its characteristic function."""
    grid = np.linspace(0, 12 / (share * math.sqrt(sites)), 4001)
    transform = np.exp(-sites * (share * grid) ** 2 / 2) * np.sinc(grid / (2 * math.pi)) ** sites
    return np.trapezoid(transform * np.cos(np.outer(steps, grid)), grid, axis=1) / math.pi


def aliasing(share, sites):
    """How far the two laws are apart at most, relatively: decision 10."""
    return math.expm1(sites * 2.1 * math.exp(-((math.pi * share) ** 2) / 2))


def hockey_stick(law, moved, epsilon):
    """δ at ε of the noise ``law`` where one patient moves the sum by ``moved`` steps."""
    still = np.zeros(moved)
    return divergence(np.concatenate([law, still]), np.concatenate([still, law]), epsilon)


def divergence(law, other, epsilon):
    return max(np.maximum(p - math.exp(epsilon) * q, 0).sum() for p, q in ((law, other), (other, law)))


def gaussian_delta(noise_multiplier, epsilon):
    """Balle & Wang 2018, theorem 8."""
    half, cost = 1 / (2 * noise_multiplier), epsilon * noise_multiplier
    return norm.cdf(half - cost) - math.exp(epsilon) * norm.cdf(-half - cost)


def _reach(share):
    return math.ceil(10 * share) + 2
