"""ImageSpec: described, named by its content, never built here."""

from __future__ import annotations

import pickle

import pytest

from greenroom.definition_errors import BadArgument
from greenroom.images import ImageSpec, notes_of, requirements_of, spec_of


def test_is_its_own_name():
    """
    A spec stands wherever an image's name can, and models that keep only the text lose nothing.
    """
    spec = ImageSpec(name="app", registry="ghcr.io/me", packages=["numpy"])

    assert isinstance(spec, str)
    assert str(spec).startswith("ghcr.io/me/app:") and spec == spec.image_name()
    assert spec_of(str(spec)) is spec
    assert spec_of("python:3.11") is None


def test_equal_if_all_fields_are():
    """
    The name is a digest of the fields.
    """
    assert ImageSpec(packages=["a"]) == ImageSpec(packages=["a"]) != ImageSpec(packages=["b"])
    assert len({ImageSpec(packages=["a"]), ImageSpec(packages=["a"])}) == 1


def test_fields_are_attributes():
    """
    Programs read a spec's fields.
    """
    spec = ImageSpec(packages=["a"], python_version="3.12", env={"A": "1"})

    assert (spec.packages, spec.python_version, spec.env, spec.apt_packages) == (["a"], "3.12", {"A": "1"}, None)
    with pytest.raises(AttributeError, match="colour"):
        _ = spec.colour


def test_tag_format():
    """
    A tag is written around the hash.
    """
    assert ImageSpec(tag_format="{spec_hash}-dev").tag.endswith("-dev")


def test_adds_to_itself():
    """
    The `with_` methods give a new spec and leave the old one alone.
    """
    spec = ImageSpec(packages=["a"])

    more = spec.with_packages("b").with_apt_packages(["git"]).with_commands(["ls"]).with_copy("x").force_push()

    assert (
        spec.packages,
        more.packages,
        more.apt_packages,
        more.commands,
        more.copy,
    ) == (["a"], ["a", "b"], ["git"], ["ls"], ["x"])


def test_survives_pickling():
    """
    A pickled spec comes back with its fields.
    """
    spec = ImageSpec(packages=["a"])

    assert spec == pickle.loads(pickle.dumps(spec)) and pickle.loads(pickle.dumps(spec)).packages == ["a"]


def test_positions_are_those_of_flytekit():
    """
    Positional arguments mean what they mean there.
    """
    assert (
        (spec := ImageSpec("app", "3.11", None, "root")).name,
        spec.python_version,
        spec.source_root,
    ) == ("app", "3.11", "root")


@pytest.mark.parametrize(
    ("args", "fields"),
    [
        ((), {"package": ["a"]}),
        ((), {"packages": "a"}),
        ((), {"packages": [1]}),
        ((), {"name": ""}),
        (("a",), {"name": "b"}),
    ],
)
def test_refuses_what_it_does_not_have(args, fields):
    """
    Unknown fields and wrong lists are refused at definition.
    """
    with pytest.raises(BadArgument, match="ImageSpec"):
        ImageSpec(*args, **fields)


def test_requirements_come_from_packages_and_file(tmp_path):
    """
    What must be installed is the packages and the lines of the requirements file.
    """
    file = tmp_path / "requirements.txt"
    file.write_text("# comment\nnumpy>=2  # why\n\n-e .\npandas\n")

    assert requirements_of(ImageSpec(packages=["a"], requirements=str(file))) == ("a", "numpy>=2", "pandas")
    with pytest.raises(BadArgument, match="requirements"):
        requirements_of(ImageSpec(requirements=str(tmp_path / "none.txt")))


def test_says_what_a_process_cannot_have():
    """
    Apt and conda packages, commands, and another Python are told; names and registries are not.
    """
    spec = ImageSpec(
        "app",
        registry="r",
        python_version="2.7",
        apt_packages=["git"],
        conda_packages=["x"],
        commands=["ls"],
        cuda="12",
    )

    assert notes_of(spec)[1:] == ("apt: git", "conda: x", "commands: ls", "cuda='12'")
    assert notes_of(spec)[0].startswith("python 2.7 (runs on 3.")
    assert notes_of(ImageSpec("app", registry="r", packages=["numpy"])) == ()


def test_is_the_container_unless_another_one_is_named(monkeypatch):
    """
    Code guarded by `is_container` runs where no image is used, and in its own image.
    """
    spec = ImageSpec(packages=["a"])

    assert spec.is_container()
    monkeypatch.setenv("GREENROOM_IMAGE", str(spec))
    assert spec.is_container()
    monkeypatch.setenv("GREENROOM_IMAGE", "other:1")
    assert not spec.is_container()


def test_pins_what_is_installed_here():
    """
    `from_env` names this interpreter, and packages at the versions that are installed.
    """
    import msgpack

    spec = ImageSpec.from_env(pinned_packages=["msgpack"], packages=["other"]).with_runtime_packages("late")

    assert ["other", f"msgpack=={'.'.join(map(str, msgpack.version))}"] == spec.packages
    assert requirements_of(spec)[-1] == "late" and notes_of(spec) == ()
    assert spec.with_builder_options({"a": 1}).with_builder_options({"b": 2}).builder_options == {"a": 1, "b": 2}
