#!/usr/bin/env python3
"""A follower of /events that is cut off again and again while servers are made.

events_resumed.py --state DIR [--creates 200]

A curl follows /events and is killed after a random number of bytes; the next one asks from behind the last whole line.
In the end what they got together must be what one uncut reading gets: nothing missed, nothing twice. Prints one JSON
object; exit 1 if not.
"""
import argparse, json, os, random, subprocess, threading, urllib.request

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--state", required=True)
arguments.add_argument("--creates", type=int, default=200)
arguments.add_argument("--seed", type=int, default=1)
a = arguments.parse_args()
random.seed(a.seed)


def openrc(name):
    with open(os.path.join(a.state, "openrc")) as lines:
        return next(line.split("=", 1)[1].strip().strip("'") for line in lines if f" {name}=" in line)


api = openrc("OS_AUTH_URL").removesuffix("/identity/v3")


def ask(method, path, body=None, headers={}):
    request = urllib.request.Request(api + path, json.dumps(body).encode() if body else None,
                                     {"Content-Type": "application/json", **headers}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        data = answer.read()
        return answer.headers, json.loads(data) if data else None


token = ask("POST", "/identity/v3/auth/tokens", {"auth": {"identity": {"methods": ["password"], "password": {"user": {
    "name": openrc("OS_USERNAME"), "domain": {"id": "default"}, "password": openrc("OS_PASSWORD")}}},
    "scope": {"project": {"name": openrc("OS_PROJECT_NAME"), "domain": {"id": "default"}}}}})[0]["X-Subject-Token"]
auth = {"X-Auth-Token": token}


def follow(source):
    return subprocess.Popen(["curl", "-sSN", "-H", "X-Auth-Token: " + token, f"{api}/events?from={source}"],
                            stdout=subprocess.PIPE)


def make_and_delete():
    """Each create and delete leaves some records; one server at a time, so that small hosts can do it too."""
    image = next(i["id"] for i in ask("GET", "/image/v2/images", headers=auth)[1]["images"] if i["status"] == "active")
    new = {**auth, "OpenStack-API-Version": "compute 2.37"}
    for i in range(a.creates):
        server = ask("POST", "/compute/v2.1/servers", {"server": {
            "name": f"cut-{i}", "imageRef": image, "flavorRef": "42", "networks": "none"}}, new)[1]["server"]["id"]
        ask("DELETE", f"/compute/v2.1/servers/{server}", headers=auth)


done = threading.Event()


def make():
    global made
    try:
        make_and_delete()
        made = True
    finally:
        done.set()
        curl.kill()  # nothing more will come


made, curl = False, follow("1")
maker = threading.Thread(target=make)
maker.start()
got, source, cuts = [], "1", 0
while not done.is_set():
    left, text = random.randrange(30000), b""
    while left > 0 and (part := curl.stdout.read1(left)):
        left -= len(part)
        text += part
    curl.kill()
    curl.communicate()
    cuts += 1
    for line in text.split(b"\n")[:-1]:  # the last one may be half a line
        event = json.loads(line)
        got.append((event["seq"], event["index"]))
        source = f"{event['seq']}.{event['index'] + 1}"
    curl = follow(source)
    if done.is_set():
        curl.kill()
maker.join()

rest = follow(source + "&follow=false").stdout.read()
got += [(e["seq"], e["index"]) for e in map(json.loads, rest.splitlines())]
head = got[-1][0]
whole = [(e["seq"], e["index"]) for e in map(json.loads, follow("1&follow=false").stdout.read().splitlines()) if e["seq"] <= head]
missed, twice = len(set(whole) - set(got)), len(got) - len(set(got))
good = made and got == whole and cuts > 5
print(json.dumps({"events": len(whole), "head": head, "cuts": cuts, "missed": missed, "twice": twice,
                  "in_order": got == sorted(got), "ok": good}))
raise SystemExit(0 if good else 1)
