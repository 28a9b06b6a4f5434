from datetime import datetime, timedelta

from flytekit import Annotations, CronSchedule, Email, FixedRate, Labels, LaunchPlan, Slack, task, workflow
from flytekit.models.core.execution import WorkflowExecutionPhase


@task
def inc(n: int, by: int = 1) -> int:
    return n + by


@task
def year(kt: datetime) -> int:
    return kt.year


@workflow
def child(n: int, by: int = 1) -> int:
    return inc(n=n, by=by)


@workflow
def sched(kt: datetime, by: int = 2) -> int:
    return inc(n=year(kt=kt), by=by)


lp = LaunchPlan.get_or_create(
    child,
    name="plans_lp",
    default_inputs={"n": 4},
    fixed_inputs={"by": 10},
    labels=Labels({"a": "b"}),
    annotations=Annotations({"x": "y"}),
)
dflt = LaunchPlan.get_or_create(child)
cron = LaunchPlan.get_or_create(
    sched,
    name="plans_cron",
    schedule=CronSchedule(schedule="*/5 * * * *", kickoff_time_input_arg="kt"),
    notifications=[Email(phases=[WorkflowExecutionPhase.SUCCEEDED], recipients_email=["a@example.com"])],
)
rate = LaunchPlan.get_or_create(
    child, name="plans_rate", schedule=FixedRate(duration=timedelta(minutes=10)), default_inputs={"n": 1}
)


@workflow
def parent(n: int) -> (int, int, int):
    return lp(n=n), lp(), dflt(n=n, by=5)
