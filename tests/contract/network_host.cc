#include "tests/contract/network_host.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "agents/core/child_process.h"
#include "agents/network/netlink.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::network {
namespace {

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::fputs("this test makes namespaces of its own and must run as root\n", stderr);
  _exit(1);
}

// pid 1 of the new machine: reaps orphans, ends with the test.
[[noreturn]] void be_init(pid_t test) {
  for (;;) {
    int status = 0;
    const pid_t ended = wait(&status);
    if (ended == test) _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    if (ended < 0 && errno == ECHILD) _exit(1);
  }
}

struct OwnMachine {
  OwnMachine() {
    if (std::getenv("REPRISE_TEST_MACHINE")) return;  // a second life of the program, on the same machine
    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC) != 0)
      give_up("unshare");
    const pid_t init = fork();
    if (init < 0) give_up("fork");
    if (init > 0) {
      int status = 0;
      waitpid(init, &status, 0);
      _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // pid 1 takes all with it
    const pid_t test = fork();
    if (test > 0) be_init(test);
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("proc", "/proc", "proc", 0, nullptr) != 0 ||
        mount("run", "/run", "tmpfs", 0, "mode=755") != 0 || mount("sys", "/sys", "sysfs", 0, nullptr) != 0)
      give_up("mount");
    for (const char* folder : {"/run/openvswitch", "/run/lock", "/run/test", "/run/test/ovs"}) mkdir(folder, 0755);
    // A file system of its own, so that a test can fill it.
    if (mount("ovs", "/run/test/ovs", "tmpfs", 0, "size=32m") != 0) give_up("mount");
    auto netlink = Netlink::open();
    if (!netlink || !netlink->set_link("lo", std::nullopt, std::nullopt, true)) give_up("lo");
  }
} own_machine;

void put16(Frame& frame, unsigned value) {
  frame.push_back(static_cast<unsigned char>(value >> 8));
  frame.push_back(static_cast<unsigned char>(value));
}
void put32(Frame& frame, std::uint32_t value) {
  put16(frame, value >> 16);
  put16(frame, value & 0xffff);
}
void put_mac(Frame& frame, Mac mac) {
  for (int i = 5; i >= 0; --i) frame.push_back(static_cast<unsigned char>(mac.value >> (8 * i)));
}

Netlink opened(const std::string& netns = {}) {
  auto netlink = Netlink::open(netns);
  if (!netlink) FAIL(netlink.error().text);
  return std::move(*netlink);
}

void must(const Status& status) {
  if (!status) FAIL(status.error().text);
}

}  // namespace

std::string run(const std::vector<std::string>& argv) {
  const auto end = run_child(argv, std::chrono::seconds(30));
  if (!end) FAIL(end.error().text);
  if (!end->well()) FAIL(fmt::format("{}: {}", fmt::join(argv, " "), end->words()));
  return end->out;
}

bool well(const std::vector<std::string>& argv) {
  const auto end = run_child(argv, std::chrono::seconds(30));
  if (!end) FAIL(end.error().text);
  return end->well();
}

std::vector<std::string> within(const std::string& netns, std::vector<std::string> argv) {
  argv.insert(argv.begin(), {"/usr/sbin/ip", "netns", "exec", netns});
  return argv;
}

void kill_and_wait(pid_t pid) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  REQUIRE(fd >= 0);
  REQUIRE(kill(pid, SIGKILL) == 0);
  pollfd one{fd, POLLIN, 0};
  const int got = poll(&one, 1, 10'000);
  close(fd);
  REQUIRE(got == 1);
}

Nic::Nic(const std::string& netns, const std::string& device) {
  int error = 0;
  std::thread([&] {
    const int ns = open(netns_path(netns).c_str(), O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) != 0) error = errno;
    if (ns >= 0) close(ns);
    fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(device.c_str()));
    if (bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) error = errno;
    // Tags are taken off by the kernel and handed over beside the frame; until() puts them back.
    const int on = 1;
    if (setsockopt(fd_, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) != 0) error = errno;
  }).join();
  if (error != 0) FAIL("raw socket in " << netns << ": " << std::strerror(error));
}

Nic::~Nic() { close(fd_); }

void Nic::send(const Frame& frame) const {
  if (::send(fd_, frame.data(), frame.size(), 0) != static_cast<ssize_t>(frame.size()))
    FAIL("send: " << std::strerror(errno));
}

std::vector<Frame> Nic::until(const std::function<bool(const Frame&)>& last) const {
  std::vector<Frame> frames;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd one{fd_, POLLIN, 0};
    if (left <= 0 || poll(&one, 1, static_cast<int>(left)) != 1) {
      std::string seen;
      for (const auto& frame : frames) seen += fmt::format("{:02x}\n", fmt::join(frame, ""));
      FAIL("the frame that was waited for did not come; those that did:\n" << seen);
    }
    Frame frame(2048);
    alignas(cmsghdr) char control[256];
    sockaddr_ll from{};
    iovec part{frame.data(), frame.size()};
    msghdr message{&from, sizeof from, &part, 1, control, sizeof control, 0};
    const auto got = recvmsg(fd_, &message, 0);
    if (got <= 0 || from.sll_pkttype == PACKET_OUTGOING) continue;
    frame.resize(static_cast<std::size_t>(got));
    for (cmsghdr* head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
      tpacket_auxdata aux;
      if (head->cmsg_level != SOL_PACKET || head->cmsg_type != PACKET_AUXDATA) continue;
      std::memcpy(&aux, CMSG_DATA(head), sizeof aux);
      if (aux.tp_status & TP_STATUS_VLAN_VALID) frame = tagged(frame, aux.tp_vlan_tci);
    }
    frames.push_back(frame);
    if (last(frames.back())) return frames;
  }
}

Guest::Guest(const PortWant& want, const std::string& bridge) : port(want), bridge_(bridge) {
  netns_ = fmt::format("g-{:x}", port.id.lo);
  tap_ = fmt::format("tap-{:x}", port.id.lo);
  must(add_netns(netns_));
  auto outside = opened();
  must(outside.add_veth(tap_, "eth0", netns_path(netns_)));
  must(outside.no_offload(tap_));
  must(outside.set_link(tap_, std::nullopt, std::nullopt, true));
  auto inside = opened(netns_path(netns_));
  must(inside.no_offload("eth0"));
  must(inside.set_link("eth0", port.mac, std::nullopt, true));
}

Guest::~Guest() {
  run({"/usr/bin/ovs-vsctl", "--timeout=10", "--no-wait", "--if-exists", "del-port", tap_});
  (void)opened().remove_link(tap_);
  (void)remove_netns(netns_);
}

// As libvirt does (virNetDevOpenvswitchAddPort).
void Guest::plug() {
  run({"/usr/bin/ovs-vsctl",
       "--timeout=10",
       "--",
       "--if-exists",
       "del-port",
       tap_,
       "--",
       "add-port",
       bridge_,
       tap_,
       "--",
       "set",
       "Interface",
       tap_,
       fmt::format("external_ids:attached-mac=\"{}\"", port.mac.str()),
       "--",
       "set",
       "Interface",
       tap_,
       fmt::format("external_ids:iface-id=\"{}\"", port.id.str()),
       "--",
       "set",
       "Interface",
       tap_,
       "external_ids:iface-status=active"});
}

void Guest::unplug() { run({"/usr/bin/ovs-vsctl", "--timeout=10", "--", "--if-exists", "del-port", tap_}); }

void Guest::use_address() {
  must(opened(netns_path(netns_)).add_address("eth0", {port.addresses.at(0).address, 24}));
}

std::string Guest::dhcp() {
  const std::string script = "/run/test/udhcpc-" + netns_, lease = script + ".lease";
  std::ofstream(script) << "#!/bin/sh\ncase $1 in bound|renew)\n"
                           "for key in ip mask router dns staticroutes mtu hostname serverid; do eval \"echo "
                           "$key=\\$$key\"; done > "
                        << lease << "\n/usr/sbin/ip address replace $ip/$mask dev $interface\nesac\n";
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  std::filesystem::remove(lease);
  if (!well(within(netns_, {"/usr/bin/busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "15", "-T",
                            "1", "-O", "staticroutes", "-O", "mtu", "-O", "hostname", "-s", script})))
    return {};
  std::stringstream content;
  content << std::ifstream(lease).rdbuf();
  return content.str();
}

bool Guest::pings(Ipv4 address, int within_s) {
  return well(within(
      netns_, {"/usr/bin/ping", "-n", "-q", "-c", "1", "-w", std::to_string(within_s), address.str()}));
}

Frame udp_frame(Mac from, Mac to, Ipv4 source, Ipv4 target, const std::string& text, std::uint16_t from_port,
                std::uint16_t to_port) {
  Frame frame;
  put_mac(frame, to);
  put_mac(frame, from);
  put16(frame, ETH_P_IP);
  const std::size_t ip = frame.size();
  put16(frame, 0x4500);
  put16(frame, static_cast<unsigned>(28 + text.size()));
  put32(frame, 0);
  put16(frame, 0x4011);
  put16(frame, 0);
  put32(frame, source.value);
  put32(frame, target.value);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < 20; i += 2)
    sum += static_cast<std::uint32_t>(frame[ip + i] << 8 | frame[ip + i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  frame[ip + 10] = static_cast<unsigned char>(~sum >> 8);
  frame[ip + 11] = static_cast<unsigned char>(~sum);
  put16(frame, from_port);
  put16(frame, to_port);
  put16(frame, static_cast<unsigned>(8 + text.size()));
  put16(frame, 0);
  frame.insert(frame.end(), text.begin(), text.end());
  return frame;
}

Frame arp_frame(Mac from, Mac sha, Ipv4 spa, Ipv4 tpa, Mac to) {
  Frame frame;
  put_mac(frame, to);
  put_mac(frame, from);
  put16(frame, ETH_P_ARP);
  put16(frame, 1);
  put16(frame, ETH_P_IP);
  put16(frame, 0x0604);
  put16(frame, 1);
  put_mac(frame, sha);
  put32(frame, spa.value);
  put_mac(frame, Mac{});
  put32(frame, tpa.value);
  return frame;
}

Frame tagged(Frame frame, std::uint16_t vlan) {
  Frame tag;
  put16(tag, 0x8100);
  put16(tag, vlan);
  frame.insert(frame.begin() + 12, tag.begin(), tag.end());
  return frame;
}

bool holds(const Frame& frame, const std::string& text) {
  return std::search(frame.begin(), frame.end(), text.begin(), text.end()) != frame.end();
}

bool is_arp_for(const Frame& frame, Ipv4 tpa) {
  Frame wanted;
  put32(wanted, tpa.value);
  const std::size_t at = frame.size() > 16 && frame[12] == 0x81 ? 16 : 12;
  return frame.size() >= at + 30 && frame[at] == 0x08 && frame[at + 1] == 0x06 &&
         std::equal(wanted.begin(), wanted.end(), frame.begin() + static_cast<std::ptrdiff_t>(at) + 26);
}

OvsHost::OvsHost()
    : supervisor_([this](const std::string&) {
        std::lock_guard lock(mutex_);
        changed_.notify_all();
      }) {
  config.database = "/run/test/ovs/conf.db";
  config.pid_dir = "/run/test/pid";
  config.log_dir = "/run/test/log";
  const auto is = ensure_ovs(supervisor_, config);
  if (!is) FAIL(is.error().text);
  REQUIRE(*is == OvsIs::ours);
}

OvsHost& OvsHost::get() {
  static OvsHost host;
  return host;
}

// A socket that a killed one left behind says nothing: first it runs, then it serves.
pid_t OvsHost::pid(const std::string& name) {
  const auto spec = name == "ovsdb-server" ? ovsdb_server_spec(config) : vswitchd_spec(config);
  std::unique_lock lock(mutex_);
  const auto runs = [&] { return supervisor_.pid(spec.name).has_value(); };
  if (!changed_.wait_for(lock, std::chrono::seconds(20), runs)) FAIL(name << " is not started again");
  lock.unlock();
  must(supervisor_.keep(spec));
  return supervisor_.pid(spec.name).value();
}

}  // namespace reprise::network
