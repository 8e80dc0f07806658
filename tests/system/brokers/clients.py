"""Clients that work all the time, ask again after an unknown answer under the same key, and remember what they were told;
and the judge who holds that against the log."""
import http.client, json, random, threading, time, uuid

pause = threading.Event()  # never set: between two attempts of a client, not for anything to happen
unknown = (OSError, http.client.HTTPException)


class Told:
    """One answer: of which request, what it said."""

    def __init__(self, request, status, replayed, op):
        self.request, self.status, self.replayed, self.op = request, status, replayed, op


class Op:
    """One thing that a client wants done once, whatever number of times it asks."""

    def __init__(self, verb, kind, name, path, body=None, object_id=None):
        self.verb, self.kind, self.name, self.path, self.body, self.object_id = verb, kind, name, path, body, object_id
        self.key = f"{name}/{verb}"
        self.statuses = []


class Memory:
    """What all clients were told and did, taken by the judge once a round."""

    def __init__(self):
        self.lock = threading.Lock()
        self.told, self.wrong, self.counts = [], [], {}

    def tell(self, told):
        with self.lock:
            self.told.append(told)
            name = str(told.status) if told.status else "unknown"
            self.counts[name] = self.counts.get(name, 0) + 1

    def accuse(self, text):
        with self.lock:
            self.wrong.append(text)

    def take(self):
        with self.lock:
            told, wrong = self.told, self.wrong
            self.told, self.wrong = [], []
            return told, wrong


# kind: where it is made, what is asked for, how the answer names it
def bodies(kind, name, world):
    if kind == "network":
        return "/network/v2.0/networks", {"network": {"name": name}}
    if kind == "keypair":
        return "/compute/v2.1/os-keypairs", {"keypair": {"name": name, "public_key": world.get("public_key")}}
    if kind == "volume":
        return f"/volume/v3/{world['project']}/volumes", {"volume": {"name": name, "size": 1}}
    return "/compute/v2.1/servers", {"server": {"name": name, "flavorRef": "42", "imageRef": world.get("image"),
                                                "networks": "none"}}


class Client(threading.Thread):
    def __init__(self, number, seed, processes, world, memory, gate, ending):
        super().__init__(daemon=True)
        self.number, self.processes, self.world = number, processes, world
        self.memory, self.gate, self.ending = memory, gate, ending
        self.chance = random.Random(f"{seed}/client {number}")
        self.made, self.count = [], 0
        self.busy = threading.Lock()  # held while an operation is under way

    def run(self):
        while not self.ending.is_set():
            self.gate.wait()
            with self.busy:
                if self.gate.is_set() and not self.ending.is_set():
                    self.work()
            pause.wait(self.chance.uniform(0, 0.15))

    def work(self):
        if len(self.made) > 3 or (self.made and self.chance.random() < 0.3):
            return self.delete(self.made.pop(self.chance.randrange(len(self.made))))
        self.count += 1
        kind = self.chance.choice(("network", "network", "keypair", "volume", "server"))
        name = f"c{self.number}-{self.count}"
        path, body = bodies(kind, name, self.world)
        op = Op("create", kind, name, path, body)
        data = self.until_known(op)
        if data is None:
            return
        op.object_id = name if kind == "keypair" else data[kind]["id"]
        self.made.append(op)
        self.look(op, 200)

    def delete(self, made):
        self.count += 1
        op = Op(f"delete-{self.count}", made.kind, made.name, f"{made.path}/{made.object_id}", None, made.object_id)
        answer = self.until_known(op)
        if answer == "refused":
            self.made.append(made)
        elif answer is not None and made.kind in ("network", "keypair"):
            self.look(op, 404)

    def until_known(self, op):
        """The answer that settles it; None: the client gave up, and does not know."""
        while not self.ending.is_set():
            process = self.chance.choice(self.processes)
            status, headers, data = self.attempt(process, op)
            if status and 200 <= status < 300:
                return data if isinstance(data, dict) else {}
            if status == 400 and op.kind == "volume" and "is creating" in str(data):
                return "refused"
            if status not in (None, 503, 504):
                self.memory.accuse(f"{op.key} at {process.name}: {status} {str(data)[:300]} after {op.statuses}")
                return None
            if self.chance.random() < 0.05:
                return None
            pause.wait(self.chance.uniform(0.05, 0.5))
        return None

    def attempt(self, process, op, patience=None):
        request = f"req-{uuid.UUID(int=self.chance.getrandbits(128), version=4)}"  # known also where no answer comes
        headers = {"X-Auth-Token": self.world["token"], "X-Reprise-Intent": op.key,
                   "X-Openstack-Request-Id": request, "OpenStack-API-Version": "compute 2.37"}
        begun, patience = time.monotonic(), patience or self.chance.choice((2, 6, 20))
        try:
            status, got, data = process.ask("POST" if op.body else "DELETE", op.path, op.body, headers, patience)
        except unknown:
            status, got, data = None, {}, None
        op.statuses.append(status)
        self.memory.tell(Told(request, status, "X-Reprise-Replayed" in got, op))
        if status == 503 and "Retry-After" not in got:
            self.memory.accuse(f"{op.key} at {process.name}: 503 without Retry-After: {str(data)[:300]}")
        self.took = time.monotonic() - begun
        if status and self.took > self.world["answer_s"]:
            self.memory.accuse(f"{op.key} at {process.name}: {status} came only after {self.took:.1f} s")
        return status, got, data

    def look(self, op, expected):
        """What one api node answered, every other shows; or it says that it may be stale."""
        process = self.chance.choice(self.processes)
        path = f"{op.path}/{op.object_id}" if op.verb == "create" else op.path
        try:
            status, got, data = process.ask("GET", path, None, {"X-Auth-Token": self.world["token"]}, 6)
        except unknown:
            return
        if status not in (expected, 503) and "X-Reprise-Stale" not in got:
            self.memory.accuse(f"{op.key} was answered, but {process.name} says {status} to GET {path}: {str(data)[:200]}")


created = {"NetworkCreated", "KeypairCreated", "VolumeCreated", "ServerCreated"}


class Judge:
    """Reads the log once, goes on where it was, and holds every answer against it."""

    def __init__(self, seed_prefix="c"):
        self.next_seq, self.prefix = 1, seed_prefix
        self.decided = {}    # request id: [(seq, event type, id)]
        self.made = {}       # name of what a client asked for: seqs at which it was made
        self.not_done = set()  # request ids that were answered 503
        self.doubled, self.lost, self.contradicted = [], [], []
        self.answers = 0

    def read(self, lines):
        intents = {}
        for line in lines:
            event = json.loads(line)
            self.next_seq = event["seq"] + 1
            intent, what = event.get("intent"), event["event"]
            if not intent:
                continue
            request = intent.get("global_request_id", intent["request_id"])  # the client's own, if it gave one
            self.decided.setdefault(request, []).append((event["seq"], what["type"], intent["id"]))
            intents.setdefault(request, set()).add(intent["id"])
            if what["type"] in created:
                self.made.setdefault(what["name"], []).append(event["seq"])
            if request in self.not_done and what["type"] != "IntentRefused":
                self.contradicted.append(f"{request} was answered 503, not done; seq {event['seq']} says {what['type']}")
        for name, seqs in self.made.items():
            if len(seqs) > 1:
                self.doubled.append(f"{name} was made at seqs {seqs}")
        for request, ids in intents.items():
            if len(ids) > 1 or len({seq for seq, _, _ in self.decided[request]}) > 1:
                self.doubled.append(f"{request} was decided more than once: {self.decided[request]}")

    def hold(self, told):
        for t in told:
            self.answers += t.status is not None
            found = [kind for _, kind, _ in self.decided.get(t.request, [])]
            effect = [kind for kind in found if kind != "IntentRefused"]
            said = f"{t.op.key} ({t.request}) was answered {t.status}{' again' if t.replayed else ''}"
            if t.status == 503:
                self.not_done.add(t.request)
                if effect:
                    self.contradicted.append(f"{said}; the log says {effect}")
            elif t.status and 400 <= t.status < 500 and effect:
                self.contradicted.append(f"{said}; the log says {effect}")
            elif t.status and t.status < 300 and not t.replayed and not effect:
                self.lost.append(f"{said}; the log has {found or 'nothing'}")
            if t.status and t.status < 300 and t.op.verb == "create" and len(self.made.get(t.op.name, [])) != 1:
                self.lost.append(f"{said}; it was made at seqs {self.made.get(t.op.name, [])}")
