#!/usr/bin/env python3
"""What an operator, or a loss of power, may do to the topics of a cloud: each is said, and never a silent wrong state.

topics_damaged.py --binary REPRISE --topics KAFKA_TOPICS [--port 20192] [--api-port 8790] [--only CASE] [--json]

Three brokers of its own (ops/kafka); for each case a cloud of its own on them. Exit 1 at the first case that goes wrong.
"""
import argparse, glob, http.client, json, os, shutil, struct, subprocess, sys, tempfile, threading, time

here = os.path.dirname(os.path.abspath(__file__))
arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--binary", required=True)
arguments.add_argument("--topics", required=True, help="the program kafka_topics")
arguments.add_argument("--port", type=int, default=20192, help="of the first broker")
arguments.add_argument("--api-port", type=int, default=8790)
arguments.add_argument("--only", help="a case, or several with commas between them")
arguments.add_argument("--json", action="store_true")
a = arguments.parse_args()
root = tempfile.mkdtemp(prefix="reprise-topics-")
brokers_state = os.path.join(root, "kafka")
pause = threading.Event()
patience_s = 120


class Wrong(Exception):
    pass


def run(*words, fails=False, **more):
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if (done.returncode != 0) != fails:
        raise Wrong(f"{' '.join(words)}: exit {done.returncode}: {done.stdout[-800:]}{done.stderr[-800:]}")
    return done.stdout + done.stderr


def kafka(*words):
    done = subprocess.run([os.path.join(here, "../../ops/kafka"), *words, "--state", brokers_state], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL if a.json else None, text=True)
    if done.returncode != 0:
        raise Wrong(f"ops/kafka {' '.join(words)}: exit {done.returncode}")
    return done.stdout.strip()


def topics(*words):
    run(a.topics, *words, env={**os.environ, "REPRISE_TEST_KAFKA_STATE": brokers_state})


def must_say(text, *words):
    for word in words:
        if word not in text:
            raise Wrong(f"'{word}' is not said in: {text[-1500:]}")


class Process:
    """One `reprise serve` in a folder of its own."""
    all = []

    def __init__(self, cloud, name, roles, like=None):
        self.cloud, self.state, self.running = cloud, os.path.join(root, cloud, name), None
        Process.all.append(self)
        os.makedirs(self.state, mode=0o711)
        with open(os.path.join(self.state, "reprise.toml"), "w") as file:
            file.write(f'[cloud]\nname = "{cloud}"\nroles = {json.dumps(roles)}\n'
                       f'[api]\nport = {a.api_port}\nintent_ms = 5000\n'
                       f'[log]\nplace = "kafka:{bootstrap}/{cloud}"\n[agent]\nnode = "{name}"\ncompute = "simulated"\n'
                       f'storage = "simulated"\nnetwork = "simulated"\n')
        if like:
            for file in ("keyring", "node"):
                shutil.copy2(os.path.join(like.state, file), self.state)

    def command(self, *words, fails=False):
        return run(a.binary, *words, "--state", self.state, fails=fails)

    def start(self):
        self.said, self.news = [], threading.Condition()
        self.running = subprocess.Popen((a.binary, "serve", "--state", self.state), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self.listen, args=(self.running,), daemon=True).start()

    def listen(self, process):
        for line in process.stderr:
            with self.news:
                self.said.append(line)
                self.news.notify_all()

    def until_said(self, words):
        with self.news:
            if not self.news.wait_for(lambda: any(words in line for line in self.said), patience_s):
                raise Wrong(f"'{words}' was not said within {patience_s} s; what was: {''.join(self.said[-8:])}")

    def must_end(self, *words):
        """It ends by itself, with exit 1, and says why."""
        try:
            code = self.running.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise Wrong(f"serve goes on after {patience_s} s; it said {''.join(self.said[-8:])}")
        with self.news:
            self.news.wait_for(lambda: any(words[0] in line for line in self.said), 5)
        must_say("".join(self.said), *words)
        if code != 1:
            raise Wrong(f"serve ended with {code}: {''.join(self.said[-8:])}")

    def end(self):
        if self.running and self.running.poll() is None:
            self.running.terminate()
            self.running.wait(60)

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", a.api_port, timeout=30)
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, answer.headers, json.loads(data) if data[:1] in (b"{", b"[") else data

    def until(self, method, path, wanted, body=None, headers=None):
        deadline, last = time.monotonic() + patience_s, None
        while time.monotonic() < deadline:
            try:
                last = self.ask(method, path, body, headers)
                if wanted(last[0], last[2]):
                    return last
            except (OSError, http.client.HTTPException) as error:
                last = error
            pause.wait(0.05)  # between two attempts of a client
        raise Wrong(f"{method} {path}: not as wanted within {patience_s} s; last: {last}")

    def log_in(self):
        credentials = {"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "name": "admin", "domain": {"id": "default"}, "password": "topics-of-three"}}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}
        got = self.until("POST", "/identity/v3/auth/tokens", lambda s, d: s == 201, credentials)
        self.auth = {"X-Auth-Token": got[1]["X-Subject-Token"]}

    def write(self, name):
        self.until("POST", "/network/v2.0/networks", lambda s, d: s == 201, {"network": {"name": name}},
                   {**self.auth, "X-Reprise-Intent": name})

    def networks(self):
        found = self.until("GET", "/network/v2.0/networks", lambda s, d: s == 200, None, self.auth)[2]
        return sorted(network["name"] for network in found["networks"])

    def status(self, wanted=lambda s: True):
        return self.until("GET", "/status", lambda code, s: code == 200 and wanted(s), None, self.auth)[2]


def cloud_of(name, roles=("api", "controller", "agent"), writes=5):
    """A running cloud with some history."""
    process = Process(name, "a", list(roles))
    process.command("init", "--admin-password", "topics-of-three")
    process.start()
    process.log_in()
    for i in range(writes):
        process.write(f"n{i}")
    return process


def events_deleted(name):
    p = cloud_of(name)
    topics("delete", f"{name}.events")
    p.must_end(f"{name}.events is gone")
    p.start()
    p.must_end(f"there is no topic {name}.events", "it was deleted")


def intents_deleted(name):
    p = cloud_of(name)
    topics("delete", f"{name}.intents")
    status = p.status(lambda s: s["controller"]["role"] == "stopped")
    must_say(status["controller"]["reason"], f"{name}.intents is gone")
    if p.networks() != [f"n{i}" for i in range(5)]:
        raise Wrong("reads do not go on")
    p.end()
    p.start()
    p.must_end(f"there is no topic {name}.intents", "reprise log repair")
    must_say(p.command("log", "repair", fails=True), f"there is no topic {name}.intents")
    must_say(p.command("log", "repair", "--apply"), "intents", "filled up")
    p.start()
    p.write("after")
    p.end()
    must_say(p.command("verify"), "every record extends")


def reports_deleted(name):
    p = cloud_of(name)
    topics("delete", f"{name}.reports")
    must_say(p.status(lambda s: s["controller"]["role"] == "stopped")["controller"]["reason"], f"{name}.reports is gone")
    p.end()


def intents_made_anew(name):
    """Deleted and made again while nobody looked: the entries that were decided are not there."""
    p = cloud_of(name)
    p.end()
    topics("delete", f"{name}.intents")
    topics("make", f"{name}.intents", "message.timestamp.type=LogAppendTime", "retention.ms=-1", "min.insync.replicas=2")
    p.start()
    status = p.status(lambda s: s["controller"]["role"] == "stopped")
    must_say(status["controller"]["reason"], "intents ends before offset", "log repair")
    p.end()
    p.command("log", "repair", "--apply")
    p.start()
    p.write("after")
    p.end()


def events_emptied(name):
    """Retention that somebody let loose: the head's record, and the genesis, are not there any more."""
    p = cloud_of(name)
    topics("empty", f"{name}.events")
    p.end()
    p.start()
    p.must_end("its beginning was deleted")
    must_say(p.command("verify", fails=True), "broken")
    must_say(p.command("log", "repair", fails=True), "nothing was written")


def wrong_configuration(name):
    p = cloud_of(name)
    p.end()
    topics("set", f"{name}.events", "cleanup.policy=compact", "retention.ms=60000", "min.insync.replicas=1")
    p.start()
    p.must_end("cleanup.policy=compact, delete is needed", "retention.ms=60000, -1 is needed",
               "min.insync.replicas=1, at least 2 is needed", "kafka-configs.sh")
    topics("set", f"{name}.events", "message.timestamp.type=LogAppendTime", "retention.ms=-1", "min.insync.replicas=2",
           "max.message.bytes=1000000")
    p.start()
    p.write("after")
    p.end()


def one_replica(name):
    for topic in ("events", "intents"):
        topics("make", f"{name}.{topic}", "replicas=1", "min.insync.replicas=1", "message.timestamp.type=LogAppendTime",
               "retention.ms=-1")
    p = Process(name, "a", ["api", "controller", "agent"])
    must_say(p.command("init", fails=True), f"{name}.events has 1 of 3 replicas needed",
             f"{name}.intents has min.insync.replicas=1, at least 2 is needed")


def behind_retention(name):
    """Reports that nobody was there to take are dropped: it is said, and the agents tell again."""
    p = cloud_of(name, ("api", "controller"))
    agents = Process(name, "agents", ["agent"], p)
    agents.start()
    p.status(lambda s: s["nodes"] and s["nodes"][0]["state"] == "up")
    p.end()
    agents.end()
    agents.start()  # announces itself, and nobody takes it
    agents.until_said("caught up")
    pause.wait(1)
    topics("empty", f"{name}.reports")
    p.start()
    p.until_said("were not kept long enough to be decided")
    before = p.status()["nodes"][0]["incarnation"]
    agents.end()
    agents.start()
    p.status(lambda s: s["nodes"][0]["incarnation"] != before and s["nodes"][0]["state"] == "up" and not s["unsettled"])
    p.end()
    agents.end()


def cut_end(topic, entries):
    """Takes the last batches of a partition from every broker's disk, as a loss of power does."""
    for folder in glob.glob(os.path.join(brokers_state, "broker-*", "data", f"{topic}-0")):
        segment = max(glob.glob(os.path.join(folder, "*.log")))
        with open(segment, "r+b") as file:
            data, at, borders = file.read(), 0, []
            while at + 12 <= len(data):
                borders.append(at)
                at += 12 + struct.unpack(">i", data[at + 8:at + 12])[0]
            file.truncate(borders[-entries])
        for index in glob.glob(os.path.join(folder, "*.index")) + glob.glob(os.path.join(folder, "*.timeindex")) + \
                glob.glob(os.path.join(folder, "*.snapshot")):
            os.remove(index)


def power_lost(name):
    """All three brokers lost power together, and with it the end of what they had acknowledged."""
    p = cloud_of(name, writes=12)
    head = p.status()["head"]
    p.end()
    for broker in "123":
        kafka("kill", broker)
    cut_end(f"{name}.events", 5)
    cut_end(f"{name}.intents", 4)
    kafka("up")
    p.start()
    p.must_end("it has lost records that were acknowledged", "reprise log repair")
    said = p.command("log", "repair", fails=True)
    must_say(said, "would be appended again", "intents", "nothing was written")
    must_say(p.command("log", "repair", "--apply"), "are appended again", "it ends with")
    must_say(p.command("log", "repair"), "holds everything")
    verified = json.loads(p.command("verify", "--json", "--head", f"{head['seq']}:{head['hash']}"))
    if not verified["ok"]:
        raise Wrong(f"verify: {verified}")
    p.start()
    p.write("after")
    if p.networks() != sorted(["after", *(f"n{i}" for i in range(12))]):
        raise Wrong(f"networks: {p.networks()}")
    p.end()
    must_say(p.command("verify"), "every record extends")


cases = [events_deleted, intents_deleted, reports_deleted, intents_made_anew, events_emptied, wrong_configuration, one_replica,
         behind_retention, power_lost]
failed, done = None, {}
try:
    bootstrap = kafka("up", "3", "--port", str(a.port))
    for number, case in enumerate(cases):
        if a.only and case.__name__ not in a.only.split(","):
            continue
        begun = time.monotonic()
        try:
            case(f"case{number}")
        except Wrong as problem:
            failed = f"{case.__name__}: {problem}"
            break
        done[case.__name__] = round(time.monotonic() - begun, 1)
        if not a.json:
            print(f"{case.__name__:22} {done[case.__name__]:6.1f} s", flush=True)
finally:
    for process in Process.all:
        if process.running and process.running.poll() is None:
            process.running.kill()
    subprocess.run([os.path.join(here, "../../ops/kafka"), "down", "--wipe", "--state", brokers_state], capture_output=True)
if failed:
    print(f"{failed}\nwhat is left is in {root}", file=sys.stderr)
else:
    shutil.rmtree(root)
if a.json:
    print(json.dumps({"ok": not failed, "cases": done, "wrong": failed}))
sys.exit(1 if failed else 0)
