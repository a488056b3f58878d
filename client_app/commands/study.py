"""``wardround-site study``: what is asked of the hospital's patients, and who agrees to it."""

from datetime import datetime
from pathlib import Path

import click

from client_app.commands.site_option import site_option
from federation.command_line import print_table
from federation.secure_sum.roster import Roster

by_option = click.option("--by", required=True, help="Who decides; the audit log keeps the name.")


@click.group()
def study() -> None:
    """What is asked of this hospital's patients, and who agrees to it.

    STUDY is a study's id, or the beginning of it.
    """


@study.command()
@site_option
def inbox(file: Path) -> None:
    """The studies that wait for somebody to decide."""
    _list(file, waiting=True)


@study.command(name="list")
@site_option
def list_all(file: Path) -> None:
    """All studies: where they stand, who agreed, and what they have cost so far."""
    _list(file, waiting=False)


@study.command()
@click.argument("name", metavar="STUDY")
@site_option
def show(name: str, file: Path) -> None:
    """What a study asks, what the policy says of it, and what it would leave of patients' budgets."""
    from client_app.commands.custodian_of import custodian_of  # noqa: PLC0415
    from client_app.desk.questions import AskRoom, question  # noqa: PLC0415
    from client_app.desk.review import study_facts  # noqa: PLC0415
    from federation.errors import WardroundError  # noqa: PLC0415

    client = custodian_of(file)
    view = client.study(name)
    # Torch and MONAI take seconds to load, so a mistyped id is said at once.
    from client_app.desk.demand import demand_of  # noqa: PLC0415

    asked = view.proposal.study
    roster: Roster | str | None
    try:
        roster = client.roster().pinned
    except WardroundError as error:  # a damaged one hides nothing else of the study
        roster = str(error)
    try:
        demand = demand_of(asked)
    except WardroundError as error:
        print_table(study_facts(view, str(error), None, roster))
        return
    room = client.room(question(AskRoom, study=asked.id, noise_multiplier=demand.noise_multiplier))
    print_table(study_facts(view, demand, room, roster))


@study.command()
@click.argument("name", metavar="STUDY")
@by_option
@click.option(
    "--until", type=click.DateTime(["%Y-%m-%d"]), help="The last day; left out, it is the study's own."
)
@click.option("--epsilon-cap", type=float, help="Stop before a patient has given more than this ε.")
@site_option
def approve(name: str, by: str, until: datetime | None, epsilon_cap: float | None, file: Path) -> None:
    """Agree to a study, as it stands and with the release that is installed."""
    from client_app.commands.custodian_of import custodian_of  # noqa: PLC0415
    from client_app.desk.questions import Approve, question  # noqa: PLC0415
    from client_app.desk.review import study_table  # noqa: PLC0415

    client = custodian_of(file)
    asked = client.study(name).proposal.study
    last_day = None if until is None else until.date()
    agreed = question(Approve, study=asked.id, by=by, until=last_day, epsilon_cap=epsilon_cap)
    from client_app.desk.demand import demand_of  # noqa: PLC0415

    demand_of(asked)  # what cannot be looked at here would end the custodian
    print_table(study_table([client.approve(agreed)]))


@study.command()
@click.argument("name", metavar="STUDY")
@by_option
@site_option
def revoke(name: str, by: str, file: Path) -> None:
    """Take a study back, or refuse one that waits, for good.

    A running study stops here before its next round; what has left stays out.
    """
    from client_app.commands.custodian_of import custodian_of  # noqa: PLC0415
    from client_app.desk.questions import Revoke, question  # noqa: PLC0415
    from client_app.desk.review import study_table  # noqa: PLC0415

    print_table(study_table([custodian_of(file).revoke(question(Revoke, study=name, by=by))]))


def _list(file: Path, *, waiting: bool) -> None:
    from client_app.commands.custodian_of import custodian_of  # noqa: PLC0415
    from client_app.desk.review import study_table  # noqa: PLC0415

    states = custodian_of(file).studies()
    print_table(study_table([s for s in states if not waiting or s.proposal.state == "waiting"]))
