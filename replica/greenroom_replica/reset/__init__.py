"""The reset between calls: what a fresh process would have, without its cost.

`Reset` is the door. Behind it: `walk` finds the user's state and `nodes`, `objects`, `special`, `streams` keep it;
`rows` are the process's state; `watch` and `images` tell in a microsecond that nothing changed; `strays`, `figures`
and `owners` look after what a call leaves behind, and what a cache entry may keep.
"""

from greenroom_replica.reset.owners import Owner
from greenroom_replica.reset.report import Costly, Report
from greenroom_replica.reset.reset import Reset

__all__ = ["Costly", "Owner", "Report", "Reset"]
