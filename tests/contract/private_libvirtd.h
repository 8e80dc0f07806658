// A libvirtd for one test, in namespaces of its own (private_libvirtd.sh), and the hands of an operator
// on its host. Needs root. When this object goes, so does everything that it started.
#pragma once

#include <sys/types.h>

#include <string>

namespace reprise {

class PrivateLibvirtd {
 public:
  explicit PrivateLibvirtd(std::string folder);
  ~PrivateLibvirtd();
  PrivateLibvirtd(const PrivateLibvirtd&) = delete;
  PrivateLibvirtd& operator=(const PrivateLibvirtd&) = delete;

  // One command of the script; its answer. Fails the test when the host does not do it.
  std::string tell(const std::string& command);
  std::string uri() const { return "qemu+unix:///system?socket=" + folder_ + "/run/libvirt-sock"; }
  std::string domain_logs() const { return folder_ + "/log/qemu"; }
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
  pid_t pid_ = -1;
  int to_host_ = -1;
  int from_host_ = -1;
};

}  // namespace reprise
