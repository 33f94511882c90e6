"""What the panels ask: every query keeps to the job and the accounts that were chosen."""

JOB = 'job=~"$job"'
ONE = f'{JOB}, account=~"$account"'  # what belongs to an account
BAD = "server_error|timeout|network|unintelligible"  # as the alert ReturnsCarrierFailing counts them
WAITING = f'{ONE}, state="needs_attention"'
OPEN = f'{ONE}, state=~"pending|tracking"'


def largest(metric: str, *by: str, where: str = ONE) -> str:
    """A gauge that is read from the database: every worker shows the same, or will in a moment."""
    return f"max by ({', '.join(by or ('account',))}) (returns_worker_{metric}{{{where}}})"


def per_minute(metric: str, *by: str, where: str = ONE) -> str:
    """Events a minute, over all workers."""
    return f"60 * sum by ({', '.join(by)}) (rate(returns_worker_{metric}{{{where}}}[$__rate_interval]))"


def quantile(share: float, metric: str, *by: str, where: str = ONE) -> str:
    """Of a histogram, over all workers; nothing while nothing happened."""
    kept = ", ".join(("le", *by))
    rate = f"sum by ({kept}) (rate(returns_worker_{metric}_bucket{{{where}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {rate}) >= 0"
