#!/usr/bin/env python3
"""A burst of server creates against a running cloud, while its process is killed and started again.

burst.py --binary REPRISE --state DIR [--config FILE] --port PORT [--creates 100] [--kills 10]

Every create carries its own X-Reprise-Intent key and is sent again under that key until it is answered. In the end
each name must stand for exactly one server, and each of them must be ACTIVE. Prints one JSON object; exit 1 if not.
"""
import argparse, concurrent.futures, http.client, json, os, random, signal, subprocess, threading, time

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name, default in (("--binary", None), ("--state", None), ("--config", ""), ("--port", 8700), ("--creates", 100),
                      ("--kills", 10), ("--seed", 1), ("--deadline", 120)):
    arguments.add_argument(name, default=default, required=default is None, type=type(default) if default is not None else str)
a = arguments.parse_args()
deadline = time.monotonic() + a.deadline


def ask(method, path, body=None, headers=None, connection=None):
    c = connection or http.client.HTTPConnection("127.0.0.1", a.port, timeout=10)
    c.request(method, path, json.dumps(body) if body is not None else None,
              {"Content-Type": "application/json", **(headers or {})})
    answer = c.getresponse()
    data = answer.read()
    return answer.status, answer.headers, json.loads(data) if data[:1] in (b"{", b"[") else data


def until_answered(method, path, body=None, headers=None):
    """Sends again until there is an answer that is neither a lost connection nor 'not now'."""
    pause = threading.Event()
    while time.monotonic() < deadline:
        try:
            status, got, data = ask(method, path, body, headers)
            if status not in (429, 503, 504):
                return status, got, data
        except (OSError, http.client.HTTPException):
            pass
        pause.wait(0.05)  # between two attempts of a client, not for anything to happen
    raise SystemExit(f"{method} {path}: no answer within {a.deadline} s")


def start():
    command = [a.binary, "serve", "--state", a.state] + (["--config", a.config] if a.config else [])
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=open(os.path.join(a.state, "burst.log"), "a"),
                            start_new_session=True)


def openrc(name):
    with open(os.path.join(a.state, "openrc")) as lines:
        return next(line.split("=", 1)[1].strip().strip("'") for line in lines if f" {name}=" in line)


process = start()
credentials = {"auth": {"identity": {"methods": ["password"], "password": {"user": {
    "name": openrc("OS_USERNAME"), "domain": {"id": "default"}, "password": openrc("OS_PASSWORD")}}},
    "scope": {"project": {"name": openrc("OS_PROJECT_NAME"), "domain": {"id": "default"}}}}}
token = until_answered("POST", "/identity/v3/auth/tokens", credentials)[1]["X-Subject-Token"]
auth = {"X-Auth-Token": token}
images = until_answered("GET", "/image/v2/images", headers=auth)[2]["images"]
image = next(i["id"] for i in images if i["status"] == "active")
run = f"burst-{os.getpid()}"


def create(number):
    body = {"server": {"name": f"{run}-{number}", "flavorRef": "42", "imageRef": image, "networks": "none"}}
    headers = {**auth, "X-Reprise-Intent": f"{run}-{number}", "OpenStack-API-Version": "compute 2.37"}
    return until_answered("POST", "/compute/v2.1/servers", body, headers)


def kill_now_and_then():
    global process
    chance = random.Random(a.seed)
    pause = threading.Event()
    for _ in range(a.kills):
        pause.wait(chance.uniform(0.05, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = start()


begun = time.monotonic()
killer = threading.Thread(target=kill_now_and_then)
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    futures = [pool.submit(create, n) for n in range(a.creates // 2)]
    killer.start()
    chance = random.Random(a.seed + 1)
    for n in range(a.creates // 2, a.creates):
        threading.Event().wait(chance.uniform(0, 0.08))
        futures.append(pool.submit(create, n))
    answers = [f.result() for f in futures]
killer.join()
refused = [data for status, _, data in answers if status != 202]
ids = {data["server"]["id"] for status, _, data in answers if status == 202}


def servers():
    found, marker = [], ""
    while True:
        page = until_answered("GET", f"/compute/v2.1/servers/detail?limit=500&name={run}{marker}", headers=auth)[2]["servers"]
        if not page:
            return found
        found += page
        marker = f"&marker={page[-1]['id']}"


while time.monotonic() < deadline:
    now = servers()
    if all(s["status"] in ("ACTIVE", "ERROR") for s in now):
        break
names = [s["name"] for s in now]
result = {"creates": a.creates, "kills": a.kills, "refused": refused[:3], "seconds": round(time.monotonic() - begun, 2),
          "active": sum(s["status"] == "ACTIVE" for s in now), "twice": len(names) - len(set(names)),
          "stuck": sum(s["status"] not in ("ACTIVE", "ERROR") for s in now), "error": sum(s["status"] == "ERROR" for s in now),
          "answered_but_absent": len(ids - {s["id"] for s in now})}
process.terminate()
process.wait()
print(json.dumps(result))
raise SystemExit(0 if result["active"] == a.creates and not (result["twice"] or result["answered_but_absent"]) else 1)
