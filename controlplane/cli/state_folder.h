// The folder of one cloud's process: what lies where in it, and who holds it. It is mode 0711, because
// hypervisors that are not root open the disks below it; what is secret in it is 0600 or 0700 itself.
//
//   reprise.toml   the configuration, unless another one is named
//   keyring        keys that never enter the log (0600)
//   node           this node's id
//   openrc         the admin's way in (0600)
//   log/           the embedded log
//   projection/    what was folded
//   checkpoints/   what a projection begins from when there is none
//   verified       how far the log was verified in the background
//   images/        image data
//   storage/ servers/ openvswitch/ libvirt/   what drivers and daemons keep
//   boot           a word that is another one after everything on this host was stopped
//   lock           held while init or serve is at work
//   init.pending   the choices of an init that has not ended (0600)
#pragma once

#include <string>
#include <string_view>

#include "events/ids.h"
#include "events/result.h"

namespace reprise::cli {

struct StateFolder {
  std::string dir;

  std::string config() const { return dir + "/reprise.toml"; }
  std::string keyring() const { return dir + "/keyring"; }
  std::string node() const { return dir + "/node"; }
  std::string openrc() const { return dir + "/openrc"; }
  std::string log() const { return dir + "/log"; }
  std::string projection() const { return dir + "/projection"; }
  std::string checkpoints() const { return dir + "/checkpoints"; }
  std::string verified() const { return dir + "/verified"; }
  std::string images() const { return dir + "/images"; }
  std::string storage() const { return dir + "/storage"; }
  std::string boot() const { return dir + "/boot"; }
  std::string openvswitch() const { return dir + "/openvswitch"; }
  std::string lock() const { return dir + "/lock"; }
  std::string pending() const { return dir + "/init.pending"; }
};

// Makes the folder (with that mode) and those above it, if need be.
Status make_folders(const std::string& dir, unsigned mode = 0700);
bool file_exists(const std::string& path);
// At most `bytes_max`; not_found when it is not there.
Result<std::string> read_file(const std::string& path, std::size_t bytes_max = 1 << 20);
// Whole and on stable storage (mode 0600), or not at all.
Status write_file(const std::string& path, std::string_view text);
// Well also when it is not there.
Status remove_file(const std::string& path);
Result<NodeId> read_node_id(const StateFolder& state);

// A lock that ends with the process. `purpose` and the pid are in the file, for whoever finds it taken.
class FileLock {
 public:
  // denied: another process has it; the text names it.
  static Result<FileLock> take(const std::string& path, std::string_view purpose);
  // Does any process have it? Disturbs none.
  static bool is_held(const std::string& path);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace reprise::cli
