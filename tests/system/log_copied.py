#!/usr/bin/env python3
"""A cloud moves from an embedded log to a real Kafka and back, while clients go on.

log_copied.py --binary REPRISE --state DIR --port PORT --kafka-port PORT [--seconds 4] [--kill 1] [--history 0]

Makes a cloud with simulated nodes in DIR and a broker of its own below it (ops/kafka); both are gone afterwards, unless
--keep. Clients create networks, each under its own X-Reprise-Intent key, and send again until they are answered. In each
hop `reprise log copy` runs under them (once it is killed and run again), and the server is started on the new log. In the
end: every answer that a client got stands in the log once; the sealed log is refused by name; verify from zero gives the
server's digest; and so does a reader that begins from one of the checkpoints made meanwhile. Prints one JSON object; exit 1 if not.
"""
import argparse, concurrent.futures, http.client, json, os, random, shutil, signal, subprocess, sys, threading, time

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name, default in (("--binary", None), ("--state", None), ("--port", 8761), ("--kafka-port", 19692), ("--seconds", 4.0),
                      ("--kill", 1), ("--seed", 1), ("--clients", 4), ("--deadline", 300), ("--history", 0), ("--keep", 0)):
    arguments.add_argument(name, default=default, required=default is None, type=type(default) if default is not None else str)
a = arguments.parse_args()
chance = random.Random(a.seed)
deadline = time.monotonic() + a.deadline
here = os.path.dirname(os.path.abspath(__file__))
kafka = [os.path.join(here, "../../ops/kafka"), "--state", os.path.join(a.state, "kafka"), "--port", str(a.kafka_port)]
config = os.path.join(a.state, "reprise.toml")
places = {}
said = []  # by the server that was started last, until it had caught up
wrong = []


def write_config(place):
    with open(config, "w") as file:
        file.write(f"""[cloud]
name = "copied"
[api]
port = {a.port}
rate_per_second = 1e6
rate_burst = 1e7
[log]
place = "{place}"
[agent]
node = "copied"
compute = "simulated"
storage = "simulated"
network = "simulated"
[simulated]
nodes = 5
[checkpoints]
every_records = 100
""")


def reprise(*words, check=True, **kwargs):
    done = subprocess.run([a.binary, *words, "--state", a.state], capture_output=True, text=True, **kwargs)
    if check and done.returncode:
        raise SystemExit(f"reprise {' '.join(words)}: {done.stderr}")
    return done


def ask(method, path, body=None, headers=None):
    c = http.client.HTTPConnection("127.0.0.1", a.port, timeout=40)
    c.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json", **(headers or {})})
    answer = c.getresponse()
    data = answer.read()
    return answer.status, answer.headers, json.loads(data) if data[:1] in (b"{", b"[") else data


def start():
    """Ready when it says so: its log is the pipe that is waited on."""
    process = subprocess.Popen([a.binary, "serve", "--state", a.state], stderr=subprocess.PIPE, text=True)
    said.clear()
    for line in process.stderr:
        said.append(line.rstrip())
        if line.rstrip().endswith("caught up"):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process
    raise SystemExit(f"serve ended with {process.wait()}")


def openrc(name):
    with open(os.path.join(a.state, "openrc")) as lines:
        return next(line.split("=", 1)[1].strip().strip("'") for line in lines if f" {name}=" in line)


def token():
    credentials = {"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "name": "admin", "domain": {"id": "default"}, "password": openrc("OS_PASSWORD")}}},
        "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}
    return {"X-Auth-Token": ask("POST", "/identity/v3/auth/tokens", credentials)[1]["X-Subject-Token"]}


answered, answers_at, told, stop, given_up = {}, [], set(), threading.Event(), threading.Event()
guard = threading.Lock()


def client(number):
    pause, i = threading.Event(), 0
    while not stop.is_set():
        key, i = f"c{number}-{i}", i + 1
        while not given_up.is_set():
            try:
                status, _, data = ask("POST", "/network/v2.0/networks", {"network": {"name": key, "port_security_enabled": True}},
                                      {**auth, "X-Reprise-Intent": key})
            except (OSError, http.client.HTTPException):
                pause.wait(0.02)  # between two attempts of a client, not for anything to happen
                continue
            with guard:
                if status in (503, 504):
                    told.add((status, "cloud went to" in data["NeutronError"]["message"]))
                if status == 201:
                    answered[key] = data["network"]["id"]
                    answers_at.append(time.monotonic())
                    answers_now.notify_all()
                elif status not in (429, 503, 504):
                    wrong.append(f"{key}: {status} {data}")
            if status not in (429, 503, 504):
                break
            pause.wait(0.02)
        # Away again, so that VLANs last.
        while answered.get(key) and not given_up.is_set():
            try:
                status, _, data = ask("DELETE", "/network/v2.0/networks/" + answered[key], headers={**auth, "X-Reprise-Intent": key + "-"})
            except (OSError, http.client.HTTPException):
                status = 503
            if status not in (429, 503, 504):
                break
            pause.wait(0.02)


answers_now = threading.Condition(guard)


def more_answers(count):
    with answers_now:
        wanted = len(answered) + count
        if not answers_now.wait_for(lambda: len(answered) >= wanted or wrong, max(0, deadline - time.monotonic())) or wrong:
            raise SystemExit(f"no more answers: {wrong[:3]}")


def hop(process, source, target):
    """Copies while the clients go on, then starts the server on the target."""
    words = [a.binary, "log", "copy", places[source], places[target], "--state", a.state, "--json"]
    for _ in range(a.kill):
        cut = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            cut.wait(chance.uniform(0.02, 1.0))
        except subprocess.TimeoutExpired:
            cut.send_signal(signal.SIGKILL)
            cut.wait()
    more_answers(0 if a.kill else 10)
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"log copy: {done.stderr}")
    copied = json.loads(done.stdout)
    process.send_signal(signal.SIGTERM)
    process.wait()
    refused = reprise("serve", check=False)
    if refused.returncode != 1 or places[target] not in refused.stderr:
        wrong.append(f"serve on the sealed {source}: {refused.returncode} {refused.stderr}")
    write_config(places[target])
    with guard:
        before = answers_at[-1]
    process = start()
    more_answers(20)
    with guard:
        first = next(at for at in answers_at if at > before)
    copied["client_pause_ms"] = round((first - before) * 1000)
    return process, copied


shutil.rmtree(a.state, ignore_errors=True)
os.makedirs(a.state)
process = None
try:
    places = {"home": f"embedded:{a.state}/log", "back": f"embedded:{a.state}/log-2",
              "kafka": "kafka:" + subprocess.run([*kafka, "up", "1"], check=True, capture_output=True, text=True).stdout.strip() + "/copied"}
    write_config(places["home"])
    reprise("init")
    process = start()
    auth = token()
    clients = [threading.Thread(target=client, args=(n,)) for n in range(a.clients)]
    for thread in clients:
        thread.start()
    more_answers(max(50, a.history))
    hops, heads = [], {}
    for source, target in (("home", "kafka"), ("kafka", "back")):
        process, copied = hop(process, source, target)
        hops.append({k: copied[k] for k in ("records", "intents", "paused_ms", "client_pause_ms", "resumed", "seq")})
    stop.set()
    for thread in clients:
        thread.join()
    process.send_signal(signal.SIGTERM)
    process.wait()
    process = None
    status = json.loads(reprise("status", "--json").stdout)  # of the folder, at rest
    events = [json.loads(line) for line in reprise("events", "--json").stdout.splitlines()]
    made = {}
    for event in events:
        if event["event"]["type"] == "NetworkCreated":
            made[event["event"]["id"]] = made.get(event["event"]["id"], 0) + 1
    lost = [key for key, id in answered.items() if id not in made]
    doubled = [id for id, count in made.items() if count > 1]
    names = len(set(answered.values())) != len(answered)
    verified = {name: json.loads(reprise("verify", "--json", *extra).stdout) for name, extra in
                (("back", []), ("kafka", ["--log", places["kafka"], "--no-state"]), ("home", ["--log", places["home"], "--no-state"]))}
    # A new reader, from a checkpoint that may have been made while the cloud was elsewhere.
    shutil.rmtree(os.path.join(a.state, "projection"))
    process = start()
    if not any("begins from the checkpoint" in line for line in said):
        wrong.append(f"no checkpoint was begun from: {said}")
    process.send_signal(signal.SIGTERM)
    process.wait()
    process = None
    head = json.loads(reprise("status", "--json").stdout)
    again = json.loads(reprise("verify", "--json").stdout)
    result = {"answered": len(answered), "lost": len(lost), "doubled": len(doubled) + names, "hops": hops,
              "told": sorted(map(str, told)), "seqs": {name: v["seq"] for name, v in verified.items()},
              "same_digest": verified["back"]["digest"] in json.dumps(status) and again["digest"] in json.dumps(head),
              "wrong": wrong[:3]}
finally:
    stop.set()
    given_up.set()
    if process:
        process.kill()
        process.wait()
    subprocess.run([*kafka[:3], "down", "--wipe"], capture_output=True)
    if not a.keep:
        shutil.rmtree(a.state, ignore_errors=True)
print(json.dumps(result))
raise SystemExit(0 if answered and result["same_digest"] and not (lost or doubled or names or wrong) else 1)
