"""Flyte's words for types, values, interfaces and graphs, as plain data: what programs build and read by hand.

Greenroom sends none of it anywhere. A program's own `TypeTransformer` makes literals, and they travel as values of
Greenroom; `get_serializable` describes a workflow in these words, for tools and tests that look at one.
"""
