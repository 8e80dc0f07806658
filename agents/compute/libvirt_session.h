// One connection to libvirtd for events, which heals itself, what libvirt told about our domains
// meanwhile, and connections for calls.
//
// libvirtd takes five calls of one connection at a time and reads nothing more of it, keepalive neither,
// until one has ended; a QEMU that hangs holds its call for ever. So every call has a connection that
// nobody else uses meanwhile.
//
// A thread of its own connects, and connects again when libvirtd goes away; another (one for the
// process) runs libvirt's event loop. Nobody waits for a libvirtd that hangs longer than keepalive
// takes to give it up (about 20 s), nor for one that is away longer than `connect_patience`.
#pragma once

#include <libvirt/libvirt.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "events/result.h"

namespace reprise::compute {

using Connection = std::shared_ptr<virConnect>;

// How libvirt's events say that a domain ended.
enum class Ending : std::uint8_t { guest, killed, destroyed };

class LibvirtSession {
 public:
  explicit LibvirtSession(std::string uri);
  ~LibvirtSession();
  LibvirtSession(const LibvirtSession&) = delete;
  LibvirtSession& operator=(const LibvirtSession&) = delete;

  // Called from other threads: at each event of any domain, and when libvirtd is back.
  void on_change(std::function<void()> wake);
  // Wakes as an event would.
  void wake();
  // A connection for one call at a time, given back when the last holder lets go of it. unreachable
  // while libvirtd is away or does not answer; the text says why.
  Result<Connection> lease();

  // By the domain's UUID, as libvirt prints it. Forgotten when the domain starts.
  std::optional<Ending> ending(const std::string& uuid) const;
  // How often the guest was seen to reboot since this process watches.
  std::uint64_t reboots(const std::string& uuid) const;
  // Forgets that the device was removed; then waits until libvirt says that it is (true), that it
  // cannot be, or until the deadline.
  void expect_removal(const std::string& uuid, const std::string& alias);
  bool wait_for_removal(const std::string& uuid, const std::string& alias,
                        std::chrono::milliseconds patience);

  struct State;

 private:
  Status usable();

  std::shared_ptr<State> state_;
};

// The error of the libvirt call that just failed on this thread, while doing `what`.
Error libvirt_error(const Connection& connection, const std::string& what);

// The event loop's timers, for others that have regular work: runs `work` on the loop's thread every
// `period` as long as the returned handle lives.
std::shared_ptr<void> every(std::chrono::milliseconds period, std::function<void()> work);

}  // namespace reprise::compute
