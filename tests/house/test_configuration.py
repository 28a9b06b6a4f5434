"""The page of settings is drawn from them, and none goes without a word."""

from __future__ import annotations

from greenroom_hub.config import HubConfig
from tests.house.configuration import PAGE, draw, told


def test_each_setting_says_what_it_means():
    """
    A setting has a unit and a default's reason below it.
    """
    assert set(told()) == set(HubConfig.model_fields)


def test_the_page_says_what_the_settings_say():
    """
    `docs/configuration.md` is what `python -m tests.house.configuration` writes.
    """
    assert PAGE.read_text() == draw()
