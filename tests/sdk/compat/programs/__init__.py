"""Programs as people write them for Flyte, each with a workflow that the tests run."""
