#!/usr/bin/env python3
"""Registry operations of a release in addition to `docker push` (OCI distribution specification 1.1).

Usage:
  registry.py find IMAGE:TAG                         print its commit and digest; nothing if it does not exist
  registry.py index REVISION IMAGE:TAG IMAGE:TAG...  store an index of platforms without a tag; print its digest
  registry.py attach IMAGE@DIGEST TYPE FILE          attach a file to it, unless one of that type is attached already
  registry.py tag IMAGE@DIGEST TAG                   tag it

The login is read from DOCKERHUB_USERNAME and DOCKERHUB_TOKEN. A registry on loopback is used without TLS.
"""

import base64
import hashlib
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
EMPTY = "application/vnd.oci.empty.v1+json"
REVISION = "org.opencontainers.image.revision"
TIMEOUT = 60  # seconds


def fail(message):
    sys.exit(f"release: {message}")


class Repository:
    """A repository of a registry, such as `openfaaspipe/openfaas-pipe`."""

    def __init__(self, image):
        host, _, path = image.partition("/")
        if not re.search(r"[.:]", host):
            host, path = "registry-1.docker.io", image
        scheme = "http" if re.match(r"(127\.|localhost)", host) else "https"
        self.path = path
        self.url = f"{scheme}://{host}/v2/{path}"
        self.authorization = None

    def request(self, method, path, body=None, media_type=None, accept=None, missing_ok=False):
        """Returns the response's headers and body; None for a 404 with `missing_ok`."""
        url = urllib.parse.urljoin(self.url + "/", path)
        headers = {"Content-Type": media_type, "Accept": accept}
        headers = {name: value for name, value in headers.items() if value}
        request = urllib.request.Request(url, data=body, headers=headers, method=method)
        if self.authorization:
            # Blobs are often redirected to another host, which must not get the credentials.
            request.add_unredirected_header("Authorization", self.authorization)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                return response.headers, response.read()
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate", "")
            if error.code == 401 and not self.authorization and challenge:
                self.authorization = self.login(challenge)
                return self.request(method, path, body, media_type, accept, missing_ok)
            if error.code == 404 and missing_ok:
                return None
            fail(f"{method} {url}: {error.code} {error.reason}: {error.read(2048).decode(errors='replace')}")
        except urllib.error.URLError as error:
            fail(f"{method} {url}: {error.reason}")

    def login(self, challenge):
        """Returns the Authorization header for a challenge: basic, or a bearer token with permission to push."""
        user, password = os.environ.get("DOCKERHUB_USERNAME"), os.environ.get("DOCKERHUB_TOKEN")
        if not user or not password:
            fail("set DOCKERHUB_USERNAME and DOCKERHUB_TOKEN")
        basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        if challenge.lower().startswith("basic"):
            return basic
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if not fields.get("realm", "").startswith("https://"):
            fail(f"`{challenge}` names no https realm")
        query = {"service": fields.get("service", ""), "scope": f"repository:{self.path}:pull,push"}
        url = f"{fields['realm']}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, headers={"Authorization": basic})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                answer = json.load(response)
        except urllib.error.URLError as error:
            fail(f"{fields['realm']}: {error}")
        return "Bearer " + (answer.get("token") or answer["access_token"])

    def manifest(self, reference):
        """Returns descriptor and contents of a manifest or index; None if it does not exist."""
        accept = ", ".join([INDEX, MANIFEST, DOCKER_MANIFEST])
        found = self.request("GET", f"manifests/{reference}", accept=accept, missing_ok=True)
        if found is None:
            return None, None
        headers, body = found
        return descriptor(headers.get_content_type(), body), json.loads(body)

    def put_manifest(self, manifest, reference=None):
        """Stores a manifest or index under its digest, or a tag; returns its descriptor and the response's headers."""
        body = json.dumps(manifest).encode()
        stored = descriptor(manifest["mediaType"], body)
        headers, _ = self.request("PUT", f"manifests/{reference or stored['digest']}", body, manifest["mediaType"])
        return stored, headers

    def put_blob(self, media_type, body):
        """Stores a blob, unless the registry has it; returns its descriptor."""
        blob = descriptor(media_type, body)
        if self.request("HEAD", f"blobs/{blob['digest']}", missing_ok=True) is None:
            headers, _ = self.request("POST", "blobs/uploads/", b"")
            location = urllib.parse.urljoin(self.url, headers["Location"])
            location += ("&" if "?" in location else "?") + urllib.parse.urlencode({"digest": blob["digest"]})
            self.request("PUT", location, body, "application/octet-stream")
        return blob


def descriptor(media_type, body):
    return {"mediaType": media_type, "digest": "sha256:" + hashlib.sha256(body).hexdigest(), "size": len(body)}


def split(image, separator):
    name, found, reference = image.rpartition(separator)
    if not found:
        fail(f"`{image}` has no `{separator}`")
    return Repository(name), reference


def find(image):
    repository, tag = split(image, ":")
    found, manifest = repository.manifest(tag)
    if found:
        print(manifest.get("annotations", {}).get(REVISION, "unknown"), found["digest"])


def index(commit, *images):
    manifests = []
    for image in images:
        repository, tag = split(image, ":")
        found, manifest = repository.manifest(tag)
        if not found:
            fail(f"`{image}` is not in the registry: build it first")
        config = json.loads(repository.request("GET", f"blobs/{manifest['config']['digest']}")[1])
        label = config["config"].get("Labels", {}).get(REVISION)
        if label != commit:
            fail(f"`{image}` was built from {label}, not from {commit}: build it again")
        found["platform"] = {"architecture": config["architecture"], "os": config["os"]}
        manifests.append(found)
    platforms = [found["platform"]["architecture"] for found in manifests]
    if len(set(platforms)) < len(platforms):
        fail(f"two images have the same platform: {', '.join(platforms)}")
    annotations = {REVISION: commit}
    contents = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": annotations}
    print(repository.put_manifest(contents)[0]["digest"])


def attach(image, media_type, file):
    repository, digest = split(image, "@")
    subject, _ = repository.manifest(digest)
    if not subject:
        fail(f"`{image}` is not in the registry")
    # In a registry without the referrers API, this tag refers to their list.
    fallback = digest.replace(":", "-")
    found = repository.request("GET", f"referrers/{digest}", accept=INDEX, missing_ok=True)
    referrers = json.loads(found[1]) if found else repository.manifest(fallback)[1]
    referrers = referrers or {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    if any(one.get("artifactType") == media_type for one in referrers["manifests"]):
        return
    with open(file, "rb") as opened:
        layer = repository.put_blob(media_type, opened.read())
    layer["annotations"] = {"org.opencontainers.image.title": os.path.basename(file)}
    empty = repository.put_blob(EMPTY, b"{}")
    artifact = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": media_type,
        "config": empty,
        "layers": [layer],
        "subject": subject,
    }
    stored, headers = repository.put_manifest(artifact)
    if not headers.get("OCI-Subject"):
        referrers["manifests"].append(stored | {"artifactType": media_type})
        repository.put_manifest(referrers, fallback)


def tag(image, name):
    repository, digest = split(image, "@")
    accept = ", ".join([INDEX, MANIFEST])
    headers, body = repository.request("GET", f"manifests/{digest}", accept=accept)
    repository.request("PUT", f"manifests/{name}", body, headers.get_content_type())


if __name__ == "__main__":
    commands = {"find": find, "index": index, "attach": attach, "tag": tag}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
