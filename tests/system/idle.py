#!/usr/bin/env python3
"""A cloud in which nothing happens: nothing is written, and nothing grows.

idle.py --binary REPRISE --state DIR [--port 8763] [--nodes 100] [--servers 20] [--minutes 30]

Makes a cloud with simulated nodes and servers in DIR, waits until it is settled, then looks at it for so many minutes: how
many records were written, what serve holds in memory and what its folder takes, and what was appended to the topic of reports.
Prints one JSON object; exit 1 if a record was written, or if memory grew by more than the log's caches, or did not rest in the end.
"""
import argparse, http.client, json, os, subprocess, threading, time

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name, default in (("--binary", None), ("--state", None), ("--port", 8763), ("--nodes", 100), ("--servers", 20), ("--minutes", 30.0),
                      ("--deadline", 180)):
    arguments.add_argument(name, default=default, required=default is None, type=type(default) if default is not None else str)
a = arguments.parse_args()
os.makedirs(a.state, exist_ok=True)
with open(os.path.join(a.state, "reprise.toml"), "w") as file:
    file.write(f"""[cloud]
name = "idle"
[api]
port = {a.port}
[agent]
node = "idle"
compute = "simulated"
storage = "simulated"
network = "simulated"
[simulated]
nodes = {a.nodes}
""")


def ask(method, path, body=None, headers=None):
    c = http.client.HTTPConnection("127.0.0.1", a.port, timeout=40)
    c.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json", **(headers or {})})
    answer = c.getresponse()
    data = answer.read()
    return answer.status, answer.headers, json.loads(data) if data[:1] in (b"{", b"[") else data


def start():
    process = subprocess.Popen([a.binary, "serve", "--state", a.state], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.rstrip().endswith("caught up"):
            log = open(os.path.join(a.state, "serve.log"), "a")
            threading.Thread(target=lambda: [log.write(one) or log.flush() for one in process.stderr], daemon=True).start()
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


def wait_for(what, done):
    """Each look asks for the log's end: there is nothing to be told of."""
    pause, deadline = threading.Event(), time.monotonic() + a.deadline
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {a.deadline} s: {what}")
        pause.wait(0.2)


def memory_mib():
    with open(f"/proc/{process.pid}/smaps_rollup") as lines:
        fields = dict(line.split(":", 1) for line in lines if ":" in line and "kB" in line)
    return {"rss": round(int(fields["Rss"].split()[0]) / 1024, 1), "private": round(int(fields["Private_Dirty"].split()[0]) / 1024, 1)}


def folder_mib():
    total = 0
    for root, _, files in os.walk(a.state):
        for name in files:
            try:
                total += os.path.getsize(os.path.join(root, name))
            except OSError:
                pass  # gone meanwhile
    return round(total / 2**20, 1)


def head():
    return ask("GET", "/status", headers=auth)[2]["head"]["seq"]


if not os.path.exists(os.path.join(a.state, "openrc")):
    made = subprocess.run([a.binary, "init", "--state", a.state], capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(made.stderr)
process = start()
try:
    auth = token()
    wait_for("all nodes are up", lambda: ask("GET", "/compute/v2.1/os-hypervisors/statistics", headers=auth)[2]["hypervisor_statistics"]["count"] == a.nodes)
    image = ask("POST", "/image/v2/images", {"name": "i", "disk_format": "raw", "container_format": "bare"}, auth)[2]["id"]
    c = http.client.HTTPConnection("127.0.0.1", a.port, timeout=40)
    c.request("PUT", f"/image/v2/images/{image}/file", b"bytes of a disk", {**auth, "Content-Type": "application/octet-stream"})
    c.getresponse().read()
    for i in range(a.servers):
        ask("POST", "/compute/v2.1/servers", {"server": {"name": f"s{i}", "flavorRef": "42", "imageRef": image, "networks": "none"}},
            {**auth, "OpenStack-API-Version": "compute 2.37"})
    active = lambda: sum(s["status"] == "ACTIVE" for s in ask("GET", "/compute/v2.1/servers/detail", headers=auth)[2]["servers"])
    wait_for("all servers are ACTIVE", lambda: active() >= a.servers)
    threading.Event().wait(5)  # what was reported last is taken
    begun = {"head": head(), "memory_mib": memory_mib(), "folder_mib": folder_mib()}
    samples = []
    until = time.monotonic() + a.minutes * 60
    while time.monotonic() < until:
        threading.Event().wait(min(60, max(0.0, until - time.monotonic())))
        samples.append(memory_mib()["rss"])
    auth = token()
    ended = {"head": head(), "memory_mib": memory_mib(), "folder_mib": folder_mib()}
    result = {"nodes": a.nodes, "servers": a.servers, "minutes": a.minutes, "records": ended["head"] - begun["head"], "begun": begun,
              "ended": ended, "rss_each_minute": samples}
    # What the log keeps in memory of its last reports and heartbeats fills up first: 8 MiB a topic (events/embedded_log.h).
    grown, late = samples[-1] - begun["memory_mib"]["rss"], samples[-1] - samples[len(samples) * 5 // 6]
    result["holds"] = result["records"] == 0 and grown <= 24 and late <= 1
finally:
    process.terminate()
    process.wait()
print(json.dumps(result))
raise SystemExit(0 if result["holds"] else 1)
