"""Use bundles on a replica: lay out their files, import their modules, share what has not changed between them."""

from greenroom_replica.bundles.active import Active
from greenroom_replica.bundles.blobs import Blobs, LocalBlobs
from greenroom_replica.bundles.bundles import Bundles
from greenroom_replica.bundles.errors import BlobMissing, BundleFailed, ImportFailed, NotDefined
from greenroom_replica.bundles.tree import Tree, materialise

__all__ = [
    "Active",
    "BlobMissing",
    "Blobs",
    "BundleFailed",
    "Bundles",
    "ImportFailed",
    "LocalBlobs",
    "NotDefined",
    "Tree",
    "materialise",
]
