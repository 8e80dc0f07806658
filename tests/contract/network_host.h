// A machine of its own for tests of the real network: namespaces with an own /run, Open vSwitch in the
// userspace datapath, guests that are namespaces on a veth, and raw frames.
//
// Whoever links network_host.cc runs, from before main() on, as a child in new mount, network, pid, uts
// and ipc namespaces; when it ends, everything that it started ends. It needs root, and says so.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agents/core/daemon.h"
#include "agents/network/driver.h"
#include "agents/network/ovs_daemons.h"

namespace reprise::network {

using Frame = std::vector<unsigned char>;

// Runs a program to its end; fails the test when it does not end well.
std::string run(const std::vector<std::string>& argv);
bool well(const std::vector<std::string>& argv);
std::vector<std::string> within(const std::string& netns, std::vector<std::string> argv);
void kill_and_wait(pid_t pid);  // SIGKILL, and back when it has ended

// An Ethernet device in a namespace, spoken to in raw frames.
class Nic {
 public:
  Nic(const std::string& netns, const std::string& device);
  ~Nic();
  Nic(const Nic&) = delete;
  void send(const Frame& frame) const;
  // The frames that came in, up to and with the one that `last` is true for; fails the test after 10 s.
  std::vector<Frame> until(const std::function<bool(const Frame&)>& last) const;

 private:
  int fd_;
};

// A guest: namespace g-PORT with eth0, and its tap on br-int the way libvirt puts it there.
class Guest {
 public:
  explicit Guest(const PortWant& port, const std::string& bridge = "br-int");
  ~Guest();
  void plug();  // libvirt starts the guest
  void unplug();
  void use_address();  // the port's first, by hand, as a guest without DHCP would
  std::string dhcp();  // by udhcpc, what it was told as lines KEY=VALUE; empty: no lease
  bool pings(Ipv4 address, int within_s = 5);
  const std::string& netns() const { return netns_; }
  const std::string& tap() const { return tap_; }
  const PortWant port;

 private:
  std::string netns_, tap_, bridge_;
};

// Frames, with a text as payload to know them by.
Frame udp_frame(Mac from, Mac to, Ipv4 source, Ipv4 target, const std::string& text,
                std::uint16_t from_port = 5000, std::uint16_t to_port = 5001);
Frame arp_frame(Mac from, Mac sha, Ipv4 spa, Ipv4 tpa, Mac to = Mac{0xffffffffffff});
Frame tagged(Frame frame, std::uint16_t vlan);
bool holds(const Frame& frame, const std::string& text);
bool is_arp_for(const Frame& frame, Ipv4 tpa);

// Open vSwitch of this machine, kept running. One for the whole program.
class OvsHost {
 public:
  static OvsHost& get();
  OvsDaemonsConfig config;
  pid_t pid(const std::string& name);  // waits for it to be up

 private:
  OvsHost();
  std::mutex mutex_;
  std::condition_variable changed_;
  Supervisor supervisor_;
};

}  // namespace reprise::network
