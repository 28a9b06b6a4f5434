"""`FlyteSchema`: tables as programs before `StructuredDataset` wrote them."""

from __future__ import annotations

from typing import Annotated, Any

from greenroom.types.datasets import StructuredDataset


class FlyteSchema(StructuredDataset):
    """A table: `FlyteSchema[kwtypes(a=int)]` names columns, `open().all()` reads it, `open().write(df)` makes it."""

    def __class_getitem__(cls, columns: Any) -> Any:
        """The class with columns."""
        return Annotated[cls, columns]

    def __init__(
        self, dataframe: Any = None, uri: str | None = None, remote_path: str | None = None, **more: Any
    ) -> None:
        """Hold a table, or where it is.

        Args:
            dataframe: A data frame.
            uri: The path or address of a parquet or csv file.
            remote_path: As `uri`.
            **more: As for `StructuredDataset`.
        """
        super().__init__(dataframe, uri or remote_path, **more)

    def open(self, dataframe_fmt: Any = None, override_mode: Any = None) -> Any:
        """Say as what it is read: pandas unless another class is given.

        Args:
            dataframe_fmt: A class of data frames.
            override_mode: Accepted; what is opened can be read and written.
        """
        if dataframe_fmt is None:
            import pandas

            dataframe_fmt = pandas.DataFrame
        return super().open(dataframe_fmt)

    def write(self, *dataframes: Any) -> None:
        """Put data frames into it, one below the other."""
        if len(dataframes) == 1:
            self._dataframe = dataframes[0]
        else:
            import pandas

            self._dataframe = pandas.concat(dataframes)
