"""A ledger, and studies that it knows."""

import pytest

from client_app.custodian.ledger.cost import Cap, Cost
from client_app.custodian.ledger.ledger import Ledger
from federation.accounting import RdpFilter

OWNER = "0" * 64
LOG = (0, "0" * 64)


@pytest.fixture
def make_ledger(tmp_path):
    """The ledger in the test's folder; a second one is the first after a restart."""
    return lambda owner=OWNER: Ledger(tmp_path / "ledger.sqlite", owner)


@pytest.fixture
def ledger(make_ledger):
    return make_ledger()


@pytest.fixture
def studies(ledger, make_study):
    """The ids of three studies that the ledger knows."""
    made = [make_study(title=title) for title in ("First", "Second", "Third")]
    for study in made:
        ledger.studies.ask(study)
    return [study.id for study in made]


@pytest.fixture
def cost():
    """Some steps of full batches: σ = 10 costs ρ = α/200 a step."""
    return lambda steps=1, noise=10.0, coordinator=None: Cost(steps, 1.0, noise, coordinator or noise)


@pytest.fixture
def cap():
    """What a patient may give: ε at δ = 1e-5, against everybody."""
    return lambda epsilon=2.0, against="everybody": Cap(RdpFilter(epsilon, 1e-5), against)


@pytest.fixture
def start(ledger, cost):
    """Start a study with patients; everybody is accepted."""

    def started(study, patients, plan=None, cap=None, *, part="train", book=ledger):
        plan = plan or cost(10)
        return book.budget.start(study, part, plan, patients, cap=cap, accept=lambda members: None)

    return started


@pytest.fixture
def charge(ledger, cost):
    """Charge a round of a study."""

    def charged(study, round_number=1, *, asked="a" * 64, price=None, book=ledger):
        return book.budget.reserve(
            study, "train", round_number=round_number, asked=asked, cost=price or cost(), log=LOG
        )

    return charged
