"""Puts Apache Kafka into the cache: the broker and the console tools that the integration tests start. Called by `make test`.

Its jars are Maven artifacts like any other's: Maven is given a project that depends on them and copies them, and what they depend
on, into one folder. The folder gets its name only when it is whole, so that a download that was cut off is never taken for one.
Without Maven nothing is touched, and the tests that need the broker skip with a line that says what to install.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from penstock.testing.kafka import KAFKA_VERSION, kafka_directory

# What is copied, and what copies it. `slf4j-simple` lets the broker and the tools write their log to stderr.
ARTIFACTS = {
    "org.apache.kafka:kafka_2.13": KAFKA_VERSION,
    "org.apache.kafka:kafka-tools": KAFKA_VERSION,
    "org.slf4j:slf4j-simple": "1.7.36",
}
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def project() -> str:
    """A Maven project that only depends on the artifacts."""
    dependencies = ""
    for artifact, version in ARTIFACTS.items():
        group, name = artifact.split(":")
        inner = f"<groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>"
        dependencies += f"    <dependency>{inner}</dependency>\n"
    return (
        "<project>\n  <modelVersion>4.0.0</modelVersion>\n"
        "  <groupId>dev.penstock</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>\n"
        f"  <dependencies>\n{dependencies}  </dependencies>\n</project>\n"
    )


def main() -> None:
    target = kafka_directory()
    if target.exists():
        return
    maven = shutil.which("mvn")
    if maven is None:
        print("Apache Kafka needs Maven and Java 17 (apt-get install maven); the tests that need a broker are skipped")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=target.parent))
    try:
        (partial / "pom.xml").write_text(project())
        print(f"getting Apache Kafka {KAFKA_VERSION} with Maven", flush=True)
        command = [maven, "--batch-mode", "--quiet", "--file", str(partial / "pom.xml"), PLUGIN]
        command += [f"-DoutputDirectory={partial / 'libs'}", "-DincludeScope=runtime"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not any(partial.glob("libs/kafka_2.13-*.jar")):
            reason = (done.stdout + done.stderr).strip()[-300:]
            print(f"Apache Kafka could not be had; the tests that need a broker are skipped ({reason})")
            return
        partial.chmod(0o755)
        if not target.exists():
            os.rename(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


if __name__ == "__main__":
    main()
