"""Pod templates: client models of every age, taken apart without importing them."""

from __future__ import annotations

import pytest

from greenroom.containers import Container, actor
from greenroom.definition_errors import BadArgument
from greenroom.environment import ActorEnvironment
from greenroom.images import ImageSpec
from greenroom.pods import PodTemplate, plain, read
from greenroom.resources import Resources


def manifest() -> dict[str, object]:
    return {
        "containers": [
            {
                "name": "primary",
                "image": "image:1",
                "env": [{"name": "A", "value": "1"}, {"name": "R", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
                "resources": {
                    "requests": {"cpu": "1", "memory": "1Gi", "hugepages-2Mi": "4Mi"},
                    "limits": {"cpu": "2"},
                },
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            },
            {"name": "sidecar", "image": "side:1"},
        ],
        "volumes": [{"name": "data", "emptyDir": {}}],
    }


class OldModel:
    """A model as older clients have them."""

    attribute_map = {"some_name": "someName", "items": "items", "unset": "unset"}

    def __init__(self, some_name: object, items: object) -> None:
        self.some_name, self.items, self.unset = some_name, items, None


class TestModels:
    def test_current_models(self):
        """
        Models that validate keep the image's text; its ImageSpec is found by it.
        """
        models = pytest.importorskip("kubernetes.client.models")
        image = ImageSpec(packages=["numpy"])
        container = models.V1Container(
            name="primary",
            image=image,
            env=[models.V1EnvVar(name="A", value="1")],
            resources=models.V1ResourceRequirements(requests={"cpu": "1", "memory": "1Gi"}),
        )

        environment = actor(ActorEnvironment("a", pod_template=PodTemplate(models.V1PodSpec(containers=[container]))))

        assert (str(image), ("numpy",), {"A": "1"}) == (environment.image, environment.packages, environment.env)
        assert (environment.requests.cpu, environment.requests.memory, environment.pod) == (1.0, 1 << 30, {})

    def test_older_models(self):
        """
        Models with an attribute map are read by it, at any depth.
        """
        inner = OldModel("x", ())

        assert plain(OldModel(["a"], [inner])) == {"someName": ["a"], "items": [{"someName": "x", "items": []}]}

    def test_manifests(self):
        """
        A dict as in a manifest does as well.
        """
        parts = read(PodTemplate(manifest(), labels={"team": "ml"}))

        assert ("image:1", {"A": "1"}, Resources(cpu="1", mem="1Gi"), Resources(cpu="2")) == (
            parts.image,
            parts.env,
            parts.requests,
            parts.limits,
        )
        assert parts.rest["labels"] == {"team": "ml"} and parts.rest["primary"] == "primary"

    def test_what_processes_cannot_have_is_carried_along(self):
        """
        Sidecars, volumes and foreign resources stay in the rest, as the manifest has them.
        """
        rest = read(PodTemplate(manifest())).rest["spec"]

        primary, sidecar = rest["containers"]
        assert sidecar == {"name": "sidecar", "image": "side:1"}
        assert primary["resources"] == {"requests": {"hugepages-2Mi": "4Mi"}}
        assert [entry["name"] for entry in primary["env"]] == ["R"]
        assert rest["volumes"] == [{"name": "data", "emptyDir": {}}]

    def test_no_primary_container_is_fine(self):
        """
        A template may hold init containers alone: the primary container is added.
        """
        parts = read(PodTemplate({"containers": [], "initContainers": [{"name": "init"}]}))

        assert (parts.image, parts.env, parts.requests) == (None, {}, None)
        assert parts.rest["spec"] == {"initContainers": [{"name": "init"}]}

    @pytest.mark.parametrize("spec", ["text", 3, [1]])
    def test_anything_else_is_refused(self, spec):
        """
        What is neither a model nor a manifest is refused.
        """
        with pytest.raises(BadArgument, match="pod_spec"):
            read(PodTemplate(spec))

    def test_a_primary_container_has_a_name(self):
        """
        Without a name nothing could be found.
        """
        with pytest.raises(BadArgument, match="primary_container_name"):
            PodTemplate(primary_container_name="")


class TestTogetherWithArguments:
    def test_requests_take_the_place_of_the_templates(self):
        """
        `requests` replaces the primary container's requests and empties its limits.
        """
        made = Container(requests=Resources(mem="2Gi"), pod_template=PodTemplate(manifest())).compiled()

        assert (made.requests.cpu, made.requests.memory) == (None, 2 << 30)
        assert (made.limits.cpu, made.limits.memory) == (None, None)

    def test_the_templates_variables_and_image_win(self):
        """
        `environment` comes first, the template after it, as in Kubernetes.
        """
        template = PodTemplate(manifest())

        made = Container(image="other:1", environment={"A": "0", "B": "2"}, pod_template=template).compiled()

        assert (made.image, made.env) == ("image:1", {"A": "1", "B": "2"})

    def test_labels_are_joined(self):
        """
        A task's own labels join the template's.
        """
        template = PodTemplate(labels={"a": "1", "b": "1"})

        assert Container(pod_template=template, labels={"b": "2"}).compiled().pod["labels"] == {"a": "1", "b": "2"}
