"""A fault proxy: stands on loopback between the program and an object store and does to chosen
requests what networks and stores do.

    with Proxy(server.port) as proxy:
        proxy.script(nth(3, Status(503)))           # the third request is answered with 503
        proxy.script(every(5, Reset()), when=puts)  # every fifth PUT loses its connection
        cb("backup", db, env=place.env(proxy.endpoint))
        assert proxy.count("PUT") < 20

A rule looks at a request and answers with a fault or None; the first rule that names one wins.
Requests are numbered from 1 in the order in which they came in whole. All are noted in
`proxy.requests`, with what the store answered.
"""

import contextlib
import dataclasses
import socket
import struct
import threading
import time
import urllib.parse

UPSTREAM_TIMEOUT = 60


@dataclasses.dataclass
class Request:
    number: int
    method: str
    target: str  # path and query as sent
    headers: dict
    body: bytes
    status: int = 0  # what the client was told; 0: nothing
    size: int = 0  # of the body, that is not kept
    fault: object = None

    @property
    def path(self):
        return urllib.parse.unquote(self.target.partition("?")[0])

    @property
    def query(self):
        return urllib.parse.parse_qs(self.target.partition("?")[2], keep_blank_values=True)

    def __str__(self):
        return f"{self.number} {self.method} {self.target} -> {self.status} {self.fault or ''}"


@dataclasses.dataclass
class Answer:
    status: int
    reason: str
    headers: list  # (name, value)
    body: bytes
    is_head: bool = False  # then the length that is announced is what a GET would bring

    def send(self, client, cut=None, body=None):
        """`cut`: only so many bytes of the body, though the head announces all of it."""
        body = self.body if body is None else body
        dropped = {"transfer-encoding", "connection"}
        if not self.is_head:
            dropped.add("content-length")
        kept = [(name, value) for name, value in self.headers if name.lower() not in dropped]
        if not self.is_head and self.status != 204:
            kept.append(("Content-Length", str(len(body))))
        head = f"HTTP/1.1 {self.status} {self.reason}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in kept)
        client.sendall(head.encode("latin-1") + b"\r\n" + body[:cut])


class Gone(Exception):
    """The connection to the client is to be ended."""


# ---- faults: called with (proxy, request, client) -----------------------------------------------


class Fault:
    def __str__(self):
        return type(self).__name__

    def forward(self, proxy, request):
        return proxy.forward(request)

    def serve(self, proxy, request, client):
        raise NotImplementedError


def reset(client):
    """End a connection the hard way: RST, not FIN."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    raise Gone


class Reset(Fault):
    """The connection breaks: before the store saw the request, or after so many bytes of the body
    of its answer."""

    def __init__(self, after=None):
        self.after = after

    def serve(self, proxy, request, client):
        if self.after is not None:
            answer = self.forward(proxy, request)
            request.status = answer.status
            answer.send(client, cut=self.after)
            time.sleep(0.02)  # or the kernel takes back what was sent
        reset(client)


class DropAnswer(Fault):
    """The store does it, and the answer is lost."""

    def serve(self, proxy, request, client):
        self.forward(proxy, request)
        reset(client)


class Truncate(Fault):
    """The answer ends early, without an error of the connection."""

    def __init__(self, share=0.5):
        self.share = share

    def serve(self, proxy, request, client):
        answer = self.forward(proxy, request)
        request.status = answer.status
        answer.send(client, cut=int(len(answer.body) * self.share))
        raise Gone


class Stall(Fault):
    """Nothing comes for so long; then the connection ends."""

    def __init__(self, seconds=3600):
        self.seconds = seconds

    def serve(self, proxy, request, client):
        proxy.ended.wait(self.seconds)
        raise Gone


class Slow(Fault):
    """The body of the answer comes in drops."""

    def __init__(self, bytes_per_second):
        self.rate = bytes_per_second

    def serve(self, proxy, request, client):
        answer = self.forward(proxy, request)
        request.status = answer.status
        answer.send(client, cut=0)
        step = max(1, self.rate // 20)
        for start in range(0, len(answer.body), step):
            client.sendall(answer.body[start : start + step])
            time.sleep(step / self.rate)


class Delay(Fault):
    """The answer comes whole, later."""

    def __init__(self, seconds):
        self.seconds = seconds

    def serve(self, proxy, request, client):
        answer = self.forward(proxy, request)
        time.sleep(self.seconds)
        request.status = answer.status
        answer.send(client)


class Status(Fault):
    """Answered without asking the store. `code`: in the words of S3's, Azure's XML."""

    def __init__(self, status, code=None, retry_after=None, body=None):
        self.status, self.code, self.retry_after = status, code, retry_after
        self.body = body

    def __str__(self):
        return f"Status({self.status}{', ' + self.code if self.code else ''})"

    def serve(self, proxy, request, client):
        request.status = self.status
        body = self.body or b""
        headers = []
        if self.code:
            body = (
                '<?xml version="1.0" encoding="UTF-8"?>\n'
                f"<Error><Code>{self.code}</Code><Message>as the test wants it</Message>"
                "<RequestId>0</RequestId></Error>"
            ).encode()
            headers.append(("Content-Type", "application/xml"))
        if self.retry_after is not None:
            headers.append(("Retry-After", str(self.retry_after)))
        body = b"" if request.method == "HEAD" else body
        Answer(self.status, "Fault", headers, body).send(client)


def SlowDown(retry_after=None):
    return Status(503, "SlowDown", retry_after)


def ExpiredToken():
    return Status(400, "ExpiredToken")


class Forget(Fault):
    """The store answers that the object is there, and loses it. `lose` takes the request's path."""

    def __init__(self, lose):
        self.lose = lose

    def serve(self, proxy, request, client):
        answer = self.forward(proxy, request)
        if 200 <= answer.status < 300:
            self.lose(request.path)
        request.status = answer.status
        answer.send(client)


class FlipAnswer(Fault):
    """One bit of the answer's body is another on the way."""

    def __init__(self, at=0.5):
        self.at = at

    def serve(self, proxy, request, client):
        answer = self.forward(proxy, request)
        body = bytearray(answer.body)
        if body:
            body[int((len(body) - 1) * self.at)] ^= 0x10
        request.status = answer.status
        answer.send(client, body=bytes(body))


class FlipRequest(Fault):
    """One bit of what is sent is another when it reaches the store."""

    def serve(self, proxy, request, client):
        body = bytearray(request.body)
        if body:
            body[len(body) // 2] ^= 0x10
        answer = proxy.forward(dataclasses.replace(request, body=bytes(body)))
        request.status = answer.status
        answer.send(client)


class WrongChecksum(Fault):
    """The body is right, the checksums beside it are not."""

    def serve(self, proxy, request, client):
        answer = self.forward(proxy, request)
        marks = ("x-amz-checksum-", "x-goog-hash", "content-md5", "x-ms-content-crc64")
        for i, (name, value) in enumerate(answer.headers):
            if name.lower().startswith(marks) and "=" in value + "=":
                turned = value[:-4] + ("AAAA" if value[-4:] != "AAAA" else "BBBB")
                answer.headers[i] = (name, turned)
        request.status = answer.status
        answer.send(client)


class Kill(Fault):
    """kill -9 of the program (`proxy.victim`), before the store sees the request, or when it has
    done it but not yet answered; some time later, when other requests shall be done first."""

    def __init__(self, after=False, later=0):
        self.after, self.later = after, later

    def __str__(self):
        return f"Kill({'after' if self.after else 'before'})"

    def serve(self, proxy, request, client):
        if self.after:
            self.forward(proxy, request)
        time.sleep(self.later)
        proxy.kill_victim()
        raise Gone


# ---- rules --------------------------------------------------------------------------------------


def nth(number, fault):
    """The request of this number, of those that the rule is asked about."""
    return Rule(lambda count: count == number, fault)


def every(step, fault):
    return Rule(lambda count: count % step == 0, fault)


def since(number, fault):
    return Rule(lambda count: count >= number, fault)


def first(many, fault):
    return Rule(lambda count: count <= many, fault)


def always(fault):
    return Rule(lambda count: True, fault)


class Rule:
    def __init__(self, chosen, fault):
        self.chosen, self.fault = chosen, fault
        self.count = 0  # of requests that it was asked about
        self.when = None

    def __call__(self, request):
        if self.when and not self.when(request):
            return None
        self.count += 1
        return self.fault if self.chosen(self.count) else None


def puts(request):
    """Writes an object, whole or in part, in any store's words."""
    return request.method in ("PUT", "POST") and "delete" not in request.query


def gets(request):
    return request.method == "GET"


def bodies(request):
    """Writes something of size: a pack, or a part of one."""
    return puts(request) and len(request.body) > 100_000


# ---- the proxy ----------------------------------------------------------------------------------


class Proxy:
    def __init__(self, upstream_port):
        self.upstream = upstream_port
        self.requests = []
        self.rules = []
        self.victim = None  # a Popen
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.ended.set()
        self.listener.close()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def script(self, *rules, when=None):
        """Forget the rules, the numbers and the notes of before, and go by these."""
        with self.lock:
            for rule in rules:
                rule.when = when or rule.when
            self.rules = list(rules)
            self.requests = []
            self.victim = None

    def count(self, *methods):
        return sum(1 for one in self.requests if not methods or one.method in methods)

    def bodies(self):
        """How many wrote something of size, and were told that it is done."""
        return sum(1 for one in self.requests if one.size > 100_000 and one.status // 100 == 2)

    def faults(self):
        """Requests that a fault was done to."""
        return [one for one in self.requests if one.fault]

    def table(self):
        return "\n".join(map(str, self.requests))

    def kill_victim(self):
        # The process may have been started a moment ago, and not yet be known here.
        end = time.monotonic() + 10
        while self.victim is None and time.monotonic() < end:
            time.sleep(0.005)
        self.victim.kill()
        self.victim.wait()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with client, client.makefile("rb") as stream:
                while self._one(client, stream):
                    pass
        except (Gone, OSError, ValueError):
            pass

    def _one(self, client, stream):
        line = stream.readline(65536)
        if not line.strip():
            return False
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers = read_headers(stream)
        if headers.get("expect", "").lower() == "100-continue":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", ""):
            body = read_chunks(stream)
        else:
            length = int(headers.get("content-length", "0"))
            body = stream.read(length)
            if len(body) < length:
                return False  # the client gave up
        with self.lock:
            request = Request(len(self.requests) + 1, method, target, headers, body, size=len(body))
            self.requests.append(request)
            for rule in self.rules:
                request.fault = rule(request)
                if request.fault:
                    break
        try:
            if request.fault:
                request.fault.serve(self, request, client)
            else:
                answer = self.forward(request)
                request.status = answer.status
                answer.send(client)
        finally:
            request.body = b""  # packs are large, and notes are kept
        return headers.get("connection", "").lower() != "close"

    def forward(self, request):
        """Ask the store, on a connection of its own."""
        skip = ("expect", "connection", "content-length", "transfer-encoding")
        head = f"{request.method} {request.target} HTTP/1.1\r\nConnection: close\r\n"
        head += "".join(
            f"{name}: {value}\r\n" for name, value in request.headers.items() if name not in skip
        )
        if request.body or request.method in ("PUT", "POST"):
            head += f"Content-Length: {len(request.body)}\r\n"
        with socket.create_connection(("127.0.0.1", self.upstream), UPSTREAM_TIMEOUT) as upstream:
            # A store that refuses a request need not read all of it.
            with contextlib.suppress(ConnectionError):
                upstream.sendall(head.encode("latin-1") + b"\r\n" + request.body)
            with upstream.makefile("rb") as stream:
                while True:
                    _, status, reason = (stream.readline().decode("latin-1") + "  ").split(" ", 2)
                    headers = read_header_list(stream)
                    if status != "100":
                        break
                names = {name.lower(): value for name, value in headers}
                if request.method == "HEAD" or status in ("204", "304"):
                    body = b""
                elif "chunked" in names.get("transfer-encoding", ""):
                    body = read_chunks(stream)
                elif "content-length" in names:
                    body = stream.read(int(names["content-length"]))
                else:
                    body = stream.read()
        # An upload's own address must lead through here too.
        own, theirs = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.upstream}"
        headers = [
            (name, value.replace(theirs, own) if name.lower() == "location" else value)
            for name, value in headers
        ]
        return Answer(int(status), reason.strip(), headers, body, request.method == "HEAD")


def read_header_list(stream):
    found = []
    while (line := stream.readline(65536).strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        found.append((name, value.strip()))
    return found


def read_headers(stream):
    return {name.lower(): value for name, value in read_header_list(stream)}


def read_chunks(stream):
    body = b""
    while size := int(stream.readline().split(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass
    return body
