"""Three Kafka brokers and the processes of one cloud, each in a network namespace of its own, and what can be done to them.

The namespaces hang on a switch: two bridges without a link between them. Who is moved to the other bridge is cut from
those that were not, and still reaches whoever was moved with it.
"""
import ctypes, http.client, json, os, shutil, signal, socket, subprocess, time

libc = ctypes.CDLL(None, use_errno=True)
net_namespace = 0x40000000


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: exit {done.returncode}: {done.stderr[-1500:]}{done.stdout[-500:]}")
    return done.stdout


class Space:
    """A network namespace with one interface on the switch."""

    def __init__(self, switch, name, number):
        self.switch, self.name, self.port = switch, switch + name, f"p{number}"
        run("ip", "netns", "add", self.name)
        run("ip", "-n", switch, "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "-n", self.name, "addr", "add", f"10.97.0.{number}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            run("ip", "-n", self.name, "link", "set", device, "up")
        run("ip", "-n", switch, "link", "set", self.port, "master", "side0", "up")
        self.handle = os.open(f"/run/netns/{self.name}", os.O_RDONLY)

    def move(self, side):
        run("ip", "-n", self.switch, "link", "set", self.port, "master", f"side{side}")

    def connect(self, address, seconds):
        """A connection made from inside; the calling thread stays where it is."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            if libc.setns(self.handle, net_namespace) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter {self.name}")
            ours = socket.socket()
            libc.setns(home, net_namespace)
        finally:
            os.close(home)
        ours.settimeout(seconds)
        ours.connect(address)
        return ours


class Process:
    """One `reprise serve`, its state folder and its namespace."""
    port = 8701

    def __init__(self, cloud, name, roles, space):
        self.cloud, self.name, self.roles, self.space = cloud, name, roles, space
        self.state = os.path.join(cloud.root, name)
        self.running, self.ending = None, False
        os.makedirs(self.state, mode=0o711)
        with open(os.path.join(self.state, "reprise.toml"), "w") as file:
            file.write(f"""[cloud]
name = "brokers"
roles = {json.dumps(roles)}
[api]
port = {self.port}
intent_ms = {cloud.intent_ms}
rate_per_second = 100000.0
rate_burst = 100000.0
[log]
place = "{cloud.place}"
[agent]
node = "{name}"
compute = "simulated"
storage = "simulated"
network = "simulated"
[simulated]
nodes = 3
[images]
directory = "{cloud.root}/images"
""")

    def inside(self, *words):
        return ("ip", "netns", "exec", self.space.name, self.cloud.binary, *words, "--state", self.state)

    def start(self):
        with open(os.path.join(self.state, "serve.log"), "ab") as log:
            self.running = subprocess.Popen(self.inside("serve"), stdout=subprocess.DEVNULL, stderr=log,
                                            start_new_session=True)
        self.ending = False

    def signal(self, number):
        if self.running and self.running.poll() is None:
            self.running.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.running.wait()

    def end(self):
        self.signal(signal.SIGTERM)
        self.ending = True

    def revive(self):
        """Goes on, whatever was done to it. The exit code, if it had ended by itself."""
        self.signal(signal.SIGCONT)
        ended = self.running.wait(60) if self.ending else self.running.poll()
        asked = ended == -signal.SIGKILL or (ended == 0 and self.ending)
        if ended is not None:
            self.start()
        return None if asked else ended

    def log_tail(self, count=12):
        with open(os.path.join(self.state, "serve.log"), errors="replace") as file:
            return "".join(file.readlines()[-count:])

    def ask(self, method, path, body=None, headers=None, seconds=10):
        """(status, headers, data), or OSError or HTTPException: then nobody knows."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        connection.sock = self.space.connect(("127.0.0.1", self.port), seconds)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Content-Type": "application/json", "Connection": "close", **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
            data = json.loads(text) if answer.headers.get_content_type() == "application/json" and text else text
            return answer.status, answer.headers, data
        finally:
            connection.close()


class Cloud:
    """The brokers 1 to 3, the processes `a` and `b` (api and controller) and `agents`."""

    def __init__(self, binary, ops_kafka, root, name, intent_ms=5000):
        self.binary, self.ops_kafka, self.root, self.switch, self.intent_ms = binary, ops_kafka, root, name, intent_ms
        self.kafka_state = os.path.join(root, "kafka")
        self.spaces, self.processes, self.broker_pids = {}, {}, {}

    def up(self):
        os.makedirs(os.path.join(self.root, "images"))
        run("ip", "netns", "add", self.switch)
        for side in (0, 1):
            run("ip", "-n", self.switch, "link", "add", f"side{side}", "type", "bridge", "forward_delay", "0")
            run("ip", "-n", self.switch, "link", "set", f"side{side}", "up")
        for number, name in enumerate(("1", "2", "3", "a", "b", "agents"), 1):
            self.spaces[name] = Space(self.switch, name, number)
        self.bootstrap = self.brokers_up("3", "--spaces", self.switch, "--port", "19092")
        self.place = f"kafka:{self.bootstrap}/rounds"
        for name, roles in (("a", ["api", "controller"]), ("b", ["api", "controller"]), ("agents", ["agent"])):
            self.processes[name] = Process(self, name, roles, self.spaces[name])
        first = self.processes["a"]
        run(*first.inside("init", "--admin-password", "brokers-of-three"))
        for other in ("b", "agents"):  # how another process joins: the same keys, a configuration of its own
            for file in ("keyring", "node"):
                shutil.copy2(os.path.join(first.state, file), self.processes[other].state)
        for process in self.processes.values():
            process.start()

    def down(self):
        for process in self.processes.values():
            if process.running:
                process.signal(signal.SIGCONT)
                process.running.terminate()
        for process in self.processes.values():
            if process.running:
                try:
                    process.running.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
        subprocess.run([self.ops_kafka, "down", "--wipe", "--state", self.kafka_state], capture_output=True)
        for name in [self.switch, *(s.name for s in self.spaces.values())]:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    # ---- brokers

    def brokers_up(self, *words):
        """All that are down are started, all that are stopped go on; returns when they answer."""
        found = json.loads(run(self.ops_kafka, "up", *words, "--state", self.kafka_state, "--json"))
        self.broker_pids = {str(b["id"]): b["pid"] for b in found["brokers"]}
        return found["bootstrap"]

    def signal_broker(self, broker, number):
        """A pid that is no broker's any more is of the past: brokers_up() knows the present ones."""
        pid = self.broker_pids[broker]
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                if f"{self.kafka_state}/broker-{broker}/" in file.read():
                    os.kill(pid, number)
        except FileNotFoundError:
            pass

    # ---- the network

    def cut(self, names):
        for name in names:
            self.spaces[name].move(1)

    def heal_network(self):
        for space in self.spaces.values():
            space.move(0)

    # ---- what the log says

    def verify(self, heads, seconds=120):
        """`reprise verify` of the log itself, replayed from zero, which must hold these heads (SEQ:HASH)."""
        agents = self.processes["agents"]
        words = agents.inside("verify", "--log", self.place, "--json", *(["--head", heads] if heads else []))
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds)
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError:
            return {"ok": False, "error": done.stderr[-600:]}


class Deadline:
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def passed(self):
        return time.monotonic() > self.end
