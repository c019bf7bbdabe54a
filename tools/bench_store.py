"""tools/bench --store: the same in an object store, beside tools that upload and download a file.

MinIO runs on loopback. In each round, in turns and every one followed by a sync:

    upload of the whole file (rclone, boto3, canvasback's first backup)
    -> nothing changed -> 1 % changed -> download of the whole file, restore

The fastest uploader's median is the measure of all that is sent, the fastest downloader's of what
is fetched. Requests are counted by a proxy, in a run of their own that is not timed. Then a
repository with many backups is opened, and encryption is measured on a first backup in a folder.
"""

import os
import pathlib
import shutil
import sys
import tempfile
import time

import __main__ as bench

sys.path.insert(0, os.path.join(bench.ROOT, "test", "system"))
import proxy  # noqa: E402
import servers  # noqa: E402

GOALS = {"first backup": 1.2, "1 % changed": 0.15, "restore": 1.2}
MEMORY_MIB = 192
REQUESTS = {"first backup": 150, "1 % changed": 15}
OPEN = {"requests": 40, "warm": 2.0, "cold": 10.0}
ENCRYPTION = 1.20

# Transfers as the AWS tools make them: the same library with their settings.
BOTO3 = """
import os, sys, boto3
from boto3.s3.transfer import TransferConfig
how, path, bucket, key, endpoint, threads = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint)
config = TransferConfig(max_concurrency=int(threads))
if how == "up":
    client.upload_file(path, bucket, key, Config=config)
else:
    client.download_file(bucket, key, path, Config=config)
"""


class Uploader:
    """A tool that sends one file and fetches it again."""

    def __init__(self, name, up, down, env):
        self.name, self.up, self.down, self.env = name, up, down, env


def uploaders(database, bucket):
    keys = bucket.server.root
    env = {name: value for name, value in keys.env().items() if value}
    target = os.path.join(database.work, "down")
    found = []
    if shutil.which("rclone"):
        remote = {"TYPE": "s3", "PROVIDER": "Minio", "ENDPOINT": bucket.server.endpoint,
                  "ACCESS_KEY_ID": keys.access_key, "SECRET_ACCESS_KEY": keys.secret}
        rclone = {f"RCLONE_CONFIG_M_{name}": value for name, value in remote.items()}
        flags = ["-q", "--config", "/dev/null", "--s3-no-check-bucket", "--ignore-times"]
        # As it comes, and with the checksum pass before the upload left out.
        for name, more in (("rclone", []), ("rclone, tuned", ["--s3-disable-checksum",
                           "--s3-upload-concurrency", "8", "--s3-chunk-size", "16M"])):
            found.append(Uploader(
                name, ["rclone", "copyto", *flags, *more, database.file, f"M:{bucket.name}/rclone"],
                ["rclone", "copyto", *flags, f"M:{bucket.name}/rclone", target,
                 *(["--multi-thread-cutoff", "16M", "--multi-thread-streams", "8"] if more else [])],
                {**env, **rclone}))
    folder = bench.output([os.path.join(bench.ROOT, "tools", "venv"), "boto3-1", "boto3==1.*"])
    python = os.path.join(folder.strip(), "bin", "python")
    words = [bucket.name, "boto3", bucket.server.endpoint, "10"]
    found.append(Uploader("boto3", [python, "-c", BOTO3, "up", database.file, *words],
                          [python, "-c", BOTO3, "down", target, *words], env))
    return found


class Ours(bench.Canvasback):
    """The program with its repository in the store."""

    def __init__(self, database, results, folder, bucket, encrypted=False):
        self.name = "encrypted" if encrypted else "canvasback"
        super().__init__(database, results, folder)
        self.bucket, self.encrypted, self.turn = bucket, encrypted, 0

    def begin(self, endpoint=None):
        super().begin()
        self.turn += 1
        place = servers.Place(self.bucket, pathlib.Path(self.folder), self.encrypted)
        place.prefix = f"{self.name}-{self.turn}"
        self.place = place
        self.env.update({name: value for name, value in place.env(endpoint).items() if value})
        self.env["CANVASBACK_CACHE_DIR"] = os.path.join(self.folder, "cache")
        self.repo = self.env.pop("CANVASBACK_REPO")
        if self.encrypted:
            bench.run([self.program, "init", "--encrypt", "--repo", self.repo, "--quiet"],
                      env=self.env)

    def end(self):
        super().end()
        for key in self.bucket.list(self.place.prefix + "/"):
            self.bucket.remove(key)

    def back(self):
        target = os.path.join(self.target, "db.duckdb")
        self.time("restore", self.program, "restore", "bench", target, "--repo", self.repo,
                  "--quiet")
        self.prove(target)
        os.remove(target)


def run_rounds(tools, others, database, results, rounds):
    for number in range(rounds):
        database.put(changed=False)
        for tool in tools:
            tool.begin()
        turns = [*others, *tools]
        turns = turns[number % len(turns):] + turns[:number % len(turns)]
        for one in turns:
            bench.say(f"round {number + 1} of {rounds}: {one.name}, all of it")
            bench.warm(database.file)
            if isinstance(one, Uploader):
                results.time("first backup", one.name, one.up, env=one.env)
            else:
                one.backup("first backup")
        for tool in tools:
            tool.backup("nothing changed")
        database.put(changed=True)
        for tool in tools:
            tool.backup("1 % changed")
        for one in turns:
            bench.say(f"round {number + 1} of {rounds}: {one.name}, back")
            if isinstance(one, Uploader):
                results.time("restore", one.name, one.down, env=one.env)
                os.remove(os.path.join(database.work, "down"))
            else:
                one.back()
        for tool in tools:
            tool.end()


def count_requests(tool, database, results):
    """What each command asks of the store, by method; a run of its own, through a proxy."""
    counts = {}
    with proxy.Proxy(tool.bucket.server.port) as counter:
        database.put(changed=False)
        tool.begin(counter.endpoint)
        for row, words in (
            ("first backup", ["backup", database.file, "--name", "bench"]),
            ("nothing changed", ["backup", database.file, "--name", "bench"]),
            ("1 % changed", ["backup", database.file, "--name", "bench"]),
            ("list", ["list"]),
            ("restore", ["restore", "bench", os.path.join(tool.target, "db.duckdb")]),
            ("verify", ["verify"]),
        ):
            if row == "1 % changed":
                database.put(changed=True)
            time.sleep(1.1)  # a second backup of one second begins twice: its label is taken
            counter.script()
            bench.run([tool.program, *words, "--repo", tool.repo, "--quiet"], env=tool.env)
            by_method = {}
            for one in counter.requests:
                by_method[one.method] = by_method.get(one.method, 0) + 1
            counts[row] = by_method
        tool.clear()
        tool.end()
    return counts


def open_many(tool, many):
    """A repository with many backups: how long a list takes, and in how many requests, with what
    is kept of it in the cache and without."""
    source = os.path.join(tool.database.work, "small")
    os.makedirs(source, exist_ok=True)
    tool.begin()
    command = [tool.program, "backup", f"dir:{source}", "--repo", tool.repo, "--quiet"]
    began = time.perf_counter()
    for number in range(many):
        if number % 100 == 0:
            bench.say(f"many backups: {number} of {many}")
        with open(os.path.join(source, "file"), "wb") as file:
            file.write(os.urandom(2000))
        bench.run(command, env=tool.env)
    each = (time.perf_counter() - began) / max(many, 1)
    lines = []
    with proxy.Proxy(tool.bucket.server.port) as counter:
        through = tool.place.env(counter.endpoint)["CANVASBACK_REPO"]
        for how in ("cold", "warm"):
            for verb, words in (("list", ["list"]), ("backup", ["backup", f"dir:{source}"])):
                if how == "cold":
                    shutil.rmtree(tool.env["CANVASBACK_CACHE_DIR"], ignore_errors=True)
                counter.script()
                bench.run([tool.program, *words, "--repo", through, "--quiet"], env=tool.env)
                requests = counter.count()
                if how == "cold":
                    shutil.rmtree(tool.env["CANVASBACK_CACHE_DIR"], ignore_errors=True)
                began = time.perf_counter()
                bench.run([tool.program, *words, "--repo", tool.repo, "--quiet"], env=tool.env)
                took = time.perf_counter() - began
                lines.append(f"{verb} with a {how} cache: {took:.2f} s, {requests} requests "
                             f"(goal {OPEN[how]:g} s, {OPEN['requests']} requests)")
    shutil.rmtree(source)
    tool.end()
    return (f"A repository with {many} backups ({each * 1000:.0f} ms each to make): "
            + "; ".join(lines) + ".")


def cost_of_encryption(database, results, rounds):
    """First backups into a folder, plain and encrypted, in turns."""
    folder = os.path.join(database.work, "local")
    program = bench.Canvasback.program
    for number in range(rounds):
        for name in (("plain", "encrypted"), ("encrypted", "plain"))[number % 2]:
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            place = servers.Place(servers.FolderBucket(pathlib.Path(folder)), pathlib.Path(folder),
                                  name == "encrypted")
            env = {key: value for key, value in os.environ.items()
                   if not key.startswith("CANVASBACK_")}
            env.update(place.env())
            if place.encrypted:
                bench.run([program, "init", "--encrypt", "--quiet"], env=env)
            bench.warm(database.file)
            results.time("first backup in a folder", name,
                         [program, "backup", database.file, "--name", "bench", "--quiet"], env=env)
    shutil.rmtree(folder, ignore_errors=True)
    row = "first backup in a folder"
    plain, encrypted = (results.median(row, name) for name in ("plain", "encrypted"))
    return (f"Encryption: a first backup in a folder took {plain:.2f} s plain, {encrypted:.2f} s "
            f"encrypted, {encrypted / plain:.2f} times as long (goal {ENCRYPTION:g}).")


def table(results, tools, others, counts):
    base = {}
    for row in ("first backup", "restore"):
        medians = [results.median(row, one.name) for one in others]
        base[row] = min(value for value in medians if value is not None)
    base["1 % changed"] = base["nothing changed"] = base["first backup"]
    columns = [*others, *tools]
    rows = [["", *(one.name for one in columns), "goal"]]
    for row in ("first backup", "1 % changed", "nothing changed", "restore"):
        cells = []
        for one in columns:
            seconds = results.median(row, one.name)
            cells.append("" if seconds is None else f"{seconds:.2f} s ({seconds / base[row]:.2f})")
        rows.append([row, *cells, f"{GOALS[row]:g}" if row in GOALS else ""])
    rows.append(["peak memory", *(f"{results.memory[one.name] / (1 << 20):.0f} MiB"
                                  for one in columns), f"{MEMORY_MIB} MiB"])
    blanks = [""] * len(others)
    for row, by_method in counts.items():
        words = ", ".join(f"{count} {method}" for method, count in sorted(by_method.items()))
        total = sum(by_method.values())
        rows.append([f"requests, {row}", *blanks, f"{total} ({words})",
                     *[""] * (len(tools) - 1),
                     f"under {REQUESTS[row]}" if row in REQUESTS else ""])
    return bench.render(rows)


def main(arguments):
    os.environ.pop("AWS_CA_BUNDLE", None)  # rclone does not start with it, and here is no TLS
    os.makedirs(arguments.folder, exist_ok=True)
    bench.check_room(arguments.folder, arguments.size * 1e9, [])
    database = bench.Database(bench.interpreter(), arguments.folder, arguments.size)
    database.fresh()
    results = bench.Results(arguments.folder)
    work = tempfile.mkdtemp(prefix="store-", dir=database.work)
    minio = servers.Minio(pathlib.Path(work))
    try:
        bucket = minio.bucket()
        others = uploaders(database, bucket)
        tools = [Ours(database, results, work, bucket), Ours(database, results, work, bucket, True)]
        run_rounds(tools, others, database, results, arguments.rounds)
        counts = count_requests(tools[0], database, results)
        lines = [table(results, tools, others, counts),
                 cost_of_encryption(database, results, arguments.rounds)]
        if arguments.many:
            lines.append(open_many(tools[0], arguments.many))
    finally:
        minio.stop()
        shutil.rmtree(database.work, ignore_errors=True)
    head = (f"A database of {database.size / 1e9:.2f} GB ({database.used / 1e9:.2f} GB used), MinIO on "
            f"loopback; medians of {arguments.rounds}, with sync; in brackets the ratio to the fastest "
            f"upload or download of the whole file.\n{bench.machine(arguments.folder)}.")
    return "\n\n".join([head, *lines])
