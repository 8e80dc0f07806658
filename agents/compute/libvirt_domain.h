// One domain of libvirt's, read; and all of them read, though some may not answer.
//
// What libvirt knows by itself (XML, state, who holds its monitor) it tells while a QEMU hangs, but not
// while the domain is locked: it is as long as it is being started, and longer when its disk's storage
// hangs. A list of all waits for the last of them. So each is read within a deadline, by a thread with a
// connection of its own, which is left behind with the one that does not answer.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "agents/compute/domain_xml.h"
#include "agents/compute/libvirt_session.h"

namespace reprise::compute {

using DomainHandle = std::shared_ptr<virDomain>;
DomainHandle own(virDomainPtr domain);

// A domain of ours, as it is now.
struct Domain {
  DomainHandle handle;
  SeenDomain seen;  // running: the running one; stopped: what would start
  bool running = false;
  int stop_reason = 0;  // of libvirt, when it does not run
  Pause pause = Pause::none;
  std::string paused;   // in words
  bool idle = true;     // nobody's call holds it: it can be marked
  std::chrono::milliseconds silent{0};  // since when a call waits for its QEMU
};

// A QEMU that has not answered for so long hangs.
inline constexpr std::chrono::seconds qemu_patience{3};

Result<std::string> domain_text(const Connection& connection, virDomainPtr domain, unsigned flags,
                                const std::string& what);
// Nothing: not ours, or gone meanwhile.
Result<std::optional<Domain>> inspect(const Connection& connection, DomainHandle handle);
Result<std::optional<Domain>> find_domain(const Connection& connection, ServerId id, Born born);

// A domain in the list of all.
struct Sighting {
  std::string uuid;
  std::string name;
  bool answered = false;         // false: nothing of it could be read
  std::optional<Domain> domain;  // nothing: not ours, or gone
};

class DomainScan {
 public:
  explicit DomainScan(LibvirtSession& session) : session_(session) {}

  struct All {
    bool whole = false;  // false: libvirt did not give its list, and these are those of `known`
    std::vector<Sighting> sightings;
  };
  // unreachable when it is libvirtd that does not answer. `known` are the UUIDs to ask for when the list
  // does not come; `busy` says whom somebody works on: nobody waits for those.
  Result<All> read(const std::vector<std::string>& known, const std::function<bool(const std::string&)>& busy);

 private:
  struct Round;
  static void run(const std::shared_ptr<Round>& round, std::uint64_t reader, const Connection& connection);
  // Nothing: a domain that does not answer holds the list.
  Result<std::optional<std::vector<DomainHandle>>> list();
  Status start_reader(const std::shared_ptr<Round>& round);

  LibvirtSession& session_;
  // UUIDs for which a reader was left behind; they are not asked until it is back.
  struct Left {
    std::mutex mutex;
    std::map<std::string, int> readers;
    bool listing = false;  // a list has not come yet: each takes a worker of libvirtd's with it
  };
  std::shared_ptr<Left> left_ = std::make_shared<Left>();
};

}  // namespace reprise::compute
