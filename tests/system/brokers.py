#!/usr/bin/env python3
"""Three real brokers and two controllers, killed, stopped and cut from one another, round after round.

brokers.py --binary REPRISE [--rounds 20] [--seed 1] [--root DIR] [--name NAME] [--json]

Each broker and each process of the cloud has a network namespace of its own. Clients work all the time, ask again under
the same X-Reprise-Intent after an unknown answer, and remember every answer. After the faults of a round everything is
healed; the cloud must settle within --deadline seconds. Then the log is read: every answer is in it once and is not
contradicted, nothing is doubled; `reprise verify` replays it from zero to the head and the digest that each server
shows; one controller leads. Wants root. A line a round; exit 1 at the first round that is not clean.
"""
import argparse, json, os, random, re, shutil, signal, subprocess, sys, tempfile, threading, time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "brokers"))
from clients import Client, Judge, Memory, Op, bodies, pause, unknown
from cloud import Cloud, Deadline

here = os.path.dirname(os.path.abspath(__file__))
arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--binary", required=True)
arguments.add_argument("--rounds", type=int, default=20)
arguments.add_argument("--seed", type=int, default=1)
arguments.add_argument("--clients", type=int, default=4)
arguments.add_argument("--deadline", type=float, default=90, help="seconds to settle in, after each round's faults")
arguments.add_argument("--root", help="a folder for everything, kept (default: a temporary one, removed if clean)")
arguments.add_argument("--name", default=f"brokers-{os.getpid()}-", help="what the namespaces' names begin with")
arguments.add_argument("--only", help="only this kind of fault")
arguments.add_argument("--cut-offs", type=int, default=3,
                       help="with how many brokers a server is cut off, one after the other, before the rounds")
arguments.add_argument("--json", action="store_true", help="one JSON object at the end, on stdout")
a = arguments.parse_args()
brokers = ("1", "2", "3")
controllers = ("a", "b")


class Wrong(Exception):
    pass


class Faults:
    """The faults of one round: what begins when, and how each is undone early, if it is."""

    def __init__(self, cloud, chance, leader):
        self.cloud, self.chance, self.leader = cloud, chance, leader

    # kind: how often it is chosen
    kinds = {"kill a broker": 3, "stop a broker": 3, "kill the leader": 3, "stop the leader": 2, "pause the leader": 3,
             "kill the other": 1, "cut a broker": 3, "cut the leader": 3, "split": 3, "two brokers stopped": 2,
             "all brokers killed": 1, "stop the agents": 1, "end the leader": 1}

    def choose(self):
        kinds = [a.only] if a.only else random_sample(self.chance, self.kinds, self.chance.choice((1, 1, 2, 2, 3)))
        return [(self.chance.uniform(0, 1.5), kind, self.chance.uniform(0.3, 4)) for kind in kinds]

    def run(self, plan):
        """Each in its turn, on its own thread, for its time; what lasts is healed by the round."""
        threads = [threading.Thread(target=self.one, args=fault) for fault in plan]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def one(self, after, kind, seconds):
        pause.wait(after)
        getattr(self, kind.replace(" ", "_"))(seconds)

    def broker(self):
        return self.chance.choice(brokers)

    def kill_a_broker(self, seconds):
        self.cloud.signal_broker(self.broker(), signal.SIGKILL)
        pause.wait(seconds)

    def stop_a_broker(self, seconds):
        broker = self.broker()
        self.cloud.signal_broker(broker, signal.SIGSTOP)
        pause.wait(seconds)
        self.cloud.signal_broker(broker, signal.SIGCONT)

    def two_brokers_stopped(self, seconds):
        for broker in self.chance.sample(brokers, 2):
            self.cloud.signal_broker(broker, signal.SIGSTOP)
        pause.wait(seconds)

    def all_brokers_killed(self, seconds):
        for broker in brokers:
            self.cloud.signal_broker(broker, signal.SIGKILL)
        pause.wait(min(seconds, 1))

    def process(self, name):
        return self.cloud.processes[name]

    def kill_the_leader(self, seconds):
        self.process(self.leader).kill()
        pause.wait(seconds)

    def end_the_leader(self, seconds):
        self.process(self.leader).end()
        pause.wait(seconds)

    def kill_the_other(self, seconds):
        self.process(other(self.leader)).kill()
        pause.wait(seconds)

    def stop_the_leader(self, seconds):
        """Too short for the other one to be elected."""
        self.process(self.leader).signal(signal.SIGSTOP)
        pause.wait(min(seconds / 3, 1.2))
        self.process(self.leader).signal(signal.SIGCONT)

    def pause_the_leader(self, seconds):
        """Until the other one leads: what this one still appends is void."""
        self.process(self.leader).signal(signal.SIGSTOP)
        pause.wait(4 + seconds)
        self.process(self.leader).signal(signal.SIGCONT)
        pause.wait(0.5)

    def stop_the_agents(self, seconds):
        self.process("agents").signal(signal.SIGSTOP)
        pause.wait(seconds)

    def cut_a_broker(self, seconds):
        self.cloud.cut([self.broker()])
        pause.wait(2 + seconds)

    def cut_the_leader(self, seconds):
        self.cloud.cut([self.leader])
        pause.wait(2 + seconds)

    def split(self, seconds):
        everyone = [*brokers, *controllers, "agents"]
        self.cloud.cut(self.chance.sample(everyone, self.chance.randint(2, len(everyone) - 2)))
        pause.wait(2 + seconds)


def random_sample(chance, weighted, count):
    left, chosen = dict(weighted), []
    for _ in range(count):
        chosen.append(chance.choices(list(left), list(left.values()))[0])
        del left[chosen[-1]]
    return chosen


def other(name):
    return "b" if name == "a" else "a"


class Rounds:
    def __init__(self, cloud):
        self.cloud, self.memory, self.judge = cloud, Memory(), Judge()
        self.gate, self.ending = threading.Event(), threading.Event()
        self.servers = [cloud.processes[name] for name in controllers]
        self.slowest, self.slowest_alone = 0.0, 0.0  # from the healing on; from the last broker's start on
        self.voids, self.rounds, self.by_kind, self.took_over = 0, 0, {}, 0
        self.below = self.cut_off = None

    def until_answered(self, process, method, path, body=None, headers=None, wanted=lambda s, h: s < 300, deadline=None):
        deadline, said = deadline or Deadline(a.deadline), None
        while not deadline.passed():
            try:
                status, got, data = process.ask(method, path, body, headers)
                if wanted(status, got):
                    return status, got, data
                said = f"{status} {str(data)[:300]}"
            except unknown as error:
                said = repr(error)
                if process.running.poll() is not None:
                    raise Wrong(f"{process.name} ended with {process.running.returncode}:\n{process.log_tail()}")
            pause.wait(0.05)
        raise Wrong(f"{method} {path} at {process.name}: not within {a.deadline:.0f} s; last: {said}")

    def begin(self):
        first = self.servers[0]
        credentials = {"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "name": "admin", "domain": {"id": "default"}, "password": "brokers-of-three"}}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}
        _, headers, data = self.until_answered(first, "POST", "/identity/v3/auth/tokens", credentials)
        self.token = {"X-Auth-Token": headers["X-Subject-Token"]}
        image = self.until_answered(first, "POST", "/image/v2/images", {
            "name": "simulated", "disk_format": "raw", "container_format": "bare"}, self.token)[2]["id"]
        self.upload(first, f"/image/v2/images/{image}/file", bytes(1 << 20))
        world = self.world = {"token": headers["X-Subject-Token"], "image": image, "project": data["token"]["project"]["id"],
                 "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK8rA8siFfn9Vls+SAnJYwWi6hXS8p8PeXV0D0kWk6wH brokers",
                 "answer_s": self.cloud.intent_ms / 1000 + 5 + 5 + 4}  # its three waits, and what a busy machine adds
        self.clients = [Client(n, a.seed, self.servers, world, self.memory, self.gate, self.ending)
                        for n in range(a.clients)]
        for client in self.clients:
            client.start()

    def upload(self, process, path, data):
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", process.port)
        connection.sock = process.space.connect(("127.0.0.1", process.port), 20)
        connection.request("PUT", path, data, {**self.token, "Content-Type": "application/octet-stream"})
        if (answer := connection.getresponse()).status != 204:
            raise Wrong(f"PUT {path}: {answer.status} {answer.read()[:300]}")

    # ---- one round

    def run(self, number):
        chance = random.Random(f"{a.seed}/{number}")
        leader = self.leader()
        faults = Faults(self.cloud, chance, leader)
        plan = faults.choose()
        kinds = [kind for _, kind, _ in plan]
        for kind in kinds:
            self.by_kind[kind] = self.by_kind.get(kind, 0) + 1
        self.gate.set()
        pause.wait(chance.uniform(0.3, 1))
        faults.run(plan)
        recovery = self.settle()
        pause.wait(chance.uniform(0.1, 0.5))
        now_leads = self.leader()
        self.gate.clear()
        for client in self.clients:
            with client.busy:
                pass
        self.sweep()
        records, told = self.look_at_the_log()
        self.slowest, self.rounds = max(self.slowest, recovery), self.rounds + 1
        self.took_over += now_leads != leader
        return {"round": number, "faults": kinds, "recovery_s": round(recovery, 2), "seq": records, "answers": told,
                "leader": f"{leader}->{now_leads}", "void": self.voids}

    def below_min_insync(self):
        """With two of three brokers stopped nothing can be written. Who is told 503 is told so in time, and it is true."""
        stopped = random.Random(f"{a.seed}/below").sample(brokers, 2)
        for broker in stopped:
            self.cloud.signal_broker(broker, signal.SIGSTOP)
        said = []
        for turn in range(3):
            for process in self.servers:
                name = f"below-{turn}-{process.name}"
                op = Op("create", "network", name, *bodies("network", name, {}))
                status, seconds = self.clients[0].attempt(process, op, 30)[0], self.clients[0].took
                said.append(status)
                # of the one that was under way when the brokers stopped nobody knows
                limit = self.cloud.intent_ms / 1000 + (8 if status == 504 else 4)
                if status not in ((503, 504) if turn == 0 else (503,)) or seconds > limit:
                    raise Wrong(f"below min.insync {process.name} says {status} after {seconds:.1f} s; so far {said}")
                status, got, data = process.ask("GET", "/network/v2.0/networks", None, self.token)
                if status != 200 or got.get("X-Reprise-Stale") != "true":
                    raise Wrong(f"below min.insync {process.name} says {status} {dict(got)} to a read")
        recovery = self.settle()
        self.sweep()
        self.look_at_the_log()
        return {"stopped": stopped, "writes": said, "recovery_s": round(recovery, 2)}

    def cut_off_with_a_broker(self):
        """A server that reaches one broker only, be it the leader of before, may not show the past as the present."""
        first, second = self.servers
        stale = 0
        for broker in random.Random(f"{a.seed}/cut").sample(brokers, a.cut_offs):
            self.cloud.cut([broker, first.name])
            name = f"beyond-{broker}"
            self.until_answered(second, "POST", "/network/v2.0/networks", {"network": {"name": name}},
                                {**self.token, "X-Reprise-Intent": name}, lambda s, h: s == 201)
            status, got, data = self.until_answered(first, "GET", f"/network/v2.0/networks?name={name}", None, self.token)
            if not data["networks"] and "X-Reprise-Stale" not in got:
                raise Wrong(f"cut off with broker {broker}, {first.name} shows the past and does not say so")
            stale += "X-Reprise-Stale" in got
            self.settle()
        self.sweep()
        self.look_at_the_log()
        return {"reads_marked_stale": stale}

    def sweep(self):
        """What nobody holds any more, because its client gave up, goes."""
        held = {op.name for client in self.clients for op in client.made}
        for kind in ("network", "keypair", "volume", "server"):
            path = bodies(kind, "", self.world)[0]
            listed = path + ("/detail" if kind == "volume" else "")
            found = self.until_answered(self.servers[0], "GET", listed, None, self.token)[2]
            for one in found[kind + "s"]:
                one = one.get("keypair", one)
                if one["name"] not in held:
                    self.until_answered(self.servers[0], "DELETE", f"{path}/{one.get('id', one['name'])}", None, self.token,
                                        lambda s, h: s in (202, 204, 400, 404))

    def settle(self):
        begun, deadline = time.monotonic(), Deadline(a.deadline)
        self.cloud.heal_network()
        for name in brokers:
            self.cloud.signal_broker(name, signal.SIGCONT)
        for process in self.cloud.processes.values():
            try:
                ended = process.revive()
            except subprocess.TimeoutExpired:
                raise Wrong(f"{process.name} was asked to end, and does not:\n{process.log_tail()}")
            if ended not in (None, 3):  # 3: it began while the brokers could not be reached
                raise Wrong(f"{process.name} ended with {ended}:\n{process.log_tail()}")
        self.cloud.brokers_up()
        up = time.monotonic()
        for process in self.servers:
            name = f"settled-{process.name}-{self.rounds}-{time.monotonic():.0f}"
            while True:  # started too early, it says that the log cannot be reached, and ends: as a keeper would, again
                try:
                    self.until_answered(process, "POST", "/network/v2.0/networks", {"network": {"name": name}},
                                        {**self.token, "X-Reprise-Intent": name}, lambda s, h: s == 201, deadline)
                    break
                except Wrong:
                    if process.running.poll() != 3 or deadline.passed():
                        raise
                    process.start()
        if self.cloud.processes["agents"].running.poll() == 3:
            self.cloud.processes["agents"].start()
        for process in self.servers:
            self.until_answered(process, "GET", "/compute/v2.1/servers", None, self.token,
                                lambda s, h: s == 200 and "X-Reprise-Stale" not in h, deadline)
        self.leader(deadline)
        self.slowest_alone = max(self.slowest_alone, time.monotonic() - up)
        return time.monotonic() - begun

    def status(self, process, deadline=None):
        return self.until_answered(process, "GET", "/status", None, self.token, lambda s, h: s == 200, deadline)[2]

    def leader(self, deadline=None):
        """The name of the one that leads, once exactly one does and the other knows."""
        deadline = deadline or Deadline(a.deadline)
        while True:
            roles = {p.name: self.status(p, deadline)["controller"] for p in self.servers}
            leading = [name for name, c in roles.items() if c["role"] == "leading"]
            if len(leading) == 1 and roles[other(leading[0])]["role"] == "following":
                return leading[0]
            stopped = [f"{name}: {c['reason']}" for name, c in roles.items() if c["role"] == "stopped"]
            if stopped or deadline.passed():
                raise Wrong(f"not one controller leads: {stopped or roles}")
            pause.wait(0.05)

    def look_at_the_log(self):
        deadline = Deadline(a.deadline)
        while True:  # agents may still report
            heads = [self.status(p, deadline)["head"] for p in self.servers]
            verified = self.cloud.verify(f"{heads[0]['seq']}:{heads[0]['hash']}")
            if not verified.get("ok"):
                raise Wrong(f"verify: {verified}")
            if heads[0]["seq"] == heads[1]["seq"] == verified["seq"]:
                break
            if deadline.passed():
                raise Wrong(f"the readers do not come to one head: {heads}, {verified}")
        for head in heads:
            if (head["hash"], head["digest"]) != (verified["head"], verified["digest"]):
                raise Wrong(f"at one seq, different heads or digests: {heads}, {verified}")
        self.voids = verified["void"]
        lines = [self.events(p) for p in self.servers]
        if lines[0] != lines[1]:
            raise Wrong(f"the servers tell different events from seq {self.judge.next_seq} on")
        told, wrong = self.memory.take()
        self.judge.read(lines[0])
        self.judge.hold(told)
        wrong += self.judge.doubled + self.judge.lost + self.judge.contradicted
        if wrong:
            raise Wrong("; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""))
        return verified["seq"], len(told)

    def events(self, process):
        path = f"/events?from={self.judge.next_seq}&follow=false"
        data = self.until_answered(process, "GET", path, None, self.token, lambda s, h: s == 200)[2]
        return data.decode().splitlines()

    def noticed(self):
        """How often a controller ended its claim, by what it said."""
        reasons = {}
        for process in self.servers:
            with open(os.path.join(process.state, "serve.log"), errors="replace") as file:
                for why in re.findall(r"ends its claim: ([^\n:]*)", file.read()):
                    reasons[why] = reasons.get(why, 0) + 1
        return reasons

    def result(self, wrong):
        j = self.judge
        return {"rounds": self.rounds, "seed": a.seed, "clean": not wrong, "below_min_insync": self.below,
                "cut_off": self.cut_off, "faults": self.by_kind, "slowest_recovery_s": round(self.slowest, 2),
                "slowest_without_restarts_s": round(self.slowest_alone, 2), "answers": self.memory.counts, "records": j.next_seq - 1,
                "lost": len(j.lost), "doubled": len(j.doubled), "contradicted": len(j.contradicted), "void": self.voids,
                "other_leader": self.took_over, "claims_ended": self.noticed(), "wrong": wrong}


def main():
    root = a.root or tempfile.mkdtemp(prefix="reprise-brokers-")
    os.makedirs(root, exist_ok=True)
    cloud = Cloud(os.path.abspath(a.binary), os.path.join(here, "../../ops/kafka"), root, a.name)
    wrong, rounds = None, None
    try:
        cloud.up()
        rounds = Rounds(cloud)
        rounds.begin()
        rounds.settle()
        rounds.below = rounds.below_min_insync()
        rounds.cut_off = rounds.cut_off_with_a_broker()
        for number in range(1, a.rounds + 1):
            line = rounds.run(number)
            print(json.dumps(line) if a.json else "round {round:4} {recovery_s:6.2f} s  seq {seq:6}  {answers:4} answers  "
                  "void {void:3}  {leader}  {faults}".format(**line), file=sys.stderr if a.json else sys.stdout, flush=True)
    except Wrong as problem:
        wrong = f"seed {a.seed}, round {rounds.rounds + 1}: {problem}"
        print(wrong, file=sys.stderr)
    finally:
        result = rounds.result(wrong) if rounds else {}
        if rounds:
            rounds.ending.set()
            rounds.gate.set()
        cloud.down()
    print(json.dumps(result), flush=True)
    if not a.root and not wrong:
        shutil.rmtree(root)
    elif wrong:
        print(f"what everybody said is in {root}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
