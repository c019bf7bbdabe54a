"""Fixtures that hand out real object stores (servers.py). `place` is where a repository is kept: in a
folder or in a store of any kind, plain or encrypted; tests that take it run on all of them."""

import os

import pytest
from proxy import Proxy
from servers import Azurite, FolderBucket, Gcs, Minio, Place

LONG = bool(os.environ.get("CB_TEST_LONG"))


def session_server(kind, factory):
    folder = factory.mktemp(kind.name)
    server = kind(folder)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def minio(tmp_path_factory):
    yield from session_server(Minio, tmp_path_factory)


@pytest.fixture(scope="session")
def gcs(tmp_path_factory):
    yield from session_server(Gcs, tmp_path_factory)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory):
    yield from session_server(Azurite, tmp_path_factory)


def make_bucket(request, kind, folder):
    if kind == "folder":
        return FolderBucket(folder)
    return request.getfixturevalue(kind).bucket()


KINDS = ["folder", "minio", "gcs", "azurite"]


EVERYWHERE = [f"{kind}{end}" for kind in KINDS for end in ("", "-encrypted")]
# Half a second goes into each opening of an encrypted repository: not all of them for every test.
PLACES = EVERYWHERE if LONG else [*KINDS, "folder-encrypted", "minio-encrypted"]


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    """A place of every kind, plain and encrypted, with nothing in it."""
    kind, _, encrypted = request.param.partition("-")
    return Place(make_bucket(request, kind, tmp_path), tmp_path, bool(encrypted))


@pytest.fixture(params=KINDS[1:])
def remote(request, tmp_path):
    """A place in an object store of every kind, plain."""
    return Place(make_bucket(request, request.param, tmp_path), tmp_path)


@pytest.fixture
def s3(minio, tmp_path):
    """A plain place in MinIO: for what needs to be seen on one store only."""
    return Place(minio.bucket(), tmp_path)


@pytest.fixture
def proxy(request):
    """proxy(place): a fault proxy in front of the place's store."""
    made = []

    def stand(place):
        made.append(Proxy(place.bucket.server.port))
        return made[-1]

    yield stand
    for one in made:
        one.close()
