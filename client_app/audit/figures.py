"""The figures of the audit's page, as inline SVG."""

from client_app.audit.membership import most_found
from client_app.audit.records import CanaryGame, Contribution, Membership
from federation.page.numbers import cost, score, with_interval
from federation.page.style import ALARM, GRID, INK, MODEL, MUTED, blank, drawing, to_svg


def claimed_and_proved(game: CanaryGame) -> str:
    """Two bars: the ε that the canaries' noise allows, and what their finder proved."""
    sound = game.at_least <= game.promised
    bars = (
        ("allowed: at most", game.promised, GRID),
        ("proved: at least", game.at_least, MODEL if sound else ALARM),
    )
    with drawing():
        figure, axes = blank(2.2)
        for height, (_, value, colour) in zip((1, 0), bars, strict=True):
            axes.barh(height, value, 0.62, color=colour)
            axes.annotate(
                f"ε = {value:.2f}", (value, height), (6, 0), textcoords="offset points", va="center"
            )
        axes.axvline(game.promised, color=INK, linewidth=1.2)
        axes.set_yticks((1, 0), [name for name, _, _ in bars])
        for tick in axes.get_yticklabels():
            tick.set_color(INK)
        axes.set(xlim=(0, 1.3 * max(game.promised, game.at_least)), ylim=(-0.5, 1.5), xlabel="ε")
        axes.spines["left"].set_visible(False)
        told = (
            f"Epsilon of the test's noise {game.promised:g}; the guesses prove at least {game.at_least:.2f}."
        )
        return to_svg(figure, "claimed-and-proved", told)


def contributions(found: tuple[Contribution, ...]) -> str:
    """What synthetic patients moved the sum by, over their number of images; the limit is a line."""
    with drawing():
        figure, axes = blank(2.9)
        axes.axhline(1, color=INK, linewidth=1.2)
        axes.annotate("the limit", (0, 1), (4, 5), textcoords="offset points", color=MUTED)
        sound = [each for each in found if each.share <= 1.001]
        for part, colour, marker in ((sound, MODEL, "o"), ([e for e in found if e not in sound], ALARM, "X")):
            places = [each.images for each in part], [each.share for each in part]
            axes.plot(*places, marker, color=colour, alpha=0.75, markersize=7)
        most = max(each.share for each in found)
        axes.set(xlim=(0, 31.5), ylim=(0, max(1.2, 1.1 * most)))
        axes.set(xlabel="images of the patient", ylabel="share of the limit")
        told = f"The largest contribution of {len(found)} synthetic patients is {most:.3f} of the limit."
        return to_svg(figure, "contributions", told)


def membership_roc(membership: Membership, epsilon: float | None, delta: float | None) -> str:
    """Both attacks' ROC, the 1 % point of the calibrated one, and what the promise leaves possible."""
    main = membership.attacks["calibrated"]
    with drawing():
        figure, axes = blank(4.4)
        axes.plot([0, 1], [0, 1], color=GRID)
        axes.annotate("a coin", (0.62, 0.62), (6, -10), textcoords="offset points", color=MUTED)
        if epsilon is not None and delta is not None:
            grid = [step / 400 for step in range(401)]
            ceiling = [most_found(share, epsilon, delta) for share in grid]
            axes.plot(grid, ceiling, color=INK, linewidth=1.4, label=f"possible at most, ε = {cost(epsilon)}")
        looks = {"calibrated": (MODEL, "-", 2.6), "plain": (ALARM, (0, (4, 2)), 1.6)}
        for name, attack in membership.attacks.items():
            colour, line, width = looks[name]
            label = f"{name} attack, AUC {with_interval(attack.auc, attack.auc_interval)}"
            axes.plot(*attack.roc, color=colour, linestyle=line, linewidth=width, label=label, zorder=3)
        axes.axvline(main.false_alarms, color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
        axes.plot(main.false_alarms, main.found, "D", color=MODEL, markersize=9, zorder=4)
        axes.annotate(
            f"at 1 % false alarms: {main.found:.1%}",
            (main.false_alarms, main.found),
            (0.08, 0.68),
            color=MODEL,
            weight="bold",
            arrowprops={"arrowstyle": "-", "color": MODEL, "linewidth": 0.8},
        )
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set(xlabel="held-out patients wrongly accused", ylabel="training patients found")
        axes.legend(loc="lower right", frameon=False)
        told = (
            f"ROC of the membership attack. AUC {score(main.auc)}; at one per cent false alarms "
            f"{main.found:.1%} of members are found."
        )
        return to_svg(figure, "membership-roc", told)
