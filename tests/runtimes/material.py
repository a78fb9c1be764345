"""What the tests of runtimes share."""

from steadystyle.runtimes.artifact import ArtifactMetadata

METADATA = ArtifactMetadata(
    name="negative",
    style="none",
    architecture="none",
    sizes={},
    precision="fp32",
    width=None,
    height=None,
    checkpoint_sha256="",
    calibration_sha256=None,
    steps=0,
    producer="test",
)
"""Of an artifact for frames of any size that turns a picture into its negative."""
