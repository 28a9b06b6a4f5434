"""A program whose imports take longer than everything else."""

import pandas as pd
from sklearn.linear_model import LinearRegression

import greenroom

actor = greenroom.ActorEnvironment(name="pandas", replica_count=1)


@actor.task
def hello(n: int) -> int:
    frame = pd.DataFrame({"x": [0, 1, 2], "y": [1, 2, 3]})
    model = LinearRegression().fit(frame[["x"]], frame["y"])
    return round(float(model.predict(pd.DataFrame({"x": [n]}))[0]))
