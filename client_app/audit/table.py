"""The audit as a table for a terminal."""

from rich import box
from rich.table import Table

from client_app.audit.records import PrivacyAudit
from client_app.audit.words import headline


def audit_table(audit: PrivacyAudit) -> Table:
    """What was tested, whether it holds, and what was found."""
    table = Table(box=box.SIMPLE_HEAD, title=f"{audit.title}: {headline(audit)}", title_justify="left")
    for column in ("test", "result", "what was found"):
        table.add_column(column)
    for check in audit.rehearsal.checks if audit.rehearsal else ():
        table.add_row(check.name, "passed" if check.passed else "FAILED", check.reason)
    for name, attack in audit.membership.attacks.items() if audit.membership else ():
        (low, high), span = attack.found_interval, attack.auc_interval
        found = (
            f"AUC {attack.auc:.3f} ({span[0]:.3f}–{span[1]:.3f}); at 1 % false alarms {attack.found:.1%} of "
            f"{attack.members:,} members ({low:.1%}–{high:.1%})"
        )
        table.add_row("membership", f"{name} attack", found)
    if (inversion := audit.inversion) is not None:
        protected = inversion.protected_psnr
        ending = "" if protected is None else f", from the protected one {protected:.1f} dB"
        found = (
            f"from the bare update {inversion.bare_psnr:.1f} dB{ending}; a grey area has "
            f"{inversion.constant_psnr:.1f} dB"
        )
        table.add_row("inversion", "attack", found)
    return table
