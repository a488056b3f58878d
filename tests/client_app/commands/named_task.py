"""The toy task at a hospital that knows its patients by name, as hospitals do."""

from dataclasses import replace

from toy_task import Squares

PLANTED = tuple(f"Müller, Änne {1931 + number}-04-02" for number in range(60))


class NamedSquares(Squares):
    def _examples(self, patients, seed, name=""):
        examples = super()._examples(patients, seed, name)
        if not name:
            return examples
        # Whoever is held out is somebody else than those who are learnt from.
        first = 30 if name.endswith("-test") else 0
        return replace(examples, identities=PLANTED[first : first + patients])


def create(options, folder):
    return NamedSquares(
        patients=int(options.get("patients", 24)),
        held_out=int(options.get("held_out", 6)),
        one_class=False,
        fails_with=PLANTED[3] if options.get("fails") else "",
    )
