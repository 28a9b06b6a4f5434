"""What a first program looks like."""

import greenroom

actor = greenroom.ActorEnvironment(name="hello", replica_count=1)


@actor.task
def hello(n: int) -> int:
    return n + 1
