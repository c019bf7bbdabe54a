#!/usr/bin/env python3
"""Real object stores on loopback, each a process with a folder of its own, and buckets in them.

Beside the program stands a second client, written here on the standard library alone: it looks at
objects, and loses or alters them at rest.

    servers.py COMMAND...   starts the servers and runs a command that finds them in CB_TEST_S3,
                            CB_TEST_GS and CB_TEST_AZ and in the credentials' own variables
"""

import base64
import contextlib
import ctypes
import dataclasses
import datetime
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
PASSPHRASE = "correct horse battery staple"
AZURE_ACCOUNT = "devstoreaccount1"
# The emulator's published key: the same everywhere, protects nothing.
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


class Refused(Exception):
    def __init__(self, what, status, body):
        super().__init__(f"{what}: {status} {body[:300]!r}")
        self.status = status


def ask(port, method, path, headers=None, body=b"", ok=(200, 201, 202, 204)):
    """One request to loopback. Returns (headers, body); another status than `ok` is Refused."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        got = answer.read()
    finally:
        connection.close()
    if answer.status not in ok:
        raise Refused(f"{method} {path}", answer.status, got)
    return {name.lower(): value for name, value in answer.getheaders()}, got


def quote(text):
    return urllib.parse.quote(text, safe="/-_.~")


def query_string(pairs):
    return "&".join(
        f"{urllib.parse.quote(name, safe='-_.~')}={urllib.parse.quote(str(value), safe='-_.~')}"
        for name, value in sorted(pairs.items())
    )


def texts(element, name):
    """The texts of all elements of that name, whatever their namespace."""
    return [one.text or "" for one in element.iter() if one.tag.rpartition("}")[2] == name]


# ---- servers ------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Server:
    """A process that listens on loopback. Started lazily, killed by stop()."""

    name = ""

    def __init__(self, folder):
        self.folder = folder
        self.process = None
        self.start()

    def command(self):
        done = subprocess.run(
            [ROOT / "tools" / "servers", self.name], capture_output=True, text=True, timeout=1500
        )
        assert done.returncode == 0, f"no server {self.name}:\n{done.stderr}"
        return shlex.split(done.stdout.split("\t", 1)[1])

    def start(self):
        command = self.command()
        for attempt in range(3):
            self.port = free_port()
            with open(self.folder / f"{self.name}.log", "ab") as log:
                self.process = subprocess.Popen(
                    [*command, *self.arguments()],
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **self.environment()},
                    preexec_fn=die_with_parent,
                )
            end = time.monotonic() + 60
            while self.process.poll() is None and time.monotonic() < end:
                with contextlib.suppress(OSError, http.client.HTTPException, Refused):
                    self.probe()
                    return
                time.sleep(0.05)
            self.stop()
        raise AssertionError(
            f"{self.name} did not start:\n{(self.folder / f'{self.name}.log').read_text()[-2000:]}"
        )

    def environment(self):
        return {}

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"


@dataclasses.dataclass
class Keys:
    """S3 credentials."""

    access_key: str
    secret: str
    token: str = ""

    def env(self):
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_SESSION_TOKEN": self.token or None,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def sign(self, method, path, query, headers, body, service, host):
        """Signature version 4. `path` and `query` are percent-encoded, the query sorted."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        signed = {**headers, "host": host, "x-amz-date": now, "x-amz-content-sha256": digest}
        if self.token:
            signed["x-amz-security-token"] = self.token
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{digest}"
        scope = f"{now[:8]}/us-east-1/{service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n" + hashlib.sha256(canonical.encode()).hexdigest()
        key = b"AWS4" + self.secret.encode()
        for part in (now[:8], "us-east-1", service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.new(key, text.encode(), "sha256").hexdigest()
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return signed


class Minio(Server):
    name = "minio"
    root = Keys("labroot", "labsecret1")

    def arguments(self):
        data = self.folder / "minio"
        data.mkdir(exist_ok=True)
        console = free_port()
        return ["server", "--quiet", "--address", f"127.0.0.1:{self.port}",
                "--console-address", f"127.0.0.1:{console}", str(data)]  # fmt: skip

    def environment(self):
        return {
            "MINIO_ROOT_USER": self.root.access_key,
            "MINIO_ROOT_PASSWORD": self.root.secret,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_CI_CD": "1",
        }

    def probe(self):
        self.request("GET", "/")  # its health is good before its users are known

    def request(self, method, path, query=None, headers=None, body=b"", keys=None, service="s3"):
        path, query = quote(path), query_string(query or {})
        headers = {name.lower(): value for name, value in (headers or {}).items()}
        headers = (keys or self.root).sign(
            method, path, query, headers, body, service, f"127.0.0.1:{self.port}"
        )
        return ask(self.port, method, path + ("?" + query if query else ""), headers, body)

    def bucket(self, versioned=False, locked=False):
        name = f"b{uuid.uuid4().hex[:12]}"
        headers = {"x-amz-bucket-object-lock-enabled": "true"} if locked else {}
        self.request("PUT", f"/{name}", headers=headers)
        if versioned and not locked:
            body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
            self.request("PUT", f"/{name}", {"versioning": ""}, body=body)
        return S3Bucket(self, name)

    def restricted(self, bucket, *actions, prefix=""):
        """Temporary credentials that may do these actions (s3:PutObject ...) in one bucket only."""
        objects = [one for one in actions if not one.startswith(("s3:List", "s3:GetBucket"))]
        rest = [one for one in actions if one not in objects]
        rest += [one for one in actions if one == "s3:ListMultipartUploadParts"]
        statements = [
            {"Effect": "Allow", "Action": objects, "Resource": [f"arn:aws:s3:::{bucket}/{prefix}*"]},
            {"Effect": "Allow", "Action": rest, "Resource": [f"arn:aws:s3:::{bucket}"]},
        ]
        policy = {
            "Version": "2012-10-17",
            "Statement": [one for one in statements if one["Action"]],
        }
        return self.assume_role(policy)

    def assume_role(self, policy=None, seconds=3600):
        form = {"Action": "AssumeRole", "Version": "2011-06-15", "DurationSeconds": seconds}
        if policy:
            form["Policy"] = json.dumps(policy)
        _, body = self.request(
            "POST",
            "/",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urllib.parse.urlencode(form).encode(),
            service="sts",
        )
        answer = xml.etree.ElementTree.fromstring(body)
        return Keys(
            texts(answer, "AccessKeyId")[0],
            texts(answer, "SecretAccessKey")[0],
            texts(answer, "SessionToken")[0],
        )


class Gcs(Server):
    name = "fake-gcs-server"

    def arguments(self):
        own = f"127.0.0.1:{self.port}"
        return ["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port",
                str(self.port), "-public-host", own, "-external-url", f"http://{own}"]  # fmt: skip

    def probe(self):
        ask(self.port, "GET", "/storage/v1/b?project=test")

    def bucket(self, versioned=False):
        name = f"b{uuid.uuid4().hex[:12]}"
        body = json.dumps({"name": name, "versioning": {"enabled": versioned}}).encode()
        headers = {"Content-Type": "application/json"}
        ask(self.port, "POST", "/storage/v1/b?project=test", headers, body)
        return GcsBucket(self, name)


class Azurite(Server):
    name = "azurite"

    def arguments(self):
        data = self.folder / "azurite"
        data.mkdir(exist_ok=True)
        return ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", str(data),
                "--skipApiVersionCheck", "--silent", "--disableTelemetry"]  # fmt: skip

    def probe(self):
        ask(self.port, "GET", "/", ok=range(200, 500))

    def request(self, method, path, query=None, headers=None, body=b""):
        """Signed with the account's key; `path` begins behind the account."""
        query = query or {}
        path = quote(f"/{AZURE_ACCOUNT}{path}")
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {name.lower(): value for name, value in (headers or {}).items()}
        headers |= {"x-ms-date": now, "x-ms-version": "2021-08-06"}
        if body:
            headers.setdefault("content-type", "application/octet-stream")
        lines = [method, "", "", str(len(body)) if body else "", "", headers.get("content-type", "")]
        lines += ["", "", "", headers.get("if-none-match", ""), "", headers.get("range", "")]
        lines += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-ms-")]
        resource = f"/{AZURE_ACCOUNT}{path}"
        resource += "".join(f"\n{name}:{query[name]}" for name in sorted(query))
        text = "\n".join([*lines, resource])
        digest = hmac.digest(base64.b64decode(AZURE_KEY), text.encode(), "sha256")
        signature = base64.b64encode(digest).decode()
        headers["authorization"] = f"SharedKey {AZURE_ACCOUNT}:{signature}"
        headers["content-length"] = str(len(body))
        whole = path + ("?" + query_string(query) if query else "")
        return ask(self.port, method, whole, headers, body)

    def bucket(self):
        name = f"c{uuid.uuid4().hex[:12]}"
        self.request("PUT", f"/{name}", {"restype": "container"})
        return AzureBucket(self, name)


# ---- buckets: the second client -----------------------------------------------------------------


class FolderBucket:
    kind = "folder"
    server = None

    def __init__(self, folder):
        self.folder = folder

    def address(self, prefix, endpoint=None):
        return str(self.folder / prefix)

    def env(self):
        return {}

    def list(self, prefix=""):
        found = [path for path in self.folder.rglob("*") if path.is_file()]
        return sorted(
            key for path in found if (key := str(path.relative_to(self.folder))).startswith(prefix)
        )

    def get(self, key):
        return (self.folder / key).read_bytes()

    def put(self, key, data):
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def remove(self, key):
        (self.folder / key).unlink()


class RemoteBucket:
    scheme = ""

    def __init__(self, server, name):
        self.server, self.name = server, name

    def address(self, prefix, endpoint=None):
        endpoint = endpoint or self.server.endpoint
        return f"{self.scheme}://{self.name}/{prefix}?endpoint={endpoint}"


class S3Bucket(RemoteBucket):
    kind, scheme = "minio", "s3c"

    def env(self):
        return self.server.root.env()

    def request(self, method, key="", query=None, headers=None, body=b"", keys=None):
        path = f"/{self.name}/{key}" if key else f"/{self.name}"
        return self.server.request(method, path, query, headers, body, keys)

    def list(self, prefix=""):
        keys, token = [], {}
        while True:
            query = {"list-type": 2, "prefix": prefix, **token}
            page = xml.etree.ElementTree.fromstring(self.request("GET", "", query)[1])
            keys += texts(page, "Key")
            following = texts(page, "NextContinuationToken")
            if not following:
                return keys
            token = {"continuation-token": following[0]}

    def versions(self, prefix=""):
        """(key, version, is a delete marker, is latest) of everything; small buckets only."""
        page = self.request("GET", "", {"versions": "", "prefix": prefix, "max-keys": 1000})[1]
        found = []
        for one in xml.etree.ElementTree.fromstring(page):
            kind = one.tag.rpartition("}")[2]
            if kind in ("Version", "DeleteMarker"):
                key, version = texts(one, "Key")[0], texts(one, "VersionId")[0]
                latest = texts(one, "IsLatest")[0] == "true"
                found.append((key, version, kind == "DeleteMarker", latest))
        return found

    def uploads(self):
        """Keys of multipart uploads that were begun and neither completed nor aborted."""
        page = self.request("GET", "", {"uploads": ""})[1]
        return texts(xml.etree.ElementTree.fromstring(page), "Key")

    def get(self, key):
        return self.request("GET", key)[1]

    def put(self, key, data):
        self.request("PUT", key, body=data)

    def remove(self, key):
        self.request("DELETE", key)


class GcsBucket(RemoteBucket):
    kind, scheme = "gcs", "gs"

    def env(self):
        return {"STORAGE_EMULATOR_HOST": self.server.endpoint}

    def path(self, key):
        return f"/storage/v1/b/{self.name}/o/{urllib.parse.quote(key, safe='')}"

    def list(self, prefix=""):
        keys, token = [], {}
        while True:
            query = query_string({"prefix": prefix, **token})
            page = json.loads(ask(self.server.port, "GET", f"/storage/v1/b/{self.name}/o?{query}")[1])
            keys += [one["name"] for one in page.get("items", [])]
            if not page.get("nextPageToken"):
                return sorted(keys)
            token = {"pageToken": page["nextPageToken"]}

    def get(self, key):
        return ask(self.server.port, "GET", self.path(key) + "?alt=media")[1]

    def put(self, key, data):
        query = query_string({"uploadType": "media", "name": key})
        ask(self.server.port, "POST", f"/upload/storage/v1/b/{self.name}/o?{query}",
            {"Content-Type": "application/octet-stream"}, data)  # fmt: skip

    def remove(self, key):
        ask(self.server.port, "DELETE", self.path(key))


class AzureBucket(RemoteBucket):
    kind, scheme = "azurite", "az"

    def address(self, prefix, endpoint=None):
        endpoint = f"{endpoint or self.server.endpoint}/{AZURE_ACCOUNT}"
        return f"az://{self.name}/{prefix}?endpoint={endpoint}"

    def env(self):
        return {"AZURE_STORAGE_ACCOUNT": AZURE_ACCOUNT, "AZURE_STORAGE_KEY": AZURE_KEY}

    def list(self, prefix=""):
        keys, marker = [], {}
        while True:
            query = {"restype": "container", "comp": "list", "prefix": prefix, **marker}
            page = xml.etree.ElementTree.fromstring(
                self.server.request("GET", f"/{self.name}", query)[1]
            )
            keys += [
                texts(one, "Name")[0] for one in page.iter() if one.tag.rpartition("}")[2] == "Blob"
            ]
            following = [one for one in texts(page, "NextMarker") if one]
            if not following:
                return keys
            marker = {"marker": following[0]}

    def get(self, key):
        return self.server.request("GET", f"/{self.name}/{key}")[1]

    def put(self, key, data):
        headers = {"x-ms-blob-type": "BlockBlob"}
        self.server.request("PUT", f"/{self.name}/{key}", headers=headers, body=data)

    def remove(self, key):
        self.server.request("DELETE", f"/{self.name}/{key}")


# ---- places -------------------------------------------------------------------------------------


class Place:
    """Where a repository is kept: below `prefix` in a bucket of its own, or a folder."""

    def __init__(self, bucket, folder, encrypted=False):
        self.bucket, self.encrypted = bucket, encrypted
        self.prefix = "repo" if bucket.kind == "folder" else "backups/here"
        self.passphrase_file = folder / "passphrase"
        self.passphrase_file.write_text(PASSPHRASE + "\n")
        self.passphrase_file.chmod(0o600)
        self.address = bucket.address(self.prefix)

    @property
    def kind(self):
        return self.bucket.kind

    @property
    def is_remote(self):
        return self.kind != "folder"

    def env(self, endpoint=None, keys=None):
        """What a program needs to reach it; `endpoint`: through that instead (a proxy)."""
        env = {"CANVASBACK_REPO": self.bucket.address(self.prefix, endpoint), **self.bucket.env()}
        if endpoint and self.kind == "gcs":
            env["STORAGE_EMULATOR_HOST"] = endpoint
        if keys:
            env.update(keys.env())
        if self.encrypted:
            env["CANVASBACK_PASSPHRASE_FILE"] = str(self.passphrase_file)
        return env

    def prepare(self, cb, endpoint=None):
        """Let this Canvasback use it; an encrypted repository is made, a plain one makes itself."""
        cb.env.update(self.env(endpoint))
        cb.secrets += self.secrets()
        if self.encrypted:
            cb("init", "--encrypt")
        return cb

    def keys(self, below=""):
        """The repository's objects, by their keys in it."""
        start = self.prefix + "/"
        return [key[len(start) :] for key in self.bucket.list(start + below)]

    def get(self, key):
        return self.bucket.get(f"{self.prefix}/{key}")

    def put(self, key, data):
        self.bucket.put(f"{self.prefix}/{key}", data)

    def remove(self, key):
        self.bucket.remove(f"{self.prefix}/{key}")

    def secrets(self):
        """Texts that may appear in no output, no log and no process list."""
        env = {name: str(value) for name, value in self.env().items() if value}
        named = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY")
        return [PASSPHRASE, *(env[name] for name in named if name in env)]


# ---- for tests in C -----------------------------------------------------------------------------


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="canvasback-stores-"))
    servers = []
    try:
        env = dict(os.environ)
        for kind, variable in ((Minio, "CB_TEST_S3"), (Gcs, "CB_TEST_GS"), (Azurite, "CB_TEST_AZ")):
            servers.append(kind(folder))
            bucket = servers[-1].bucket()
            env[variable] = bucket.address("tests")
            env.update({name: value for name, value in bucket.env().items() if value})
        return subprocess.run(sys.argv[1:], env=env, check=False).returncode
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
