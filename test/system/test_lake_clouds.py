"""Lakes whose files lie in a bucket of any cloud: S3, Google Cloud Storage, Azure Blob. They are made on
this machine, put into the bucket, and told so; what comes back is compared by DuckLake."""

import base64
import re

import pytest
from conftest import DAMAGED, FAILED
from servers import AZURE_ACCOUNT, AZURE_KEY, Keys, Minio

CLOUDS = ["minio", "gcs", "azurite"]
KINDS = {"minio": "postgres", "gcs": "sqlite", "azurite": "duckdb"}
SCHEMES = {"minio": "s3", "gcs": "gs", "azurite": "az"}
# What a key may have in it; those of the partitions have more.
HARD = "São Paulo/50% + a#b=c&d!e's \"f\"/~%20%2F/"
LONG = "/".join(chr(97 + i) * 150 for i in range(6)) + "/"  # with the names behind, about 1,000 bytes


class OtherMinio(Minio):
    """A server of its own, which knows other keys. They begin as Google's do for clients of S3."""

    root = Keys("GOOG1lab", "labsecret2")


@pytest.fixture(scope="module")
def other_minio(tmp_path_factory):
    server = OtherMinio(tmp_path_factory.mktemp("other"))
    yield server
    server.stop()


def environment(bucket):
    """As a user of this cloud sets it, endpoint and all."""
    server = bucket.server
    if bucket.kind == "minio":
        return {**bucket.env(), "AWS_ENDPOINT_URL_S3": server.endpoint}
    if bucket.kind == "gcs":
        return bucket.env()
    endpoint = f"BlobEndpoint={server.endpoint}/{AZURE_ACCOUNT}"
    return {"AZURE_STORAGE_CONNECTION_STRING": f"AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};{endpoint};"}


def keys(bucket):
    """Keys alone, and nobody at the endpoints: that has to be said in addresses."""
    nobody = "http://127.0.0.1:1"
    found = {} if bucket.kind == "gcs" else bucket.env()
    return {**found, "AWS_ENDPOINT_URL_S3": nobody, "AZURE_STORAGE_BLOB_ENDPOINT": nobody, "STORAGE_EMULATOR_HOST": nobody}


def tell(lake, bucket, prefix, scheme=None):
    """From now on its files are there; the catalog is told so."""
    lake.bucket, lake.prefix = bucket, prefix
    lake.data_path = f"{scheme or SCHEMES[bucket.kind]}://{bucket.name}/{prefix}"
    told = lake.data_path.replace("'", "''")
    lake.catalog_sql(f"UPDATE ducklake_metadata SET value = '{told}' WHERE key = 'data_path';")


def move(lake, bucket, prefix):
    files = {name: lake.read(name) for name in lake.files()}
    for name, data in files.items():
        lake.remove(name)
        bucket.put(prefix + name, data)
    tell(lake, bucket, prefix)
    return files


def there(place, bucket, prefix):
    """A place whose files are to be in the bucket."""
    place.bucket, place.prefix = bucket, prefix
    place.data_path = f"{SCHEMES[bucket.kind]}://{bucket.name}/{prefix}"
    return place


def with_settings(path, bucket):
    return path + "?" + bucket.address("").partition("?")[2]


def requests(result):
    """How many a backup needed for the lake's files."""
    return int(re.search(r"; (\d+) requests?", result.err).group(1))


@pytest.fixture(params=CLOUDS)
def bucket(request):
    return request.getfixturevalue(request.param).bucket()


def test_there_and_back(cb, bucket, make_lake, lake_place):
    """Everything that DuckLake makes, under hard names: copied once, listed after that; found sound, found
    damaged, put back, and brought to this machine."""
    cb.env.update(environment(bucket))
    lake = make_lake(KINDS[bucket.kind])
    files = move(lake, bucket, HARD)
    first = cb("backup", lake.address, "--name", "lake")
    second = cb("backup", lake.address, "--name", "lake")
    assert requests(first) >= len(files) > 40 and requests(second) <= 3
    assert cb("verify", "lake@latest").json["damaged"] == []
    assert cb("check", lake.address).json["bad_blocks"] == 0
    assert cb("lake", "status", lake.address, "lake").json["data_path"] == lake.data_path
    stray = "main/merged/ducklake-0000.parquet"
    lake.write(stray, b"a write that failed")
    found = {one["path"]: one["kind"] for one in cb("lake", "orphans", lake.address).json["files"]}
    assert found[lake.data_path + stray] == "failed write"
    lake.remove(stray)

    gone, cut = (next(name for name in files if table in name) for table in ("/kinds/", "/region=eu/"))
    lake.remove(gone)
    lake.write(cut, files[cut][:-7])
    for verb in (["backup", lake.address, "--name", "lake"], ["check", lake.address]):
        result = cb(*verb, code=DAMAGED)
        assert gone in result.out + result.err and cut in result.out + result.err
    replaced = cb("restore", "lake", lake.address, "--delta").json
    assert {name: lake.read(name) for name in lake.files()} == files
    assert replaced["bytes_reused"] >= sum(len(data) for name, data in files.items() if name not in (gone, cut))

    local = lake_place("duckdb")
    cb("restore", "lake", local.address, "--data-path", local.data_path)
    local.same(lake.before())


def test_moves(cb, bucket, make_lake, lake_place):
    """From disk to the bucket by settings in the address alone, under keys as long as keys can be; to disk
    and back by repoint; and as a replica."""
    cb.env.update(keys(bucket))
    lake = make_lake("sqlite", rich=False)
    cb("backup", lake.address, "--name", "lake")
    if bucket.kind != "gcs":
        bucket.name += "new"  # nobody made it yet
    place = there(lake_place(KINDS[bucket.kind]), bucket, LONG)
    address = with_settings(place.data_path, bucket)
    told = cb("restore", "lake", place.address, "--data-path", address).err
    assert ("was not there, and was made" in told) == (bucket.kind != "gcs")
    assert place.files() == lake.files()
    assert all(place.read(name) == lake.read(name) for name in place.files())
    assert max(len(LONG + name) for name in place.files()) > 950
    assert cb("lake", "status", place.address, "--data-path", address).json["data_path"] == place.data_path
    assert cb("check", place.address, "--data-path", address).json["bad_blocks"] == 0

    assert cb("lake", "repoint", place.address, "--data-path", lake.data_path).json["to"] == lake.data_path
    assert cb("lake", "repoint", place.address, "--data-path", address).json["to"] == place.data_path
    cb("backup", place.address, "--name", "again", "--data-path", address)
    local = lake_place("duckdb")
    cb("restore", "again", local.address, "--data-path", local.data_path)
    local.same(lake.before())

    names = place.files()
    held = place.read(names[0])
    place.remove(names[0])
    told = cb("backup", lake.address, "--name", "copied", "--data", f"replica={address}", code=DAMAGED)
    assert names[0] in told.err
    place.write(names[0], held)
    cb("backup", lake.address, "--name", "copied", "--data", f"replica={address}")
    other = lake_place("sqlite")
    cb("restore", "copied", other.address)
    assert other.catalog_sql("SELECT value FROM ducklake_metadata WHERE key = 'data_path'") == [[place.data_path]]


def wrong(bucket):
    """A key that lets nobody in."""
    if bucket.kind == "minio":
        return {"AWS_SECRET_ACCESS_KEY": "guessed"}
    key = base64.b64encode(b"guessed" * 8).decode()
    return {name: value.replace(AZURE_KEY, key) for name, value in environment(bucket).items()}


def test_by_reference(cb, bucket, make_lake, lake_place):
    """DuckDB itself reads the bucket, by the credentials that the program has."""
    cb.env.update(environment(bucket))
    lake = make_lake("sqlite", rich=False)
    files = move(lake, bucket, HARD)
    cb("backup", lake.address, "--name", "lake", "--data", "reference")
    said = cb("verify", "lake", "--deep").json
    assert [one["rows"] for one in said["tables"]] == [180]
    if bucket.kind != "gcs":  # who is not let in has found no damage
        cb("verify", "lake", "--deep", env=wrong(bucket), code=FAILED)
    place = lake_place("duckdb")
    cb("restore", "lake", place.address)
    assert cb("check", place.address).json["bad_blocks"] == 0
    gone = next(iter(files))
    lake.remove(gone)
    assert gone in cb("backup", lake.address, "--name", "lake", "--data", "reference", code=DAMAGED).err
    assert gone in cb("verify", "lake", code=DAMAGED).out.replace("\\/", "/")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_migration(cb, request, make_lake, tmp_path, cloud):
    """By settings of the data path, which DuckDB must never see; on S3 with temporary keys."""
    bucket = request.getfixturevalue(cloud).bucket()
    cb.env.update(keys(bucket))
    if cloud == "minio":
        cb.env.update(bucket.server.assume_role().env())
    lake = make_lake("sqlite", version="1.4.4", rich=False)
    move(lake, bucket, "the lake/")
    address = with_settings(lake.data_path, bucket)
    said = cb("lake", "migrate", lake.address, "--name", "lake", "--dump-dir", tmp_path, "--data-path", address)
    assert said.json["migrated"] and said.json["tables"] == 1 and said.json["compared"] > 1
    stored = lake.catalog_sql("SELECT key, value FROM ducklake_metadata WHERE key IN ('version', 'data_path') ORDER BY key")
    assert stored == [["data_path", lake.data_path], ["version", "1.0"]]


SPELLED = [
    ("minio", "s3a"), ("minio", "s3n"), ("minio", "r2"), ("gcs", "gcs"), ("azurite", "azure"), ("azurite", "abfss"),
]  # fmt: skip


@pytest.mark.parametrize("cloud,scheme", SPELLED)
def test_other_spellings(cb, request, make_lake, cloud, scheme):
    bucket = request.getfixturevalue(cloud).bucket()
    cb.env.update({**environment(bucket), "CANVASBACK_ENDPOINT": bucket.server.endpoint if scheme == "r2" else None})
    lake = make_lake("sqlite", rich=False)
    files = move(lake, bucket, "the lake/")
    tell(lake, bucket, lake.prefix, scheme)
    cb("backup", lake.address, "--name", "lake")
    lake.remove(next(iter(files)))
    cb("restore", "lake", lake.address, "--delta")
    assert cb("check", lake.address).json["bad_blocks"] == 0
    assert lake.catalog_sql("SELECT value FROM ducklake_metadata WHERE key = 'data_path'") == [[lake.data_path]]


def test_compatible_is_s3_to_a_catalog(cb, minio, make_lake, lake_place):
    """s3c:// is a word of this program's."""
    bucket = minio.bucket()
    cb.env.update(keys(bucket))
    lake = make_lake("sqlite", rich=False)
    cb("backup", lake.address, "--name", "lake")
    place = there(lake_place("sqlite"), bucket, "to/")
    address = with_settings(f"s3c://{bucket.name}/to", bucket)
    cb("restore", "lake", place.address, "--data-path", address)
    place.same(lake.before())
    cb("lake", "repoint", place.address, "--data-path", lake.data_path)
    assert cb("lake", "repoint", place.address, "--data-path", address).json["to"] == place.data_path


# ---- repository and data in different places ----------------------------------------------------


def round_trip(cb, lake, place, *words):
    secrets = [value for name, value in cb.env.items() if value and ("SECRET" in name or "KEY" in name.split("_"))]
    cb.secrets += [one for one in secrets if one != "labroot"]
    label = cb("backup", lake.address, "--name", "lake", *words).json["label"]
    cb("backup", lake.address, "--name", "lake", "--data", "reference", *words)
    assert len(cb("verify", "lake", "--deep", *words).json["tables"]) == 1
    cb("restore", f"lake@{label}", place.address, "--data-path", place.data_path)
    place.same(lake.before())


@pytest.mark.parametrize("repository,data", [("minio", "gcs"), ("gcs", "azurite"), ("azurite", "minio")])
def test_in_two_clouds(cb, request, make_lake, lake_place, repository, data):
    """The repository's address has the repository's settings, the environment all keys."""
    store, bucket = (request.getfixturevalue(one).bucket() for one in (repository, data))
    cb.env.update({**store.env(), **environment(bucket), "CANVASBACK_REPO": store.address("backups/here")})
    lake = make_lake("sqlite", rich=False)
    move(lake, bucket, "the lake/")
    round_trip(cb, lake, lake_place("duckdb"))
    assert [key for key in store.list() if "/manifest/" in key] and not store.list("the lake/")


@pytest.mark.parametrize("whose", ["repository", "data"])
def test_in_two_stores_of_one_kind(cb, minio, other_minio, make_lake, lake_place, tmp_path, whose):
    """Two servers, two pairs of keys: one is named in an address by a profile, the other is the environment's."""
    (tmp_path / "credentials").write_text(
        "[other]\naws_access_key_id = GOOG1lab\naws_secret_access_key = labsecret2\n"
    )
    named, usual = other_minio.bucket(), minio.bucket()
    settings = f"?endpoint={other_minio.endpoint}&profile=other"
    lake = make_lake("sqlite", rich=False)
    cb.env.update({**environment(usual), "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "credentials"})
    cb.secrets.append("labsecret2")
    if whose == "repository":
        move(lake, usual, "the lake/")
        cb.env["CANVASBACK_REPO"] = f"s3://{named.name}/backups{settings}"
        round_trip(cb, lake, lake_place("duckdb"))
    else:
        move(lake, named, "the lake/")
        cb.env["CANVASBACK_REPO"] = f"s3://{usual.name}/backups"
        round_trip(cb, lake, lake_place("duckdb"), "--data-path", lake.data_path + settings)


def test_google_by_keys_for_clients_of_s3(cb, other_minio, make_lake, lake_place):
    """As DuckDB is mostly told: KEY_ID and SECRET. Such keys are known by their beginning."""
    bucket = other_minio.bucket()
    cb.env.update({**keys(bucket), **OtherMinio.root.env()})
    lake = make_lake("sqlite", rich=False)
    move(lake, bucket, "the lake/")
    tell(lake, bucket, lake.prefix, "gs")
    settings = f"?endpoint={other_minio.endpoint}&access_key_id=GOOG1lab&region=us-east-1"
    round_trip(cb, lake, lake_place("duckdb"), "--data-path", lake.data_path + settings)
