"""What ``wardround-site ingest`` says at its end."""

from client_app.commands.ingest_told import consent_told, tell
from client_app.data.ingest.consent import Asked
from client_app.data.ingest.held import Held
from client_app.data.ingest.run import Filled
from client_app.data.opt_outs import Unmet


def test_an_ingest_ends_with_what_is_in_who_is_out_and_what_can_be_done(capsys):
    tell(
        Filled(
            "a4e2",
            refused={"gap": 3, "two-patients": 1},
            gone={"denied": 1, "no-permit": 2},
            out={"denied": 2, "too-young": 1},
            held=Held(entries=67, patients=38, new=25, left=4),
        ),
        "study",
        "studies",
    )
    assert capsys.readouterr().out.splitlines() == [
        "patients taken out: 1 by denied, 2 by no-permit",
        "out by denied: 2 patients",
        "out by too-young: 1 patient",
        "refused by gap: 3",
        "refused by two-patients: 1; mend the source, then run with --again",
        "left the store, or replaced: 4 series",
        "in the store: 67 studies of 38 patients, 25 new",
        "store version a4e2",
    ]


def test_one_is_no_plural(capsys):
    tell(Filled("a4e2", held=Held(entries=1, patients=1)), "study", "studies")
    consent_told(Asked(1, {}, Unmet()))
    assert capsys.readouterr().out.splitlines() == [
        "in the store: 1 study of 1 patient, 0 new",
        "store version a4e2",
        "asked for 1 patient; taken out: 0",
    ]
