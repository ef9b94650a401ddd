"""What the pictures of all sections share."""

from matplotlib.figure import Figure

from bench.record.metrics import Metrics


def headline(figure: Figure, metrics: Metrics, what: str, marks: str) -> None:
    """Three lines at the top: what is shown; on which machine, when, how far to be trusted; what the marks are."""
    record, grade = metrics.record, metrics.trust["grade"] or "without a grade"
    machine = f"{record['machine']['cpu']['model']} ({record['machine']['id'][-8:]})"
    figure.suptitle(
        f"{what}\n{machine}, {record['ended'][:10]}, trust {grade}\n{marks}",
        fontsize=9.5,
        x=0.01,
        ha="left",
        color="0.25",
    )
